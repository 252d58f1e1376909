"""Laws that hold for any history, however it is cut into chunks, commits, panes and hand-overs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildstream.events import Event, Heartbeat
from guildstream.measures import VOICE_MEASURES, M
from processors.rules import RuleOptions
from processors.rules.policy import policy_of

from .histories import ADJUSTED, MOVE, SETTINGS, build, dense_moves
from .test_oracle import OPTIONS, run
from .twin import Shell, Sums

PROPERTY = settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
MOVES = st.lists(MOVE, max_size=60)
BUSY = st.integers(0, 2**32).map(dense_moves)
ANY = MOVES | BUSY
#: Reasons of ledger rows that may take points.
TAKING = {"reaction_given", "reaction_received", "adjust"}
#: After each event, perhaps: the end of a chunk, a commit, one with early panes, an eviction, a crash.
STEPS = st.lists(st.sampled_from(("", "", "chunk", "commit", "early", "evict", "hand over", "crash")), max_size=120)


def final_state(sums: Sums) -> tuple[Any, ...]:
    """What must not depend on any schedule."""
    return (
        {key: row for key, row in sums.activity.items() if any(row)},
        sums.sessions,
        sums.awards,
        sums.totals,
        sums.commands,
        sums.boards,
        sums.notices,
        sums.counters,
        sums.flow,
        sums.gaps,
        {key: row for key, row in sums.participants.items() if row[4]},
        sorted(sums.erased, key=lambda row: row[5]),
        sums.settings,
    )


def run_in_pieces(events: Sequence[Event], steps: Sequence[str]) -> Shell:
    """Process events with commits, evictions, hand-overs and crashes in between, as a worker might."""
    shell = Shell(OPTIONS)
    chunk: list[Event] = []
    position = committed = number = 0
    while position < len(events):
        chunk.append(events[position])
        position += 1
        step = steps[number] if number < len(steps) else ""
        number += 1
        if step:
            shell.chunk(chunk)
            chunk = []
        if step in ("commit", "early", "hand over"):
            shell.commit(early=step == "early")
            committed = position
        if step == "evict":
            shell.evict()
        if step == "crash":
            position = committed
        if step in ("hand over", "crash"):
            shell.hand_over()
    shell.chunk(chunk)
    shell.commit(early=True)
    return shell


@PROPERTY
@given(MOVES, STEPS)
def test_no_schedule_and_no_crash_changes_anything(moves: list[dict[str, Any]], steps: list[str]) -> None:
    events = build(moves)
    assert final_state(run_in_pieces(events, steps).sums) == final_state(run(events).sums)


@PROPERTY
@given(BUSY, STEPS)
def test_no_schedule_changes_a_busy_guild(moves: list[dict[str, Any]], steps: list[str]) -> None:
    events = build(moves)
    assert final_state(run_in_pieces(events, steps).sums) == final_state(run(events).sums)


@PROPERTY
@given(BUSY)
def test_a_hand_over_at_every_event_changes_nothing(moves: list[dict[str, Any]]) -> None:
    events = build(moves)
    pieces = run_in_pieces(events, ["hand over"] * len(events))
    assert final_state(pieces.sums) == final_state(run(events).sums)


@PROPERTY
@given(ANY)
def test_repeating_everything_changes_nothing(moves: list[dict[str, Any]]) -> None:
    events = build(moves)
    once, twice = run(events), Shell(OPTIONS)
    twice.chunk(events)
    twice.commit()
    first = len(twice.outcomes)
    twice.chunk(events)
    twice.commit(early=True)
    assert final_state(twice.sums) == final_state(once.sums)
    assert {outcome.name for outcome in twice.outcomes[first:]} <= {"DUPLICATE", "HEARTBEAT"}


@PROPERTY
@given(ANY)
def test_slices_sum_to_the_session(moves: list[dict[str, Any]]) -> None:
    sums = run(build(moves)).sums
    of_rows: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0] * len(VOICE_MEASURES))
    of_sessions: dict[tuple[int, int, int], list[int]] = defaultdict(lambda: [0] * len(VOICE_MEASURES))
    for (_, _, *who), row in sums.activity.items():
        if who[1] == ADJUSTED:
            continue
        _add(of_rows[tuple(who)], row[M.VOICE_MS : M.CLIPPED_MS + 1])  # type: ignore[index]
    for row in sums.sessions.values():
        _add(of_sessions[row[2], row[3], row[4]], row[9])
        _one_session(row)
    assert {who: ms for who, ms in of_rows.items() if any(ms)} == {
        who: ms for who, ms in of_sessions.items() if any(ms)
    }


def _add(sums: list[int], row: Sequence[int]) -> None:
    sums[:] = [a + b for a, b in zip(sums, row, strict=True)]


def _one_session(row: list[Any]) -> None:
    """Active ≤ voice ≤ wall, and nothing negative."""
    started, ended, counted, measures = row[5], row[6], row[7], row[9]
    voice_ms, active_ms, clipped_ms = measures[0], measures[1], measures[-1]
    assert min(measures) >= 0
    assert active_ms <= voice_ms
    assert max(measures[2:-1]) <= voice_ms
    assert voice_ms + clipped_ms == counted - started
    assert ended in (None, counted)
    assert (row[8] is None) == (ended is None)


@PROPERTY
@given(ANY)
def test_points_add_up(moves: list[dict[str, Any]]) -> None:
    sums = run(build(moves)).sums
    ledger: dict[tuple[int, int], int] = defaultdict(int)
    rows: dict[tuple[int, int], int] = defaultdict(int)
    days: dict[tuple[int, int, int, int], int] = defaultdict(int)
    for award in sums.awards.values():
        ledger[award[4], award[6]] += award[11]
        days[award[3], award[4], award[5], award[6]] += award[11]
        if award[7] != "adjust":
            assert award[11] == award[8] * award[9] != 0
        assert award[11] > 0 or award[7] in TAKING
        assert award[1] <= award[2]
        assert award[2] - award[1] >= (award[8] - 1) * 60_000
    for (_, day, guild, channel, user), row in sums.activity.items():
        rows[guild, user] += row[M.XP]
        days[day, guild, channel, user] -= row[M.XP]
    assert not any(days.values())
    for who, row in sums.totals.items():
        assert row[3] >= 0
        assert row[3] == ledger[who] == rows[who]
        assert sums.boards.get((who[0], "all"), {}).get(who[1], 0) == (0 if row[2] else row[3])
        _levels_follow(who, row, sums)


def _levels_follow(who: tuple[int, int], row: list[Any], sums: Sums) -> None:
    """Levels are announced once each, in rising order, and roles are those of the level."""
    notices = [notice for notice in sums.notices.values() if (notice["guild_id"], notice["user_id"]) == who]
    levels = [notice["level"] for notice in notices if notice["type"] == "level_up"]
    assert levels == sorted(set(levels))
    assert max(levels, default=0) >= row[4]
    roles: set[int] = set()
    for notice in notices:
        assert roles.isdisjoint(notice["roles"])
        assert roles.issuperset(notice["remove_roles"])
        roles = (roles | set(notice["roles"])) - set(notice["remove_roles"])
    if any(row[:2] == [who[0], None] for row in sums.erased):
        return  # The rewards went with the guild's settings.
    assert roles == policy_of(msgspec.json.encode(SETTINGS[who[0]])).roles_of(row[4])


@PROPERTY
@given(ANY)
def test_boards_are_the_sums_of_their_periods(moves: list[dict[str, Any]]) -> None:
    sums = run(build(moves)).sums
    for period in {name for _, name in sums.boards} - {"all"}:
        scores: dict[tuple[int, int], int] = defaultdict(int)
        for (_, day, guild, _, user), row in sums.activity.items():
            if user and row[M.XP] and _in_period(day, period):
                scores[guild, user] += row[M.XP]
        board = {
            (guild, user): xp
            for (guild, name), its in sums.boards.items()
            if name == period
            for user, xp in its.items()
        }
        # Whoever turned out to be a bot was taken off with a score of 0.
        bots = {who for who, row in sums.totals.items() if row[2]}
        assert {who: xp for who, xp in board.items() if who not in bots and xp > 0} == {
            who: xp for who, xp in scores.items() if who not in bots and xp > 0
        }
        assert not any(xp for who, xp in board.items() if who in bots)


def _in_period(day: int, period: str) -> bool:
    from datetime import date, timedelta

    at = date(1970, 1, 1) + timedelta(days=day)
    return period in (f"{at:%G-W%V}", f"{at:%Y-%m}")


@PROPERTY
@given(ANY)
def test_nothing_accrues_beyond_a_watermark(moves: list[dict[str, Any]]) -> None:
    events = build(moves)
    latest = max((event.ts for event in events), default=0)
    for row in run(events).sums.sessions.values():
        assert row[7] <= latest


@PROPERTY
@given(ANY)
def test_closed_windows_are_emitted_without_asking(moves: list[dict[str, Any]]) -> None:
    """A final heartbeat of every source leaves nothing open."""
    shell = Shell()
    shell.chunk(build(moves))
    shell.commit()
    assert shell.rules.pending_rows == 0
    assert shell.stored["windows"] == {}


@PROPERTY
@given(ANY)
def test_a_heartbeat_alone_writes_nothing_but_its_source(moves: list[dict[str, Any]]) -> None:
    shell = Shell(RuleOptions(purge_ms=0))
    shell.chunk(build(moves))
    shell.commit(early=True)
    shell.chunk([Heartbeat(v=1, ts=2_000_000_000_000, session="nobody")])
    before = {name: dict(table) for name, table in shell.stored.items()}
    drained = shell.commit()
    del before["sources"], shell.stored["sources"]
    assert before == shell.stored
    assert drained.activity == drained.sessions == drained.awards == drained.totals == []
