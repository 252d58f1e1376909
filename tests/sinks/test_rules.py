"""What the rules hand over, as PostgreSQL has it: reactions, decisions, joins, gaps, company, erasure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any

import msgspec

from guildstream import events as ev
from processors.rules import Outcome
from tests.rules.twin import Shell
from tests.sinks.conftest import Stage
from tests.sinks.production import DAY_MS, EPOCH_MS, guild_of

PARTITION = 1
GUILD = guild_of(PARTITION)
ANN, BOB, CID = 9_000_000_101, 9_000_000_102, 9_000_000_103


class Pipeline:
    """Rules whose commits a sink loads."""

    def __init__(self, stage: Stage) -> None:
        self.stage = stage
        self.shell = Shell()
        self.seq = 0

    def event(self, kind: type[ev.Event], at: int, user: int | None = None, data: Any = None, **more: Any) -> Any:
        self.seq += 1
        data = {} if data is None else {"data": data}
        common = {"v": 1, "ts": EPOCH_MS + at, "session": "s", "seq": self.seq, "guild_id": GUILD, "user_id": user}
        return kind(**{**common, **data, "channel_id": 7, **more})

    def commit(self, *events: ev.Event) -> None:
        first = len(self.shell.outcomes)
        self.shell.chunk(events)
        drained = self.shell.rules.drain(early=True)
        for table in self.shell.tables.values():
            table.commit()
        outcomes = self.shell.outcomes[first:]
        for row, at in zip(
            drained.erased, [n for n, its in enumerate(outcomes) if its is Outcome.ERASURE], strict=True
        ):
            row[3] = at
        names = {its.name for its in fields(drained)} - {"boards", "notices", "counters", "erased_guilds"}
        kept = {Outcome.ACCEPTED, Outcome.ERASURE}
        dropped = [(at, at + 1) for at, outcome in enumerate(outcomes) if outcome not in kept]
        raw = [_plain(event) for event in events]
        rows = {name: getattr(drained, name) for name in names}
        self.stage.production.commit(PARTITION, raw, dropped=dropped, **rows)


def _plain(event: ev.Event) -> dict[str, Any]:
    plain: dict[str, Any] = msgspec.json.decode(msgspec.json.encode(event))
    return {name: value for name, value in plain.items() if value is not None}


def _say(line: Pipeline, at: int, user: int, **more: Any) -> Any:
    return line.event(ev.MessageCreate, at, user, ev.MessageData(message_id=at + 1, chars=3, **more))


def _voice(line: Pipeline, at: int, user: int, channel: int | None) -> Any:
    return line.event(ev.VoiceState, at, user, channel_id=channel)


def _sums(stage: Stage, relation: str, measures: Sequence[str]) -> dict[int, tuple[int, ...]]:
    columns = ", ".join(f"sum({name})::bigint" for name in measures)
    rows = stage.query(f"SELECT user_id, {columns} FROM {relation} WHERE guild_id = %s GROUP BY 1", GUILD)  # noqa: S608
    return {row[0]: row[1:] for row in rows}


def test_reactions_decisions_and_what_else_is_counted(stage: Stage) -> None:
    line = Pipeline(stage)
    setting = {"xp": {"reaction": {"given": 2, "received": 5}, "message": {"min": 10, "max": 10}}}
    first, second = ev.ReactionData(1, "x", BOB), ev.ReactionData(2, "x", BOB)
    line.commit(
        line.event(ev.SettingsChange, 0, None, setting, channel_id=None),
        _say(line, 10, ANN),
        line.event(ev.ReactionAdd, 1000, ANN, first),
        line.event(ev.ReactionAdd, 2000, ANN, second),
        line.event(ev.MemberJoin, 3000, CID, ev.MemberData(invite="abc")),
        _voice(line, 4000, ANN, 8),
        _voice(line, 5000, BOB, 8),
        line.event(ev.GuildUnavailable, 6000),
        line.event(ev.Gap, 7000, None, ev.GapData(EPOCH_MS, EPOCH_MS + 5000, "no session", 4), guild_id=None, shard=3),
    )
    line.commit(
        line.event(ev.ReactionRemove, 90_000, ANN, first),
        line.event(ev.Adjust, 100_000, ANN, ev.AdjustData(xp=-500, reason="spam", by=CID)),
        line.event(ev.MemberLeave, 110_000, CID),
        line.event(ev.VoiceSnapshot, 120_000, None, ev.VoiceStates(())),
    )
    stage.load()
    assert _sums(stage, "guildstream.member_activity", ("reactions_given", "reactions_received", "xp")) == {
        ANN: (1, 0, 0),
        BOB: (0, 1, 5),
    }
    ledger = (
        "SELECT user_id, reason, base, xp, note, given_by FROM guildstream.xp_awards ORDER BY awarded_at, reason, xp"
    )
    assert stage.query(ledger) == [
        (ANN, "message", 10, 10, None, None),
        (ANN, "reaction_given", -2, -2, None, None),
        (ANN, "reaction_given", 2, 2, None, None),
        (BOB, "reaction_received", -5, -5, None, None),
        (BOB, "reaction_received", 5, 5, None, None),
        (ANN, "reaction_given", 2, 2, None, None),
        (BOB, "reaction_received", 5, 5, None, None),
        (ANN, "adjust", -500, -12, "spam", CID),
    ]
    assert stage.query("SELECT user_id, kind, invite FROM guildstream.member_flow ORDER BY occurred_at") == [
        (CID, "join", "abc"),
        (CID, "leave", None),
    ]
    company = (
        "SELECT events.user_id, who.user_id FROM guildstream.event_participants AS who JOIN events USING (event_id)"
    )
    assert stage.query(company.replace("JOIN events", "JOIN guildstream.events")) == [(BOB, ANN)]
    changes = stage.query("SELECT settings_version, patch FROM guildstream.settings_history")
    assert changes == [(1, setting)]
    assert stage.query("SELECT guild_id, settings FROM guildstream.guild_settings") == [(GUILD, setting)]
    gaps = (
        "SELECT guild_id, shard, shard_count, cause, extract(epoch FROM ended_at - started_at)::int "
        "FROM guildstream.coverage_gaps ORDER BY guild_id NULLS FIRST"
    )
    assert stage.query(gaps) == [(None, 3, 4, "no session", 5), (GUILD, None, None, "outage", 114)]


def test_an_erased_member_is_nowhere(stage: Stage) -> None:
    line = Pipeline(stage)
    hour = 3_600_000
    line.commit(
        line.event(ev.MemberUpdate, 0, ANN, ev.MemberData(username="ann", nick="Annie")),
        _say(line, 10, ANN),
        _say(line, 20, BOB, reply_to=ANN),
        _voice(line, 30, ANN, 8),
        _voice(line, 40, BOB, 8),
        line.event(ev.Command, 50, ANN, ev.CommandData(interaction_id=1, name="rank")),
    )
    line.commit(_say(line, hour, ANN), _say(line, hour + 10, BOB, reply_to=ANN))
    stage.load()
    before = stage.query("SELECT sum(messages), sum(voice_ms), sum(xp) FROM analytics.guild_hourly")
    line.commit(
        _say(line, 2 * hour, ANN),
        _say(line, 2 * hour + 1, BOB, reply_to=ANN),
        line.event(ev.Adjust, 2 * hour + 2, BOB, ev.AdjustData(xp=1, by=ANN)),
        line.event(ev.Erase, 3 * hour, ANN),
        _say(line, 2 * hour + 5, ANN),
        _say(line, 4 * hour, ANN),
    )
    stage.load()
    assert [outcome.name for outcome in line.shell.outcomes[-3:]] == ["ERASURE", "ERASED", "ACCEPTED"]
    after = stage.query("SELECT sum(messages), sum(voice_ms), sum(xp) FROM analytics.guild_hourly")
    assert after[0][0] == before[0][0] + 3
    assert after[0][1] > before[0][1]
    sums = _sums(stage, "guildstream.member_activity", ("messages", "commands"))
    assert sums == {0: (3, 1), ANN: (1, 0), BOB: (3, 0)}
    for relation in ("guildstream.activity_hourly", "guildstream.activity_daily"):
        assert _sums(stage, relation, ("messages", "commands")) == sums
    assert stage.query("SELECT messages FROM guildstream.member_totals WHERE user_id = %s", ANN) == [(1,)]
    assert stage.query("SELECT user_id, end_reason FROM guildstream.voice_sessions ORDER BY 1") == [
        (0, "erase"),
        (BOB, None),
    ]
    own = stage.query("SELECT type, user_id FROM guildstream.events WHERE user_id = %s ORDER BY occurred_at", ANN)
    assert own == [("message_create", ANN)]
    tables = ("events", "xp_awards", "members", "users", "event_participants", "command_usage", "member_flow")
    new_life = {"events": 1, "xp_awards": 1}
    for table in tables:
        found = stage.query(f"SELECT count(*) FROM guildstream.{table} AS t WHERE t::text LIKE %s", f"%{ANN}%")  # noqa: S608
        assert found == [(new_life.get(table, 0),)], table
    ((action, detail),) = stage.query("SELECT action, detail FROM guildstream.audit_log")
    assert action == "erase_member"
    assert str(ANN) not in str(detail)
    assert (detail["events"], detail["mentions"]) == (5, 2)


def test_an_erased_guild_is_nowhere(stage: Stage) -> None:
    line = Pipeline(stage)
    line.commit(_say(line, 10, ANN), _voice(line, 20, ANN, 8), line.event(ev.GuildUpdate, 30, None, ev.GuildData("x")))
    line.commit(
        _say(line, 40, BOB), line.event(ev.Erase, DAY_MS, None), _say(line, 50, ANN), _say(line, 2 * DAY_MS, BOB)
    )
    stage.load()
    assert _sums(stage, "guildstream.member_activity", ("messages",)) == {BOB: (1,)}
    assert stage.query("SELECT count(*) FROM guildstream.events") == [(1,)]
    assert stage.query("SELECT count(*) FROM guildstream.guilds") == [(0,)]
    assert stage.query("SELECT user_id, messages FROM guildstream.member_totals") == [(BOB, 1)]
    assert stage.query("SELECT action FROM guildstream.audit_log") == [("erase_guild",)]
    assert {key for name, table in line.shell.stored.items() if name != "sources" for key in table} <= {
        str(GUILD),
        f"{GUILD}:{BOB}",
    }
