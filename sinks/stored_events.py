"""Accepted events, read back from the entries that a results entry covers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import msgspec
from msgspec import Raw, Struct

from guildstream.codec import entry_payloads, split_packed
from guildstream.errors import InvalidEvent, StreamDamaged

__all__ = ["Entry", "StoredEvent", "accepted_runs"]

Entry = tuple[bytes, Mapping[bytes, bytes]]


class StoredEvent(Struct, gc=False, kw_only=True):
    """An event that the processor has accepted; nothing is checked a second time, ``data`` stays as it came."""

    type: str
    ts: int
    session: str
    seq: int = -1
    part: int = 0
    guild_id: int | str | None = None
    channel_id: int | str | None = None
    user_id: int | str | None = None
    shard: int | None = None
    replayed: bool = False
    data: Raw = Raw(b"{}")


_decoder: Final = msgspec.json.Decoder(StoredEvent)
#: JSON that ``jsonb`` refuses contains this, or isn't UTF-8. (The decoder has refused lone surrogates.)
_NUL: Final = b"\\u0000"


def accepted_runs(
    partition: int, entries: Iterable[Entry], positions: int, dropped: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, list[StoredEvent], bool]]:
    """The accepted events of a range of entries, in runs of neighbours.

    Args:
        partition: named in errors.
        entries: all entries of the range, in order.
        positions: how many payloads the processor found in the range.
        dropped: half-open ranges of positions in it that the processor did not accept; sorted, disjoint.

    Yields:
        Position of the first event relative to the range, the events, and whether their ``data`` may hold
        what PostgreSQL's ``jsonb`` refuses.

    Raises:
        StreamDamaged: the entries don't hold what the processor found in them.
    """
    position = 0
    index = 0
    for entry_id, fields in entries:
        payload, count = _payload(fields)
        end = position + count
        while index < len(dropped) and dropped[index][1] <= position:
            index += 1
        whole = index == len(dropped) or dropped[index][0] >= end
        try:
            yield from _runs(payload, position, count, () if whole else dropped[index:])
        except msgspec.MsgspecError as error:
            raise StreamDamaged(
                f"partition {partition}: entry {entry_id.decode()} is not what the processor accepted: {error}"
            ) from error
        position = end
    if position != positions:
        raise StreamDamaged(
            f"partition {partition}: results cover {positions} events, but the entries of their range hold {position}: "
            "raw events were trimmed or deleted before the sink had read them. Restore the Redis data that was lost, "
            "or set GUILDSTREAM_STORE_EVENTS=false to go on without raw events"
        )


def _payload(fields: Mapping[bytes, bytes]) -> tuple[bytes, int]:
    """An entry's JSON and how many positions it takes."""
    try:
        payload, packed = entry_payloads(fields)
    except InvalidEvent:
        return b"", 1
    if not packed:
        return payload, 1
    return payload, payload.count(b"\n") + (not payload.endswith(b"\n") or payload == b"\n")


def _runs(
    payload: bytes, position: int, count: int, dropped: Sequence[tuple[int, int]]
) -> Iterator[tuple[int, list[StoredEvent], bool]]:
    if not dropped:
        events = _decoder.decode_lines(payload) if count > 1 else [_decoder.decode(payload)]
        if len(events) == count:
            yield position, events, _is_suspicious(payload)
            return
    if dropped and dropped[0][0] <= position and dropped[0][1] >= position + count:
        return
    suspicious = _is_suspicious(payload)
    for at, line in enumerate(split_packed(payload) if count > 1 else [payload], position):
        if not any(begin <= at < end for begin, end in dropped):
            yield at, [_decoder.decode(line)], suspicious


def _is_suspicious(payload: bytes) -> bool:
    # Looking for one byte is many times faster than for several, and most entries have no escape at all.
    if b"\\" in payload and _NUL in payload:
        return True
    if payload.isascii():
        return False
    try:
        payload.decode()
    except UnicodeDecodeError:
        return True
    return False
