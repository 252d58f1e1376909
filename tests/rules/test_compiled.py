"""Local time, level curves and compiled settings."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guildstream.guild_settings import Coefficients, LevelTable, change_settings
from processors.rules.levels import MAX_LEVEL, LevelCurve
from processors.rules.local_time import LocalDays, month_name, periods_of, week_name
from processors.rules.periods import score
from processors.rules.policy import policy_of

ZONES = (
    "UTC",
    "Asia/Kolkata",
    "America/St_Johns",
    "America/Sao_Paulo",
    "Pacific/Apia",
    "Europe/Berlin",
    "Asia/Kathmandu",
)
TIMES = st.integers(946_684_800_000, 4_102_444_800_000)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(ZONES), TIMES)
def test_local_days_are_those_of_the_calendar(zone: str, ts: int) -> None:
    days = LocalDays(zone)
    day, start, end = days.stretch(ts)
    for instant in (ts, start, end - 1):
        naive = (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)).astimezone(ZoneInfo(zone)).date()
        assert date(1970, 1, 1) + timedelta(days=day) == naive
    assert start <= ts < end
    assert days.day_and_end(ts) == (day, end)
    assert days.day(ts) == day


def test_a_day_that_the_clock_enters_twice() -> None:
    """St John's left daylight saving a minute after midnight until 2011: the day began, and began again."""
    days = LocalDays("America/St_Johns")
    midnight = int(datetime(2010, 11, 7, 2, 30, tzinfo=UTC).timestamp() * 1000)
    seventh = (date(2010, 11, 7) - date(1970, 1, 1)).days
    assert [days.day(midnight + minutes * 60_000) for minutes in (-1, 0, 1, 30, 60)] == [
        seventh - 1,
        seventh,
        seventh - 1,
        seventh - 1,
        seventh,
    ]


@given(st.integers(10_957, 40_000))
def test_periods_are_those_of_the_calendar(day: int) -> None:
    at = date(1970, 1, 1) + timedelta(days=day)
    week, month = periods_of(day)
    assert week_name(week) == f"{at:%G-W%V}"
    assert month_name(month) == f"{at:%Y-%m}"


def test_mee6_levels() -> None:
    curve = LevelCurve(Coefficients((5, 50, 100)))
    assert [curve.level(xp) for xp in (-5, 0, 99, 100, 254, 255, 474, 475)] == [0, 0, 0, 1, 1, 2, 2, 3]


def test_a_table_ends_at_its_last_level() -> None:
    curve = LevelCurve(LevelTable((10, 30)))
    assert [curve.level(xp) for xp in (0, 9, 10, 29, 30, 10**15)] == [0, 0, 1, 1, 2, 2]


def test_a_flat_curve_is_bounded() -> None:
    assert LevelCurve(Coefficients((0, 0, 1))).level(2**53) == MAX_LEVEL


@pytest.mark.parametrize(
    ("stacking", "expected"),
    [("highest", [1000, 500, 1500, 1500]), ("add", [1000, 500, 1500, 1000]), ("multiply", [1000, 500, 1500, 750])],
)
def test_multipliers(stacking: str, expected: list[int]) -> None:
    stored = change_settings(
        b"", {"xp": {"multipliers": {"roles": {"1": 0.5}, "channels": {"7": 1.5}, "stacking": stacking}}}
    )
    policy = policy_of(stored)
    cases = ((8, None, ()), (8, None, (1, 2)), (9, 7, None), (7, 9, (1,)))
    assert [policy.multiplier(channel, parent, roles) for channel, parent, roles in cases] == expected


def test_ignore_lists() -> None:
    ignore = {"users": ["1"], "channels": [2], "roles": [3]}
    policy = policy_of(change_settings(b"", {"xp": {"ignore": ignore}}))
    cases = (
        (1, 9, None, ()),
        (9, 2, None, ()),
        (9, 9, 2, ()),
        (9, 9, None, (3,)),
        (9, 9, 8, (1, 2)),
        (9, 9, None, None),
    )
    assert [policy.ignores(*case) for case in cases] == [True, True, True, True, False, False]


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(1, 9)), max_size=40))
def test_scores_are_sums_while_they_are_remembered(awards: list[tuple[int, int]]) -> None:
    latest, points, kept = 0, 0, None
    sums: dict[int, int] = {}
    for code, xp in awards:
        sums[code] = sums.get(code, 0) + xp
        latest, points, kept, total = score((latest, points, kept), code, xp, 4)
        assert total in (None, sums[code])
        assert total is not None or code < min(kept or {})
        assert points == sums[latest]
    assert len(kept or {}) <= 4
