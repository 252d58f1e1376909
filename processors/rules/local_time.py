"""A guild's own days, weeks and months; daylight saving included."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo

__all__ = ["DAY_MS", "HOUR_MS", "MINUTE_MS", "LocalDays", "local_days", "month_name", "periods_of", "week_name"]

MINUTE_MS: Final = 60_000
HOUR_MS: Final = 3_600_000
DAY_MS: Final = 86_400_000
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
#: Days remembered per time zone; a stretch of history rarely spans more at once.
_REMEMBERED: Final = 512


class LocalDays:
    """The days of one time zone. A local day is a number of days since 1970-01-01."""

    __slots__ = ("_days", "_zone")

    def __init__(self, timezone: str) -> None:
        self._zone = None if timezone == "UTC" else ZoneInfo(timezone)
        self._days: dict[int, tuple[int, int, int]] = {}

    def day(self, ts_ms: int) -> int:
        """The local day of an instant."""
        return ts_ms // DAY_MS if self._zone is None else self._slow(ts_ms)[0]

    def day_and_end(self, ts_ms: int) -> tuple[int, int]:
        """The local day of an instant, and an instant up to which it surely lasts."""
        if self._zone is None:
            day = ts_ms // DAY_MS
            return day, (day + 1) * DAY_MS
        day, _, end = self._slow(ts_ms)
        return day, end

    def stretch(self, ts_ms: int) -> tuple[int, int, int]:
        """The local day of an instant, and a stretch around the instant in which it lasts."""
        if self._zone is None:
            day = ts_ms // DAY_MS
            return day, day * DAY_MS, (day + 1) * DAY_MS
        return self._slow(ts_ms)

    def _slow(self, ts_ms: int) -> tuple[int, int, int]:
        hour = ts_ms // HOUR_MS
        found = self._days.get(hour)
        if found is None or not found[1] <= ts_ms < found[2]:
            found = self._find(ts_ms)
            if len(self._days) > _REMEMBERED:
                self._days.clear()
            self._days[hour] = found
        return found

    def _find(self, ts_ms: int) -> tuple[int, int, int]:
        """The stretch around an instant, within its UTC hour, in which the local day is the same."""
        low = ts_ms - ts_ms % HOUR_MS
        high = low + HOUR_MS
        day = self._exact(ts_ms)
        if self._local(low).utcoffset() != self._local(high - 1).utcoffset():
            # The clock changes in this hour and may pass midnight twice; it does so at whole minutes.
            low = ts_ms - ts_ms % MINUTE_MS
            return day, low, low + MINUTE_MS
        if self._exact(low) != day:
            low = self._change(low, ts_ms)
        if self._exact(high - 1) != day:
            high = self._change(ts_ms, high - 1)
        return day, low, high

    def _change(self, before_ms: int, after_ms: int) -> int:
        """The first instant of the day of ``after_ms``, later than ``before_ms``, which has another."""
        day = self._exact(after_ms)
        while after_ms - before_ms > 1:
            middle = (before_ms + after_ms) // 2
            if self._exact(middle) == day:
                after_ms = middle
            else:
                before_ms = middle
        return after_ms

    def _exact(self, ts_ms: int) -> int:
        return self._local(ts_ms).toordinal() - _EPOCH_ORDINAL

    def _local(self, ts_ms: int) -> datetime:
        return datetime.fromtimestamp(ts_ms // 1000, UTC).astimezone(self._zone)


@lru_cache(maxsize=1024)
def local_days(timezone: str) -> LocalDays:
    """The days of a time zone; one object per zone, since it only remembers what is always true."""
    return LocalDays(timezone)


@lru_cache(maxsize=4096)
def periods_of(day: int) -> tuple[int, int]:
    """The ISO week (``year * 100 + week``) and the month (``year * 100 + month``) of a local day."""
    at = date.fromordinal(day + _EPOCH_ORDINAL)
    year, week, _ = at.isocalendar()
    return year * 100 + week, at.year * 100 + at.month


def week_name(week: int) -> str:
    """``2026-W47`` of 202647."""
    return f"{week // 100}-W{week % 100:02d}"


def month_name(month: int) -> str:
    """``2026-11`` of 202611."""
    return f"{month // 100}-{month % 100:02d}"
