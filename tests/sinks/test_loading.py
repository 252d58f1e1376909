"""Rows arrive as they were produced, in every table."""

from __future__ import annotations

import random
import uuid
from datetime import UTC, date, datetime
from decimal import Decimal

from guildstream.event_ids import event_uuid
from tests.servers import wait_until
from tests.sinks.conftest import Stage
from tests.sinks.production import DAY_MS, EPOCH_MS, guild_of, message_commit, pane, voice_row

GUILD = guild_of(1)
DAY = EPOCH_MS // DAY_MS


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms / 1000, UTC)


def event(seq: int, **values: object) -> dict[str, object]:
    common = {"v": 1, "type": "message_create", "ts": EPOCH_MS + seq * 1000, "guild_id": GUILD, "session": "s"}
    return {**common, "seq": seq, "channel_id": 7, "user_id": 8, "data": {"message_id": seq}, **values}


def test_an_event_keeps_everything_it_carries(stage: Stage) -> None:
    events = [
        event(1, data={"message_id": 5, "chars": 3, "emoji": "ü ☃"}, shard=3, replayed=True, part=2),
        event(2, type="gap", guild_id=None, channel_id=None, user_id=None, data={}),
        event(3, guild_id=str(GUILD), channel_id="9", user_id="00010", type="reaction_add"),
        event(2**60, part=70_000, ts=EPOCH_MS),
    ]
    del events[1]["guild_id"]
    stage.production.commit(1, events)
    stage.load()
    rows = stage.query(
        "SELECT event_id, type, occurred_at, guild_id, channel_id, user_id, data, session, seq, part, shard, replayed, "
        "partition, position FROM guildstream.events ORDER BY position"
    )
    assert rows == [
        (
            uuid.UUID(bytes=event_uuid("s", 1, 2)),
            "message_create",
            at(EPOCH_MS + 1000),
            GUILD,
            7,
            8,
            {"message_id": 5, "chars": 3, "emoji": "ü ☃"},
            "s",
            1,
            2,
            3,
            True,
            1,
            0,
        ),
        (
            uuid.UUID(bytes=event_uuid("s", 2, 0)),
            "gap",
            at(EPOCH_MS + 2000),
            None,
            None,
            None,
            {},
            "s",
            2,
            0,
            None,
            False,
            1,
            1,
        ),
        (
            uuid.UUID(bytes=event_uuid("s", 3, 0)),
            "reaction_add",
            at(EPOCH_MS + 3000),
            GUILD,
            9,
            10,
            {"message_id": 3},
            "s",
            3,
            0,
            None,
            False,
            1,
            2,
        ),
        (
            uuid.UUID(bytes=event_uuid("s", 2**60, 70_000)),
            "message_create",
            at(EPOCH_MS),
            GUILD,
            7,
            8,
            {"message_id": 2**60},
            "s",
            2**60,
            70_000,
            None,
            False,
            1,
            3,
        ),
    ]


def test_dropped_positions_have_no_row(stage: Stage) -> None:
    packed = b"\n".join([b'{"broken', *(stage_event(number) for number in (1, 2, 3))])
    entries = [{b"b": packed + b"\n"}, {b"x": b"no event field"}, {b"e": stage_event(4)}, {b"b": stage_event(5)}]
    stage.production.commit(1, [b""] * 7, entries=entries, dropped=[(0, 1), (2, 3), (4, 5)])
    stage.load()
    assert stage.query("SELECT seq, position FROM guildstream.events ORDER BY position") == [
        (1, 1),
        (3, 3),
        (4, 5),
        (5, 6),
    ]


def stage_event(seq: int) -> bytes:
    from guildstream.codec import encode_event

    return encode_event(event(seq))


def test_rows_of_results_arrive_in_their_tables(stage: Stage) -> None:
    award, segment = bytes(range(16)), bytes(range(16, 32))
    stage.production.commit(
        1,
        [event(1)],
        activity=[
            pane((EPOCH_MS, DAY, GUILD, 7, 8), messages=1, sized=1, chars=50, xp=20),
            pane((EPOCH_MS, DAY, GUILD, 7, 9), bot=True, voice_ms=5, muted_ms=4, clipped_ms=2**40, xp=-3),
        ],
        awards=[[award, EPOCH_MS, EPOCH_MS + 1, DAY, GUILD, 7, 8, "message", 2, 20, 1250, 25, 3, None]],
        totals=[[GUILD, 8, False, 20, 0, 1, 0, 0, EPOCH_MS, EPOCH_MS], [GUILD, 9, True, 0, 0, 0, 5, 0, None, None]],
        commands=[[EPOCH_MS, GUILD, 7, 8, "rank\0up", "slash", 2]],
        sessions=[voice_row(segment, GUILD, 8, EPOCH_MS, EPOCH_MS + 1500, ended=False)],
    )
    stage.production.commit(
        1,
        [event(2)],
        sessions=[voice_row(segment, GUILD, 8, EPOCH_MS, EPOCH_MS + 2500, ended=True)],
        totals=[[GUILD, 8, False, 40, 1, 2, 0, 0, EPOCH_MS, EPOCH_MS + 9]],
    )
    stage.load()
    assert stage.query(
        "SELECT bucket, local_day, guild_id, channel_id, user_id, bot, messages, sized, chars, voice_ms, muted_ms, "
        "clipped_ms, xp FROM guildstream.member_activity ORDER BY user_id"
    ) == [
        (at(EPOCH_MS), date(2026, 3, 1), GUILD, 7, 8, False, 1, 1, 50, 0, 0, 0, 20),
        (at(EPOCH_MS), date(2026, 3, 1), GUILD, 7, 9, True, 0, 0, 0, 5, 4, 2**40, -3),
    ]
    assert stage.query(
        "SELECT award_id, last_awarded_at, reason, count, base, multiplier, xp, settings_version, event_id "
        "FROM guildstream.xp_awards"
    ) == [(uuid.UUID(bytes=award), at(EPOCH_MS + 1), "message", 2, 20, Decimal("1.250"), 25, 3, None)]
    assert stage.query(
        "SELECT user_id, bot, xp, level, messages, last_active_at FROM guildstream.member_totals ORDER BY user_id"
    ) == [
        (8, False, 40, 1, 2, at(EPOCH_MS + 9)),
        (9, True, 0, 0, 0, None),
    ]
    assert stage.query("SELECT name, kind, uses FROM guildstream.command_usage") == [("rank\ufffdup", "slash", 2)]
    assert stage.query("SELECT day, name, uses, users FROM analytics.command_daily") == [
        (date(2026, 3, 1), "rank\ufffdup", 2, 1)
    ]
    assert stage.query(
        "SELECT segment_id, started_at, ended_at, counted_until, end_reason, voice_ms FROM guildstream.voice_sessions"
    ) == [(uuid.UUID(bytes=segment), at(EPOCH_MS), at(EPOCH_MS + 2500), at(EPOCH_MS + 2500), "leave", 2500)]


