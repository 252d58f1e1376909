"""Boards go 35 days after their period, and not before it is over anywhere on earth."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.boards import board_end_ms

FARTHEST = ZoneInfo("Etc/GMT+12")


def test_the_board_of_all_time_never_goes() -> None:
    assert board_end_ms("all") is None


@pytest.mark.parametrize(
    ("period", "next_one"),
    [("2026-W47", date(2026, 11, 23)), ("2026-W53", date(2027, 1, 4)), ("2026-12", date(2027, 1, 1))],
)
def test_a_board_outlives_its_period_by_35_days(period: str, next_one: date) -> None:
    end_ms = board_end_ms(period)
    assert end_ms is not None
    over = datetime(next_one.year, next_one.month, next_one.day, tzinfo=FARTHEST)
    kept = datetime.fromtimestamp(end_ms / 1000, UTC) - over
    assert timedelta(days=35) <= kept <= timedelta(days=37)


@given(st.dates(date(2000, 1, 3), date(2100, 1, 1)))
def test_every_week_and_month_ends_after_each_of_its_days(day: date) -> None:
    year, week, _ = day.isocalendar()
    at_ms = datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000
    for period in (f"{year}-W{week:02}", f"{day:%Y-%m}"):
        end_ms = board_end_ms(period)
        assert end_ms is not None
        assert end_ms > at_ms
