"""Single cases of sources, ownership, invalid events and costs."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from guildstream import events as ev
from guildstream.errors import ConfigError, InvalidEvent
from guildstream.event_ids import event_uuid
from guildstream.measures import M
from processors.rules import TABLE_SPECS, Outcome
from processors.rules.awards import event_id

from .twin import NotLoadedError, Shell

GUILD = 9 << 22
T0 = 1_760_000_000_000


def message(seq: int, ts: int = T0, **changes: Any) -> ev.MessageCreate:
    common = {"v": 1, "ts": ts, "session": "a", "seq": seq, "guild_id": GUILD, "channel_id": 5, "user_id": 6}
    return ev.MessageCreate(**{**common, "data": ev.MessageData(message_id=seq + 1), **changes})


def voice(seq: int, ts: int, user: int, channel: int | None, **changes: Any) -> ev.VoiceState:
    common = {"v": 1, "ts": ts, "session": "a", "seq": seq, "guild_id": GUILD}
    return ev.VoiceState(**{**common, "channel_id": channel, "user_id": user, **changes})


def beat(ts: int, session: str = "a", *, final: bool = False) -> ev.Heartbeat:
    return ev.Heartbeat(v=1, ts=ts, session=session, data=ev.HeartbeatData(final=final))


def outcomes(*events: ev.Event) -> list[str]:
    shell = Shell()
    shell.chunk(events)
    return [outcome.name for outcome in shell.outcomes]


def test_parts_of_one_dispatch_are_events_of_their_own() -> None:
    parts = [message(1), message(1, part=2), message(1, part=1), message(1, part=2), message(0), message(2)]
    assert outcomes(*parts) == ["ACCEPTED", "ACCEPTED", "DUPLICATE", "DUPLICATE", "DUPLICATE", "ACCEPTED"]


def test_a_requeued_dead_letter_skips_the_duplicate_check() -> None:
    shell = Shell()
    shell.chunk([message(1), message(9)])
    assert shell.rules.apply(message(5), requeued=True) is Outcome.ACCEPTED
    assert shell.rules.apply(message(9)) is Outcome.DUPLICATE


def test_a_second_set_of_shards_is_superseded_until_the_owner_is_silent() -> None:
    events = [
        message(1, T0, shard=0),
        message(1, T0 + 29_999, session="b", shard=0),
        message(2, T0 + 30_000, session="b", shard=0),
        message(2, T0 + 30_001, shard=0),
    ]
    assert outcomes(*events) == ["ACCEPTED", "SUPERSEDED", "ACCEPTED", "SUPERSEDED"]


def test_a_snapshot_takes_a_guild_at_once() -> None:
    snapshot = ev.VoiceSnapshot(v=1, ts=T0 + 1, session="b", seq=1, shard=0, guild_id=GUILD, data=ev.VoiceStates(()))
    events = [message(1, shard=0), snapshot, message(2, T0 + 2, session="b", shard=0), message(2, T0 + 3, shard=0)]
    assert outcomes(*events) == ["ACCEPTED", "ACCEPTED", "ACCEPTED", "SUPERSEDED"]


def test_a_backfill_counts_beside_the_owner_but_for_its_voice() -> None:
    old = T0 - 86_400_000
    events = [message(1), message(1, old, session="b"), voice(2, old, 6, 5, session="b"), message(2)]
    assert outcomes(*events) == ["ACCEPTED", "ACCEPTED", "SUPERSEDED", "ACCEPTED"]


def test_settings_never_own() -> None:
    change = ev.SettingsChange(v=1, ts=T0, session="cli", seq=1, guild_id=GUILD, data={})
    assert outcomes(change, message(1, shard=0), message(1, session="b", shard=1)) == ["ACCEPTED"] * 2 + ["SUPERSEDED"]


def test_voice_stands_still_for_a_new_shard_until_its_snapshot() -> None:
    shell = Shell()
    state = ev.VoiceStateOf(user_id=6, channel_id=5)
    snapshot = {"v": 1, "session": "b", "seq": 2, "shard": 0, "guild_id": GUILD, "data": ev.VoiceStates((state,))}
    shell.chunk([voice(1, T0, 6, 5, shard=0), beat(T0 + 10_000), message(1, T0 + 60_000, session="b", shard=0)])
    shell.chunk([beat(T0 + 70_000, "b"), ev.VoiceSnapshot(ts=T0 + 80_000, **snapshot), beat(T0 + 85_000, "b")])
    shell.chunk([beat(T0 + 85_000, "b", final=True)])
    shell.commit(early=True)
    (row,) = shell.sums.sessions.values()
    assert (row[6], row[9][0], row[9][-1]) == (None, 15_000, 70_000)


@pytest.mark.parametrize(
    "event", [message(1, user_id=None), message(1, channel_id=None), voice(1, T0, 6, 5, user_id=None)]
)
def test_an_id_that_a_type_needs(event: ev.Event) -> None:
    with pytest.raises(InvalidEvent, match="missing_key"):
        outcomes(event)


def test_settings_that_are_not_valid_are_poison() -> None:
    change = ev.SettingsChange(v=1, ts=T0, session="cli", seq=1, guild_id=GUILD, data={"xp": {"comand": 1}})
    with pytest.raises(InvalidEvent, match="comand"):
        outcomes(change)


def test_settings_say_from_when_on() -> None:
    shell = Shell()
    change = ev.SettingsChange(
        v=1,
        ts=T0 + 60_000,
        session="cli",
        seq=1,
        guild_id=GUILD,
        data={"xp": {"voice": {"per_minute": 7, "require": []}}},
    )
    shell.chunk([voice(1, T0, 6, 5), change, beat(T0 + 180_000, final=True)])
    shell.commit()
    (award,) = shell.sums.awards.values()
    assert (award[8], award[9], award[11], award[12]) == (2, 7, 14, 1)
    (row,) = shell.sums.sessions.values()
    assert row[9][1] == 120_000


def test_roles_of_a_person_in_voice_count_from_when_they_are_seen() -> None:
    shell = Shell()
    common = {"v": 1, "guild_id": GUILD}
    data = {"xp": {"voice": {"require": []}, "multipliers": {"roles": {"3": 2}}}}
    shell.chunk([ev.SettingsChange(ts=T0, session="cli", seq=1, data=data, **common), voice(1, T0, 6, 5)])
    update = ev.MemberUpdate(ts=T0 + 90_000, session="a", seq=2, user_id=6, data=ev.MemberData(roles=("3",)), **common)
    shell.chunk([update, beat(T0 + 180_000, final=True)])
    shell.commit()
    assert sorted((award[1] - T0, award[10], award[11]) for award in shell.sums.awards.values()) == [
        (60_000, 1000, 5),
        (120_000, 2000, 20),
    ]


def test_bulk_deletes_count_each_message() -> None:
    shell = Shell()
    common = {"v": 1, "ts": T0, "session": "a", "guild_id": GUILD, "channel_id": 5}
    shell.chunk([ev.MessageDeleteBulk(seq=1, data=ev.MessageRefs((1, "2", 2, 3)), **common)])
    shell.commit(early=True)
    ((key, row),) = shell.sums.activity.items()
    assert (key[4], row[M.DELETES]) == (0, 3)


def test_windows_close_by_their_owners_watermark() -> None:
    shell = Shell()
    minute = T0 - T0 % 60_000
    shell.chunk([message(1, minute + 1), beat(minute + 59_999)])
    assert shell.commit().activity == []
    assert shell.rules.pending_rows == 1
    shell.chunk([beat(minute + 60_000, "b")])
    assert shell.commit().activity == []
    shell.hand_over()
    shell.chunk([beat(minute + 60_000)])
    assert shell.rules.pending_rows == 1
    assert len(shell.commit().activity) == 1
    shell.chunk([message(2, minute + 2)])
    assert len(shell.commit().activity) == 1, "a late event makes a late pane at once"


def test_an_hour_of_the_partition_closes_any_window() -> None:
    shell = Shell()
    shell.chunk([message(1), beat(T0 + 3_600_000 + 60_000, "b")])
    assert len(shell.commit().activity) == 1


def test_running_voice_is_shown_once_a_minute_and_its_row_every_five() -> None:
    shell = Shell()
    start = T0 - T0 % 3_600_000
    shell.chunk([voice(1, start, 6, 5)])
    shell.commit(early=True)
    panes, rows = [], []
    for second in range(5, 605, 5):
        shell.chunk([beat(start + second * 1000)])
        drained = shell.commit(early=True)
        panes += [second] * bool(drained.activity)
        rows += [second] * bool(drained.sessions)
    assert panes == list(range(60, 605, 60))
    assert rows == [300, 600]


def test_running_voice_of_many_is_shown_less_often() -> None:
    """Panes cost by people, so 400 of them are shown every five minutes, and at an hour's end."""
    shell = Shell()
    start = T0 - T0 % 3_600_000 + 50 * 60_000
    shell.chunk([voice(number + 1, start, number + 1, 5) for number in range(400)])
    shell.commit(early=True)
    panes = []
    for second in range(5, 1205, 5):
        shell.chunk([beat(start + second * 1000)])
        panes += [second] * bool(shell.commit(early=True).activity)
    assert panes == [300, 600, 900, 1200]


