"""Who leads a guild by a measure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import psycopg
from psycopg.rows import class_row

from guildstream.errors import ConfigError
from guildstream.measures import MEASURES
from sql import QueryName, query

__all__ = ["PERIODS", "LeaderboardRow", "leaderboard", "member_rank"]

#: ``day``, ``week`` and ``month`` are those of a day; the rolling ones end with it.
PERIODS: Final = ("all", "day", "week", "month", "rolling_7d", "rolling_30d")


@dataclass(frozen=True, slots=True)
class LeaderboardRow:
    """One place.

    Attributes:
        rank: from 1; members with the same value share one.
        user_id: the member.
        display_name: None where no name was ever seen.
        value: of the measure, in its unit; always above 0.
        level: the member's level now.
    """

    rank: int
    user_id: int
    display_name: str | None
    value: int
    level: int


def leaderboard(
    connection: psycopg.Connection[Any],
    guild_id: int,
    period: str,
    measure: str = "xp",
    *,
    at: date | None = None,
    max_rows: int = 10,
    skip: int = 0,
) -> list[LeaderboardRow]:
    """Members of a guild by a measure, without bots and without those who have none of it.

    Args:
        connection: any role that may read ``analytics``.
        guild_id: the guild.
        period: one of ``PERIODS``.
        measure: one of ``guildstream.measures.MEASURES``.
        at: the day that the period contains or ends with; today (UTC) if None.
        max_rows: how many places at most.
        skip: how many to leave out from the top.

    Raises:
        ConfigError: there is no such period or measure.
    """
    _check(period, measure)
    return _ask(
        connection,
        "leaderboard",
        guild=guild_id,
        period=period,
        measure=measure,
        at=at,
        max_rows=max_rows,
        skip=skip,
    )


def member_rank(
    connection: psycopg.Connection[Any],
    guild_id: int,
    user_id: int,
    period: str,
    *,
    measure: str = "xp",
    at: date | None = None,
) -> LeaderboardRow | None:
    """One member's place, or None where the member has none. Arguments and errors as of ``leaderboard``."""
    _check(period, measure)
    rows = _ask(connection, "member_rank", guild=guild_id, user=user_id, period=period, measure=measure, at=at)
    return rows[0] if rows else None


def _check(period: str, measure: str) -> None:
    if period not in PERIODS:
        raise ConfigError(f"there is no period {period!r}; there are {', '.join(PERIODS)}")
    if measure not in MEASURES:
        raise ConfigError(f"there is no measure {measure!r}; there are {', '.join(MEASURES)}")


def _ask(connection: psycopg.Connection[Any], name: QueryName, **arguments: object) -> list[LeaderboardRow]:
    with connection.cursor(row_factory=class_row(LeaderboardRow)) as cursor:
        return cursor.execute(query(name), arguments).fetchall()
