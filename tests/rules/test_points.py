"""Laws of points under settings that limit and multiply them, and of events that come late."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from guildstream import events as ev
from guildstream.measures import M

from .histories import CHANNELS, GUILDS, SOURCES, START_MS, USERS, build
from .test_laws import ANY, BUSY, PROPERTY, STEPS, final_state, run_in_pieces
from .test_oracle import run

#: Every kind of limit and multiplier, another mix in each guild.
LIMITED: dict[int, dict[str, Any]] = dict(
    zip(
        GUILDS,
        (
            {"xp": {"daily_cap": 40, "reaction": {"given": 7, "received": 3}, "command": 9}},
            {
                "xp": {
                    "daily_cap": 33,
                    "voice": {"per_minute": 7, "require": []},
                    "multipliers": {
                        "channels": {str(CHANNELS[0]): 1.5, str(CHANNELS[1]): 0.125},
                        "stacking": "multiply",
                    },
                },
                "levels": {"curve": {"table": [10, 30, 45]}},
            },
            {
                "xp": {
                    "daily_cap": 5,
                    "voice": {"per_minute": 2, "require": ["not_mute"]},
                    "ignore": {"channels": [CHANNELS[2]], "users": [USERS[0]]},
                },
                "levels": {"curve": {"coefficients": [0, 0, 4]}},
            },
        ),
        strict=True,
    )
)
CAPS = {guild: its["xp"]["daily_cap"] for guild, its in LIMITED.items()}


@PROPERTY
@given(ANY)
def test_caps_hold_on_every_local_day(moves: list[dict[str, Any]]) -> None:
    events = [its for its in build(moves, LIMITED) if its.type != "erase"]
    sums = run(events).sums
    days: dict[tuple[int, int, int], int] = defaultdict(int)
    for award in sums.awards.values():
        if award[7] != "adjust" and award[6]:
            days[award[4], award[6], award[3]] += award[11]
    purged = {row[0] for row in sums.erased}
    assert all(xp <= CAPS[guild] for (guild, _, _), xp in days.items() if guild not in purged)
    assert all(row[3] >= 0 for row in sums.totals.values())


@PROPERTY
@given(ANY)
def test_whom_or_what_an_ignore_list_names_earns_nothing(moves: list[dict[str, Any]]) -> None:
    guild = tuple(GUILDS)[2]
    sums = run([its for its in build(moves, LIMITED) if its.type not in {"erase", "guild_remove"}]).sums
    for award in sums.awards.values():
        if award[4] == guild and award[7] != "adjust":
            assert award[5] != CHANNELS[2]
            assert award[6] != USERS[0]


@PROPERTY
@given(BUSY, STEPS)
def test_no_schedule_changes_limited_points(moves: list[dict[str, Any]], steps: list[str]) -> None:
    events = build(moves, LIMITED)
    assert final_state(run_in_pieces(events, steps).sums) == final_state(run(events).sums)


@PROPERTY
@given(ANY, st.sampled_from(tuple(GUILDS)), st.sampled_from(USERS), st.integers(0, 3_600_000))
def test_a_late_message_changes_exactly_its_own_row(
    moves: list[dict[str, Any]], guild: int, user: int, late_ms: int
) -> None:
    events = build([its for its in moves if its["kind"] not in {"erase", "guild_remove"}])
    # Not later than the last of any source, or it would follow an owner that has fallen silent.
    last = {its.session: its.ts for its in events[len(GUILDS) : -len(SOURCES)]}
    ts = min(last.values(), default=START_MS) - late_ms
    late = ev.MessageCreate(
        v=1, ts=ts, session="cli", seq=9, guild_id=guild, channel_id=77, user_id=user, data=ev.MessageData(message_id=1)
    )
    before = run(events).sums
    after = run([*events[: -len(SOURCES)], late, *events[-len(SOURCES) :]]).sums
    changed = {
        key
        for key in before.activity.keys() | after.activity.keys()
        if any(before.activity.get(key, ())) or any(after.activity.get(key, ()))
        if before.activity.get(key) != after.activity.get(key)
    }
    (key,) = changed
    assert key[2:] == (guild, 77, user)
    assert after.activity[key][M.MESSAGES] == 1
    assert before.sessions == after.sessions