def crowd_calls(people: int) -> tuple[float, float, float]:
    """Calls of functions that a person costs who joins, sits through a pane and leaves."""
    shell, counts = Shell(), []
    joins = [voice(number + 1, T0 + number, number + 1, 5) for number in range(people)]
    leaves = [voice(people + number + 1, T0 + 400_000, number + 1, None) for number in range(people)]
    for events in (joins, [beat(T0 + 350_000)], leaves):
        calls = [0]

        def count(_frame: Any, what: str, _argument: Any, calls: list[int] = calls) -> None:
            calls[0] += what in ("call", "c_call")

        sys.setprofile(count)
        shell.chunk(events)
        shell.commit(early=True)
        sys.setprofile(None)
        counts.append(calls[0] / people)
    return counts[0], counts[1], counts[2]


def test_ten_times_the_crowd_costs_ten_times_as_much() -> None:
    """By function calls, which don't depend on the machine."""
    few, many = crowd_calls(200), crowd_calls(2000)
    assert all(its <= 1.02 * others for its, others in zip(many, few, strict=True)), (few, many)


def test_a_crowd_costs_by_its_own_size() -> None:
    """A join or a leave in a channel of a thousand writes one or two people's records."""
    shell = Shell()
    shell.chunk([voice(number + 1, T0 + number, number + 1, 5) for number in range(1000)])
    shell.commit()
    shell.chunk([voice(2000, T0 + 5000, 2000, 5), voice(2001, T0 + 6000, 7, None)])
    table = shell.tables["voice"]
    assert len(table.dirty | table.deleted) == 2


