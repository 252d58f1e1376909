"""Partitions of the fact tables: made ahead of time, and on demand before rows that need one."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Final

import psycopg

from sql import query

__all__ = ["DAILY", "DAY_MS", "MONTHLY", "Partitions", "month_of", "partitions_ahead"]

DAY_MS: Final = 86_400_000
#: Fact tables by the length of their partitions; time is UTC.
DAILY: Final = ("events", "member_activity", "xp_awards", "event_participants")
MONTHLY: Final = ("voice_sessions", "command_usage", "member_flow")
_AHEAD_DAYS: Final = 3
_EPOCH: Final = date(1970, 1, 1).toordinal()

_log = logging.getLogger("guildstream.sink")


def month_of(day: int) -> int:
    """The first day of a day's month, both as days since 1970."""
    return date.fromordinal(_EPOCH + day).replace(day=1).toordinal() - _EPOCH


def partitions_ahead(now_ms: int) -> dict[str, set[int]]:
    """What live traffic needs from yesterday until a few days ahead: table to first days, since 1970."""
    today = now_ms // DAY_MS
    days = set(range(today - 1, today + _AHEAD_DAYS + 1))
    months = {month_of(day) for day in (today - 1, today, today + 31)}
    return {**dict.fromkeys(DAILY, days), **dict.fromkeys(MONTHLY, months)}


class Partitions:
    """Remembers which partitions exist, so that a batch asks PostgreSQL only about new ones."""

    def __init__(self) -> None:
        self._known: dict[str, set[int]] = {}

    def forget(self) -> None:
        """Believe nothing any more: somebody may have dropped partitions."""
        self._known.clear()

    def ensure(self, connection: psycopg.Connection, needed: Mapping[str, Iterable[int]]) -> int:
        """Make what is missing, in a transaction of its own for each table. Blocks; several sinks may race.

        Args:
            connection: in autocommit mode, outside a transaction, so that no lock outlives the making.
            needed: table to first days (of days or months), as days since 1970.

        Returns:
            How many partitions it made.
        """
        made = 0
        for parent, starts in needed.items():
            known = self._known.setdefault(parent, set())
            if missing := sorted(set(starts) - known):
                made += _make(connection, parent, missing)
                known.update(missing)
        return made


def _make(connection: psycopg.Connection, parent: str, starts: list[int]) -> int:
    days = [datetime.fromtimestamp(start * (DAY_MS // 1000), UTC).date() for start in starts]
    unit = "day" if parent in DAILY else "month"
    row = connection.execute(query("make_partitions"), {"parent": parent, "unit": unit, "starts": days}).fetchone()
    made = int(row[0]) if row else 0
    if made:
        _log.info(
            "made partitions", extra={"table": parent, "count": made, "first": str(days[0]), "last": str(days[-1])}
        )
    return made
