"""Members and guilds to forget: before an entry's rows are loaded, and out of the events it covers (DESIGN §5.4)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime
from uuid import UUID

import psycopg

from guildstream.results import ErasedRow
from sinks.stored_events import StoredEvent
from sql import query

__all__ = ["erase", "erase_mentions", "remaining"]


def remaining(
    runs: Iterable[tuple[int, list[StoredEvent], bool]], erased: Sequence[ErasedRow]
) -> list[tuple[int, list[StoredEvent], bool]]:
    """Runs of events without those that an erasure in the same range makes forgotten, each event a run of its own."""
    return [
        (position, [event], suspicious)
        for first, events, suspicious in runs
        for position, event in enumerate(events, first)
        if not any(_forgets(row, position, event) for row in erased)
    ]


def _forgets(row: ErasedRow, position: int, event: StoredEvent) -> bool:
    """Whether it is of whom the row forgets and came before, or is the erasure itself: its receipt stays instead."""
    guild_id, user_id, _, at, *_ = row
    if event.guild_id is None or position > at or int(event.guild_id) != guild_id:
        return False
    return user_id is None or (event.user_id is not None and int(event.user_id) == user_id)


def erase(connection: psycopg.Connection, rows: Iterable[ErasedRow]) -> None:
    """Forget what is loaded, each with a receipt, inside the caller's transaction."""
    connection.execute(query("fold_lock"))
    for guild_id, user_id, at_ms, _, keep_out, event_id in rows:
        values = {
            "event": UUID(bytes=event_id),
            "at": datetime.fromtimestamp(at_ms / 1000, UTC),
            "guild": guild_id,
            "user": user_id,
            "keep_out": keep_out,
        }
        connection.execute(query("erase_guild" if user_id is None else "erase_member"), values)


def erase_mentions(connection: psycopg.Connection, rows: Iterable[ErasedRow], days: Collection[int]) -> None:
    """Remove the ids of forgotten members from others' events of these days, which were just loaded."""
    if not days:
        return
    begin, end = min(days), max(days) + 1
    for guild_id, user_id, *_ in rows:
        if user_id is not None:
            bounds = [datetime.fromtimestamp(day * 86_400, UTC) for day in (begin, end)]
            connection.execute(query("erase_mentions"), {"guild": guild_id, "user": user_id, "bounds": bounds})
