"""Accepted events as rows of ``guildstream.events`` in PostgreSQL's binary COPY format."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterable
from typing import Any, Final

from guildstream.event_ids import session_digest, uuid_from
from guildstream.events import snowflake
from sinks.partitions import DAY_MS
from sinks.rows import POSTGRES_EPOCH_MS, clean_text, text_field
from sinks.stored_events import StoredEvent

__all__ = ["EventRows", "clean_json"]

_NULL: Final = b"\xff\xff\xff\xff"
_FIELDS: Final = 14
_WHOLE: Final = struct.Struct("!h" + "iq" * 6 + "iQQ" + "ii" * 2 + "iB")
_BEFORE_IDS: Final = struct.Struct("!hiq")
_AFTER_IDS: Final = struct.Struct("!" + "iq" * 2 + "iQQ" + "ii" * 2 + "iB")
_INT8: Final = struct.Struct("!iq")
_INT4: Final = struct.Struct("!ii")
_UUID: Final = struct.Struct("!QQ")
_MAX_SOURCES: Final = 20_000
_MAX_FLOAT_DIGITS: Final = 300

#: What rows of one source and type share: the fields after ``data``, the first half of their event
#: ids, and the session's digest.
_Source = tuple[bytes, int, bytes]


class EventRows:
    """Collects the rows of one batch.

    Attributes:
        rows: what COPY takes.
        days: days since 1970 whose partitions the rows need.
        cleaned: events whose ``data`` held what ``jsonb`` refuses and was replaced.
    """

    def __init__(self, *, careful: bool) -> None:
        self.rows: list[bytes] = []
        self.days: set[int] = set()
        self.cleaned = 0
        self._careful = careful

    def add(self, partition: int, first: int, events: Iterable[StoredEvent], *, suspicious: bool) -> None:
        """Add events that follow each other from position ``first`` on."""
        append, whole = self.rows.append, _WHOLE.pack
        clean = suspicious or self._careful
        today = -1
        for position, event in enumerate(events, first):
            ts, seq, part = event.ts, event.seq, event.part
            if ts // DAY_MS != today:
                today = ts // DAY_MS
                self.days.add(today)
            source = (event.session, event.type, event.shard, event.replayed)
            suffix, high, digest = _sources.get(source) or _source(source)
            if seq >> 46 or part >> 16:
                high, low = _UUID.unpack(uuid_from(digest, seq, part))
            else:
                low = 0x8000_0000_0000_0000 | seq << 16 | part
            data = self._clean(bytes(event.data)) if clean else bytes(event.data)
            guild_id, channel_id, user_id = event.guild_id, event.channel_id, event.user_id
            occurred = (ts - POSTGRES_EPOCH_MS) * 1000
            if guild_id.__class__ is channel_id.__class__ is user_id.__class__ is int:
                head = whole(_FIELDS, 8, occurred, 8, guild_id, 8, channel_id, 8, user_id, 8, position, 8, seq,
                             16, high, low, 4, part, 4, partition, len(data) + 1, 1)  # fmt: skip
            else:
                tail = (8, position, 8, seq, 16, high, low, 4, part, 4, partition, len(data) + 1, 1)
                head = _head(occurred, (guild_id, channel_id, user_id), tail)
            append(head + data + suffix)

    def _clean(self, data: bytes) -> bytes:
        if not self._careful and data.isascii() and b"\\u" not in data:
            return data
        cleaned = clean_json(data)
        self.cleaned += cleaned != data
        return cleaned


def _head(occurred_us: int, ids: Iterable[int | str | None], tail: Iterable[int]) -> bytes:
    """The fields up to ``data``'s length where an id is absent or came as text."""
    nullable = [_NULL if value is None else _INT8.pack(8, snowflake(value)) for value in ids]
    return b"".join((_BEFORE_IDS.pack(_FIELDS, 8, occurred_us), *nullable, _AFTER_IDS.pack(*tail)))


_SourceKey = tuple[str, str, int | None, bool]
_sources: dict[_SourceKey, _Source] = {}


def _source(key: _SourceKey) -> _Source:
    """Make and remember what rows of a session, type, shard and ``replayed`` share."""
    session, type_name, shard, replayed = key
    digest = session_digest(session)
    shard_field = _NULL if shard is None else _INT4.pack(4, shard)
    suffix = shard_field + b"\0\0\0\x01" + bytes([replayed]) + text_field(type_name) + text_field(session)
    if len(_sources) >= _MAX_SOURCES:
        _sources.clear()
    _sources[key] = source = (suffix, _UUID.unpack(uuid_from(digest, 0, 0))[0], digest)
    return source


def clean_json(data: bytes) -> bytes:
    """JSON that ``jsonb`` accepts: NUL and lone surrogates become U+FFFD, endless numbers null.

    What can't be read at all becomes an empty object; the event keeps its row either way.
    """
    try:
        parsed = json.loads(data.decode("utf-8", "replace"), parse_int=_integer, parse_float=_float, strict=False)
        return json.dumps(_cleaned(parsed), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except (ValueError, RecursionError):
        return b"{}"


def _integer(digits: str) -> int | None:
    return int(digits) if len(digits) <= _MAX_FLOAT_DIGITS else None


def _float(digits: str) -> float | None:
    value = float(digits)
    return value if math.isfinite(value) else None


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {_cleaned(key): _cleaned(item) for key, item in value.items()}
    return [_cleaned(item) for item in value] if isinstance(value, list) else value