def test_json_that_jsonb_refuses_is_cleaned_and_its_neighbours_are_not(stage: Stage) -> None:
    lines = [
        b'{"v":1,"type":"message_create","ts":%d,"guild_id":%d,"session":"a\\u0000b","seq":%d,"data":%s}'
        % (EPOCH_MS, GUILD, number, data)
        for number, data in enumerate(
            [
                b'{"a":"x\\u0000y","\\u0000":1}',
                b'{"a":"\\ud83d\\ude00 \xff","n":' + b"9" * 2000 + b"}",
                b'{"a": 1e400000 }',
                b'{"a":"plain","b":1.50}',
                b'{"a":"' + "\u00fc".encode() + b'"}',
            ]
        )
    ]
    stage.production.commit(1, lines)
    stage.production.commit(1, [event(9)])
    stage.load()
    found = [row[0] for row in stage.query("SELECT data FROM guildstream.events ORDER BY position")]
    assert found == [
        {"a": "x\ufffdy", "\ufffd": 1},
        {"a": "\U0001f600 \ufffd", "n": None},
        {"a": None},
        {"a": "plain", "b": 1.5},
        {"a": "ü"},
        {"message_id": 9},
    ]
    assert stage.query("SELECT DISTINCT session FROM guildstream.events WHERE seq < 9") == [("a\ufffdb",)]


def test_days_far_apart_get_partitions_when_they_come(stage: Stage) -> None:
    days = [date(2004, 2, 29), date(2010, 12, 31), date(2018, 1, 1)]
    times = [int(datetime(day.year, day.month, day.day, 23, 59, 59, tzinfo=UTC).timestamp() * 1000) for day in days]
    stage.production.commit(
        1,
        [event(number, ts=ts) for number, ts in enumerate(times)],
        activity=[pane((ts - ts % 60_000, ts // DAY_MS, GUILD, 7, 8), messages=1) for ts in times],
    )
    stage.load()
    rows = stage.query(
        "SELECT relname, occurred_at::date FROM guildstream.events AS events "
        "JOIN pg_class ON pg_class.oid = events.tableoid ORDER BY occurred_at"
    )
    assert rows == [(f"events_{day:%Y%m%d}", day) for day in days]
    assert stage.query("SELECT day, messages FROM analytics.guild_daily ORDER BY day") == [(day, 1) for day in days]


def test_without_stored_events_everything_else_is_loaded(stage: Stage) -> None:
    stage.options["store_events"] = False
    update = event(1, type="guild_update", data={"name": "Harbour"})
    stage.production.commit(1, [update, event(2)], activity=[pane((EPOCH_MS, DAY, GUILD, 7, 8), messages=1)])
    stage.load()
    assert stage.query("SELECT count(*) FROM guildstream.events") == [(0,)]
    assert stage.query("SELECT messages FROM analytics.guild_daily") == [(1,)]
    assert stage.query("SELECT name FROM guildstream.guilds") == [("Harbour",)]


def test_what_is_loaded_is_trimmed_and_announced(stage: Stage) -> None:
    dice = random.Random(4)
    for number in range(12):
        message_commit(stage.production, number % 4, 50, dice=dice)
    stage.load()
    client, keys = stage.production.client, stage.production.keys
    for partition in range(4):
        names = keys.partition(partition)
        last_id = client.hget(names.offset, "last_id")
        assert client.hget(names.consumers, "sink") == last_id
        assert client.xlen(names.results) == 0
        group = client.xinfo_groups(names.results)[0]
        assert group["name"] == b"sink"
        assert group["last-delivered-id"] == client.xinfo_stream(names.results)["last-generated-id"]


def test_a_partition_waits_for_results_of_others_no_longer_than_a_load(stage: Stage) -> None:
    with stage.sink() as sink:
        wait_until(lambda: sink.ready, what="readiness")
        for number in range(5):
            message_commit(stage.production, number % 4, 20, dice=random.Random(number))
            stage.wait_loaded(deadline_seconds=5)
