"""Live XP boards: sorted sets in Redis, written with the commit that awarded the points."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Final

from processors.transport import Partition

__all__ = ["board_end_ms", "drop_boards", "write_boards"]

_KEPT: Final = timedelta(days=35)
#: Local time is at most this far from UTC.
_ZONES: Final = timedelta(days=1)


@lru_cache(maxsize=256)
def board_end_ms(period: str) -> int | None:
    """When a board may go: 35 days after its period, in any time zone; None for ``all``.

    Args:
        period: ``all``, a week such as ``2026-W47``, or a month such as ``2026-11``.
    """
    if period == "all":
        return None
    year, _, rest = period.partition("-")
    if rest.startswith("W"):
        end = date.fromisocalendar(int(year), int(rest[1:]), 1) + timedelta(days=7)
    else:
        end = (date(int(year), int(rest), 1) + timedelta(days=32)).replace(day=1)
    at = datetime(end.year, end.month, end.day, tzinfo=UTC) + _KEPT + _ZONES
    return int(at.timestamp() * 1000)


def write_boards(
    partition: Partition,
    boards: Mapping[tuple[int, str], Mapping[int, int]],
    now_ms: int,
    expiring: set[tuple[int, str]],
) -> None:
    """Add scores to the commit; a score of 0 or less takes a member off.

    Boards whose time is over, as in a replay of history, are left out.

    Args:
        partition: takes the writes.
        boards: scores by guild and period.
        now_ms: the wall clock.
        expiring: boards whose end was set since the partition was taken up; grows.
    """
    for (guild_id, period), scores in boards.items():
        end_ms = board_end_ms(period)
        if end_ms is not None and end_ms <= now_ms:
            continue
        key = f"board:{guild_id}:{period}"
        if members := list(_flat(scores)):
            partition.write("ZADD", key, members)
        if gone := [b"%d" % user_id for user_id, xp in scores.items() if xp <= 0]:
            partition.write("ZREM", key, gone)
        if end_ms is not None and (guild_id, period) not in expiring:
            expiring.add((guild_id, period))
            partition.write("PEXPIREAT", key, [b"%d" % end_ms])


def drop_boards(partition: Partition, guild_ids: Iterable[int], now_ms: int) -> None:
    """Remove every board that a guild may have; boards of longer ago have expired."""
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    days = [today + timedelta(days=day) for day in range(-75, 8)]
    periods = {"all", *(f"{day:%G-W%V}" for day in days), *(f"{day:%Y-%m}" for day in days)}
    for guild_id in guild_ids:
        for period in sorted(periods):
            partition.write("DEL", f"board:{guild_id}:{period}", [])


def _flat(scores: Mapping[int, int]) -> Iterator[bytes]:
    for user_id, xp in scores.items():
        if xp <= 0:
            continue
        yield b"%d" % xp
        yield b"%d" % user_id
