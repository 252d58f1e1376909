"""Rules against the naive oracle, on histories with hostile timing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildstream.events import Event
from guildstream.measures import VOICE_MEASURES, M
from processors.rules import RuleOptions

from .histories import GUILDS, MOVE, PURGE_MS, SETTINGS, build, dense_moves
from .oracle import Oracle
from .twin import Shell

#: The guild in which voice earns nothing.
QUIET = 13 << 22
#: The same with all that limits and multiplies what events earn.
LIMITED = SETTINGS | {
    QUIET: {
        "xp": {
            "message": {"min": 3, "max": 40, "cooldown_seconds": 30},
            "reaction": {"given": 7, "received": 50},
            "command": 9,
            "daily_cap": 120,
            "voice": {"per_minute": 0},
            "multipliers": {"channels": {"201": 1.5, "202": 0.125}},
            "ignore": {"channels": [203], "users": [102]},
        }
    }
}
OPTIONS = RuleOptions(purge_ms=PURGE_MS)
#: How many histories each property sees; a nightly run may raise it.
HISTORIES = 150


def run(events: Sequence[Event]) -> Shell:
    shell = Shell(OPTIONS)
    shell.chunk(events)
    shell.commit(early=True)
    return shell


def mee6(xp: int) -> int:
    level = 0
    while xp >= (step := 5 * level * level + 50 * level + 100):
        xp -= step
        level += 1
    return level


def adjusted_where_quiet(events: Sequence[Event]) -> Iterator[Event]:
    """Adjustments only while voice earns nothing: the oracle has no points at hand but those of events."""
    quiet = True
    for event in events:
        whole = event.type == "guild_remove" or (event.type == "erase" and event.user_id is None)
        if whole and event.guild_id == QUIET:
            quiet = False
        if event.type != "adjust" or (quiet and event.guild_id == QUIET):
            yield event


def agree(events: Sequence[Event], wishes: dict[int, dict[str, Any]] = SETTINGS) -> None:
    events = list(adjusted_where_quiet(events))
    shell, oracle = run(events), Oracle(GUILDS, wishes)
    for event in events:
        oracle.feed(event)
    oracle.finish()
    assert [outcome.name for outcome in shell.outcomes] == oracle.outcomes
    assert shell.sums.counters["unmatched"] == oracle.unmatched
    assert shell.sums.flow == oracle.flow
    table = oracle.table()
    assert {key: row for key, row in shell.sums.activity.items() if any(row)} == table
    expected: list[Any] = sorted(
        (
            its.guild,
            its.channel,
            max(its.user, 0),
            its.start,
            its.end or 0,
            its.reason or "",
            *(its.ms[name] for name in VOICE_MEASURES),
        )
        for its in oracle.segments
        if its.guild is not None
    )
    rows = shell.sums.sessions.values()
    assert sorted((r[2], r[3], r[4], r[5], r[6] or 0, r[8] or "", *r[9]) for r in rows) == expected
    totals: dict[tuple[int, int], list[int]] = {}
    for (_, _, guild, _, user), row in table.items():
        sums = totals.setdefault((guild, user), [0, 0, 0])
        for index, measure in enumerate((M.XP, M.MESSAGES, M.VOICE_MS)):
            sums[index] += row[measure]
    for who, (_, _, _, xp, level, messages, voice_ms, *_rest) in shell.sums.totals.items():
        assert [xp, messages, voice_ms] == totals.get(who, [0, 0, 0])
        assert level == mee6(xp)


@settings(max_examples=HISTORIES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MOVE, max_size=60))
def test_rules_agree_with_the_oracle(moves: list[dict[str, Any]]) -> None:
    agree(build(moves))


@settings(max_examples=HISTORIES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.integers(0, 2**32))
def test_rules_agree_on_long_histories_of_one_guild(seed: int) -> None:
    agree(build(dense_moves(seed)))


@settings(max_examples=HISTORIES, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MOVE, max_size=60) | st.integers(0, 2**32).map(dense_moves))
def test_rules_agree_on_what_limits_points(moves: list[dict[str, Any]]) -> None:
    agree(build(moves, LIMITED), LIMITED)
