"""Reading raw gateway payloads: ids, times, what an event made from one looks like."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

__all__ = ["DISCORD_EPOCH_MS", "Event", "Payload", "event", "ids", "iso_ms", "optional_id", "snowflake_ms"]

Payload = Mapping[str, Any]
Event = dict[str, Any]

DISCORD_EPOCH_MS: Final = 1_420_070_400_000


def snowflake_ms(snowflake: int) -> int:
    """When Discord made an id, milliseconds since the epoch."""
    return (snowflake >> 22) + DISCORD_EPOCH_MS


def optional_id(value: Any) -> int | None:
    """An id, or None where the payload has null, nothing, or 0."""
    return int(value) or None if value else None


def ids(values: Any) -> list[int]:
    """A list of ids, empty where the payload has none."""
    return [int(value) for value in values] if values else []


def iso_ms(text: str) -> int:
    """An ISO 8601 time as milliseconds since the epoch."""
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def event(
    kind: str, ts: int, guild_id: int, data: Event, *, channel_id: int | None = None, user_id: int | None = None
) -> Event:
    """An event of the contract, but for what its source adds."""
    made: Event = {"v": 1, "type": kind, "ts": ts, "guild_id": guild_id}
    if channel_id is not None:
        made["channel_id"] = channel_id
    if user_id is not None:
        made["user_id"] = user_id
    made["data"] = data
    return made