def test_keys_name_all_that_is_touched() -> None:
    shell = Shell()
    with pytest.raises(NotLoadedError):
        shell.rules.apply(message(1))
    state = ev.VoiceStateOf(user_id=77, channel_id=5)
    snapshot = ev.VoiceSnapshot(v=1, ts=T0, session="b", seq=1, guild_id=GUILD, data=ev.VoiceStates((state,)))
    keys = shell.rules.keys([message(1), snapshot, beat(T0)])
    assert keys == {"guilds": {str(GUILD)}, "members": {f"{GUILD}:6", f"{GUILD}:77"}}


@pytest.mark.parametrize("spec", TABLE_SPECS, ids=lambda spec: spec.name)
def test_a_value_of_another_release_is_refused(spec: Any) -> None:
    for value in (b"\x91\x02", b"not msgpack", b""):
        with pytest.raises(ConfigError):
            spec.decode(value)


@pytest.mark.parametrize(
    ("seq", "part"), [(0, 0), (5, 3), (2**46 - 1, 65_535), (2**46, 0), (1, 65_536), (2**63 - 1, 2**31 - 1)]
)
def test_event_ids_are_those_of_the_contract(seq: int, part: int) -> None:
    event = message(seq, part=part, session="abc")
    assert event_id(event) == event_uuid("abc", seq, part)
