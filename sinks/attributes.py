"""Current attributes of guilds, channels, roles, users and members, derived from accepted events.

The newest event wins, column by column; one that comes after a newer one only fills what is not known.
The same rule merges events of a batch here and batches in PostgreSQL, so that events in order of time end
the same however they are batched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
import psycopg

from guildstream.errors import InvalidEvent
from guildstream.events import ChannelData, GuildData, MemberData, RoleData, snowflake
from sinks.rows import clean_text
from sinks.stored_events import StoredEvent
from sql import QueryName, query

__all__ = ["Attributes"]

_Data = TypeVar("_Data")
_Key = tuple[int, ...]
_Id = int | str | None


@dataclass(slots=True)
class _Row:
    """What is known of one object: as of when, when it went away (None: it is there), and its columns."""

    updated_ms: int
    gone_ms: int | None
    values: tuple[Any, ...]

    def merge(self, newer: _Row) -> None:
        """Take in what another event says, whichever of the two is the newer."""
        if newer.updated_ms >= self.updated_ms:
            self.updated_ms, self.gone_ms = newer.updated_ms, newer.gone_ms
            pairs = zip(newer.values, self.values, strict=True)
        else:
            pairs = zip(self.values, newer.values, strict=True)
        self.values = tuple(second if first is None else first for first, second in pairs)


_Table = dict[_Key, _Row]


@dataclass(slots=True)
class Attributes:
    """Attributes that a batch of events changes."""

    guilds: _Table = field(default_factory=dict)
    channels: _Table = field(default_factory=dict)
    roles: _Table = field(default_factory=dict)
    users: _Table = field(default_factory=dict)
    members: _Table = field(default_factory=dict)

    def add(self, event: StoredEvent) -> None:
        """Take in an event; types without attributes are ignored."""
        handler = _HANDLERS.get(event.type)
        if handler is not None and event.guild_id is not None:
            handler(self, event, snowflake(event.guild_id))

    def add_all(self, events: Iterable[StoredEvent]) -> None:
        """``add`` for many events, most of which have no attributes."""
        for event in events:
            if event.type in _HANDLERS:
                self.add(event)

    def write(self, connection: psycopg.Connection) -> int:
        """Upsert all of it inside the caller's transaction, each table in key order.

        Returns:
            How many rows were written.
        """
        written = 0
        mentioned = sorted({key[0] for table in (self.channels, self.roles, self.members) for key in table})
        if mentioned:
            connection.execute(query("guilds_mention"), (mentioned,))
        for name, table, has_end in self._tables():
            if table:
                connection.execute(query(name), _columns(table, has_end=has_end))
                written += len(table)
        return written

    def _tables(self) -> tuple[tuple[QueryName, _Table, bool], ...]:
        return (
            ("guilds_upsert", self.guilds, True),
            ("channels_upsert", self.channels, True),
            ("roles_upsert", self.roles, True),
            ("users_upsert", self.users, False),
            ("members_upsert", self.members, True),
        )


def _columns(table: _Table, *, has_end: bool) -> list[list[Any]]:
    """The table as columns for ``unnest``: keys, updated, gone, values."""
    rows: list[tuple[Any, ...]] = []
    for key in sorted(table):
        row = table[key]
        end = (_time(row.gone_ms),) if has_end else ()
        rows.append((*key, _time(row.updated_ms), *end, *row.values))
    return [list(column) for column in zip(*rows, strict=True)]


def _time(time_ms: int | None) -> datetime | None:
    return None if time_ms is None else datetime.fromtimestamp(time_ms / 1000, UTC)


def _put(table: _Table, key: _Key, updated_ms: int, gone_ms: int | None, *values: Any) -> None:
    row = _Row(updated_ms, gone_ms, values)
    if key in table:
        table[key].merge(row)
    else:
        table[key] = row


def _decode(event: StoredEvent, kind: type[_Data]) -> _Data | None:
    """The event's data, or None where it says nothing usable: attributes never stop a batch."""
    try:
        return msgspec.json.decode(event.data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def _id(value: _Id) -> int | None:
    try:
        return None if value is None else snowflake(value)
    except InvalidEvent:
        return None


def _text(value: str | int | None) -> str | None:
    return None if value is None else clean_text(str(value))


def _small(value: int | None) -> int | None:
    return value if value is not None and -(2**31) <= value < 2**31 else None


def _afk_channel(data: GuildData) -> int | None:
    """0 where the guild is known to have none, since None means that this event doesn't say."""
    if data.afk_channel_id is msgspec.UNSET:
        return None
    return _id(data.afk_channel_id) or 0


def _guild_update(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    data = _decode(event, GuildData)
    if data is None:
        return
    values = (_text(data.name), _id(data.owner_id), _afk_channel(data), data.member_count)
    _put(into.guilds, (guild_id,), event.ts, None, *values)
    for channel in data.channels or ():
        _put_channel(into, guild_id, event.ts, channel)
    for role in data.roles or ():
        _put_role(into, guild_id, event.ts, role)


def _guild_remove(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    _put(into.guilds, (guild_id,), event.ts, event.ts, None, None, None, None)


def _put_channel(
    into: Attributes, guild_id: int, ts: int, data: ChannelData, *, other_id: _Id = None, gone_ms: int | None = None
) -> None:
    channel_id = _id(data.channel_id) or _id(other_id)
    if channel_id is not None:
        values = (_text(data.name), _text(data.kind), _id(data.parent), _small(data.position))
        _put(into.channels, (guild_id, channel_id), ts, gone_ms, *values)


def _channel_update(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    if (data := _decode(event, ChannelData)) is not None:
        _put_channel(into, guild_id, event.ts, data, other_id=event.channel_id)


def _channel_delete(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    if (data := _decode(event, ChannelData)) is not None:
        _put_channel(into, guild_id, event.ts, data, other_id=event.channel_id, gone_ms=event.ts)


def _put_role(into: Attributes, guild_id: int, ts: int, data: RoleData, *, gone_ms: int | None = None) -> None:
    role_id = _id(data.role_id)
    if role_id is not None:
        _put(into.roles, (guild_id, role_id), ts, gone_ms, _text(data.name), _small(data.position))


def _role_update(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    if (data := _decode(event, RoleData)) is not None:
        _put_role(into, guild_id, event.ts, data)


def _role_delete(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    if (data := _decode(event, RoleData)) is not None:
        _put_role(into, guild_id, event.ts, data, gone_ms=event.ts)


def _member(into: Attributes, event: StoredEvent, guild_id: int) -> None:
    user_id = _id(event.user_id)
    data = _decode(event, MemberData)
    if user_id is None or data is None:
        return
    _put(into.users, (user_id,), event.ts, None, _text(data.username), _text(data.display_name), data.bot)
    joined_at = _joined_at(data.joined_at)
    if joined_at is None and event.type == "member_join":
        joined_at = _time(event.ts)
    # An array of arrays must be rectangular: roles travel as the text of an array.
    roles = None if data.roles is None else "{" + ",".join(str(_id(role) or 0) for role in data.roles) + "}"
    gone_ms = event.ts if event.type == "member_leave" else None
    _put(into.members, (guild_id, user_id), event.ts, gone_ms, _text(data.nick), joined_at, roles)


def _joined_at(value: int | str | None) -> datetime | None:
    if not isinstance(value, str):
        return _time(value)
    try:
        parsed = datetime.fromisoformat(value)
    except ValueError:
        return None
    return parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)


_HANDLERS: Final[Mapping[str, Callable[[Attributes, StoredEvent, int], None]]] = {
    "guild_update": _guild_update,
    "guild_remove": _guild_remove,
    "channel_update": _channel_update,
    "thread_update": _channel_update,
    "channel_delete": _channel_delete,
    "role_update": _role_update,
    "role_delete": _role_delete,
    "member_join": _member,
    "member_update": _member,
    "member_leave": _member,
}
