"""Reads streams ahead of their partitions: one connection, one blocking XREAD for all of them.

On a Cluster a blocking read serves one slot, and holds its connection: there each partition has its own.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, TypeAlias, cast

import orjson
import redis.asyncio
from redis.exceptions import RedisError

from guildstream.cluster import AsyncClusterRedis, slot_of
from guildstream.codec import MAX_ENTRY_BYTES, entry_payloads
from guildstream.errors import InvalidEvent
from processors.transport.backoff import Backoff

__all__ = ["ReadEntry", "StreamBuffer", "StreamReader", "decode_headers", "encode_headers", "read_entry"]

logger = logging.getLogger("guildstream.transport")

_Fields: TypeAlias = dict[bytes, bytes]
_Reply: TypeAlias = list[tuple[bytes, list[tuple[bytes, _Fields]]]]

#: Short, since what comes into a partition just taken over is seen when this one returns.
_BLOCK_MS: Final = 250
#: On a Cluster no partition joins another's read; what is done for each of them is done less often.
_BLOCK_APART_MS: Final = 1_000
#: How much one XREAD may bring of one stream, by what its entries weighed so far.
_READ_BYTES: Final = 768 * 1024
_READ_ENTRIES: Final = 1_000


@dataclass(slots=True)
class ReadEntry:
    """An entry as it was read.

    Attributes:
        id: stream id.
        payload: one payload, or several separated by newlines.
        packed: which of the two.
        count: payloads in it. An entry that can't be read counts as one.
        error: why the whole entry can't be read, or None.
        taken: payloads already handed out, where a poisonous event is being searched for one by one.
        key: the message's key, from field ``k``.
        headers: the message's headers, from field ``h``.
        requeued: the id of the dead letter that comes again by this entry, from field ``r``.
        origin: where that came from at first, from field ``o``.
    """

    id: str
    payload: bytes
    packed: bool
    count: int
    error: InvalidEvent | None = None
    taken: int = 0
    key: bytes | None = None
    headers: dict[str, bytes] | None = None
    requeued: str | None = None
    origin: bytes | None = None
    _lines: list[bytes] | None = None

    def payloads(self) -> list[bytes]:
        """Each payload by itself."""
        if self._lines is None:
            self._lines = self.payload.split(b"\n") if self.packed else [self.payload]
        return self._lines


def encode_headers(headers: Mapping[str, bytes]) -> bytes:
    """Message headers as field ``h`` carries them: hexadecimal, so that any bytes pass."""
    return orjson.dumps({name: value.hex() for name, value in headers.items()})


def decode_headers(raw: bytes | None) -> dict[str, bytes] | None:
    """The same back.

    Raises:
        InvalidEvent: the field can't be read.
    """
    if raw is None:
        return None
    try:
        return {str(name): bytes.fromhex(value) for name, value in orjson.loads(raw).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise InvalidEvent("bad_headers", f"field h is not an object of hexadecimal strings: {error}") from error


def read_entry(entry_id: bytes, fields: dict[bytes, bytes]) -> ReadEntry:
    """Unwrap an entry's fields."""
    try:
        payload, packed = entry_payloads(fields)
        key, headers = fields.get(b"k"), decode_headers(fields.get(b"h"))
    except InvalidEvent as error:
        raw = b" ".join(fields.values())[:MAX_ENTRY_BYTES]
        return ReadEntry(entry_id.decode(), raw, packed=False, count=1, error=error, origin=fields.get(b"o"))
    if not packed:
        entry = ReadEntry(entry_id.decode(), payload, packed=False, count=1, key=key, headers=headers)
        if b"r" in fields:
            entry.requeued, entry.origin = fields[b"r"].decode(errors="replace"), fields.get(b"o")
        return entry
    if payload.endswith(b"\n"):
        payload = payload[:-1]
    return ReadEntry(entry_id.decode(), payload, packed=True, count=payload.count(b"\n") + 1)


@dataclass(slots=True, eq=False)
class StreamBuffer:
    """Entries of one stream, read ahead.

    Attributes:
        key: the stream.
        read_id: the last entry read; the next XREAD goes on behind it.
        limit_bytes: no more is read while this much is waiting.
        arrived: set when entries come.
        doubted: the server was away, or another one has taken its place: what was acknowledged may be gone.
    """

    key: str
    read_id: str
    limit_bytes: int
    arrived: asyncio.Event
    doubted: bool = False
    entries: deque[ReadEntry] = field(default_factory=deque)
    size: int = 0
    generation: int = 0
    entry_bytes: float = 8192.0

    def seek(self, after_id: str) -> None:
        """Forget what was read and go on behind ``after_id``."""
        self.entries.clear()
        self.size = 0
        self.read_id = after_id
        self.generation += 1

    def doubt(self) -> None:
        """Have it checked whether Redis still holds what was acknowledged."""
        self.doubted = True
        self.arrived.set()

    @property
    def wanted(self) -> int:
        """How many entries to ask for, 0 for none."""
        if self.size >= self.limit_bytes:
            return 0
        return max(1, min(_READ_ENTRIES, int(_READ_BYTES / self.entry_bytes)))

    def pop(self) -> ReadEntry:
        """The oldest entry."""
        entry = self.entries.popleft()
        self.size -= len(entry.payload)
        return entry

    def extend(self, entries: list[tuple[bytes, dict[bytes, bytes]]]) -> None:
        """Take what Redis answered."""
        total = 0
        for entry_id, fields in entries:
            entry = read_entry(entry_id, fields)
            self.entries.append(entry)
            total += len(entry.payload) + 64
        self.size += total - 64 * len(entries)
        self.read_id = entries[-1][0].decode()
        self.entry_bytes += (total / len(entries) - self.entry_bytes) * 0.3
        self.arrived.set()


@dataclass(slots=True, eq=False)
class _Group:
    """Streams that one XREAD reads.

    Attributes:
        buffers: by stream.
        changed: set when a buffer comes, moves or has room.
        node: who was asked last.
        asked: for which streams.
        healthy: whether it answered.
    """

    buffers: dict[str, StreamBuffer] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    node: redis.asyncio.Redis | None = None
    asked: frozenset[str] = frozenset()
    healthy: bool = True


class StreamReader:
    """Keeps the buffers of all owned partitions filled.

    Streams with room are read by one blocking XREAD, on a Cluster by one for each slot. A connection that
    breaks is opened anew with jittered backoff; nothing is lost by it, since reading never moves an offset.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._groups: dict[int, _Group] = {}
        self._opened: asyncio.Queue[_Group] = asyncio.Queue()
        self._closing = False

    @property
    def healthy(self) -> bool:
        """Whether all that is read is answered."""
        return all(group.healthy for group in self._groups.values() if group.buffers)

    def close(self) -> None:
        """Read no more; a connection that closes from now on is no failure."""
        self._closing = True
        for group in self._groups.values():
            group.changed.set()

    def add(self, buffer: StreamBuffer) -> None:
        """Start to read a stream."""
        group = self._group(buffer.key)
        group.buffers[buffer.key] = buffer
        group.changed.set()

    def remove(self, buffer: StreamBuffer) -> None:
        """Stop to read it."""
        group = self._group(buffer.key)
        if group.buffers.get(buffer.key) is buffer:
            del group.buffers[buffer.key]

    async def restart(self, client: redis.asyncio.Redis, buffer: StreamBuffer, after_id: str) -> None:
        """Read a stream from another place on; its first entries are there on return.

        Args:
            client: whose connections are not the one that blocks.
            buffer: to be emptied and filled.
            after_id: the last entry not to be read again.

        Raises:
            redis.RedisError: Redis can't be reached; the stream is not read.
        """
        # Out of the blocking read meanwhile, or entries would come twice.
        self.remove(buffer)
        buffer.seek(after_id)
        reply = cast("_Reply", await client.xread({buffer.key: after_id}, count=buffer.wanted))
        for _, entries in reply:
            buffer.extend(entries)
        self.add(buffer)

    def room(self, buffer: StreamBuffer) -> None:
        """Say that a buffer was emptied or moved."""
        self._group(buffer.key).changed.set()

    async def run(self) -> None:
        """Read until cancelled or closed."""
        async with asyncio.TaskGroup() as reading:
            while not self._closing:
                reading.create_task(self._follow(await self._opened.get()))

    def _group(self, key: str) -> _Group:
        number = slot_of(key) if isinstance(self._client, AsyncClusterRedis) else 0
        group = self._groups.get(number)
        if group is None:
            group = self._groups[number] = _Group()
            self._opened.put_nowait(group)
        return group

    async def _follow(self, group: _Group) -> None:
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while not self._closing:
            try:
                await self._read_once(group)
            except (RedisError, OSError) as error:
                if self._closing:
                    return
                group.healthy = False
                delay = backoff.next_seconds()
                logger.warning("reading from Redis failed, trying again in %.2f s: %s", delay, error)
                await asyncio.sleep(delay)
            else:
                self._look_for_changes(group)
                backoff.reset()

    def _look_for_changes(self, group: _Group) -> None:
        """After an answer: have the lanes look whether it is still the Redis that they know."""
        node = self._client
        if isinstance(node, AsyncClusterRedis) and group.buffers:
            node = node.known_node(next(iter(group.buffers)))
        if not group.healthy or (group.node is not None and group.node is not node):
            for buffer in group.buffers.values():
                buffer.doubt()
        group.node, group.healthy = node, True

    async def _read_once(self, group: _Group) -> None:
        asked = [(buffer, buffer.generation, wanted) for buffer in group.buffers.values() if (wanted := buffer.wanted)]
        if not asked:
            group.changed.clear()
            await group.changed.wait()
            return
        # One COUNT serves all streams: the smallest keeps the reply within bounds.
        count = min(wanted for _, _, wanted in asked)
        streams: dict[str | bytes | memoryview, str | int | bytes | memoryview] = {
            buffer.key: buffer.read_id for buffer, _, _ in asked
        }
        reply = cast("_Reply", await self._client.xread(streams, count=count, block=self._block_ms(group, len(asked))))
        if not reply:
            return
        by_key = {buffer.key: (buffer, generation) for buffer, generation, _ in asked}
        for key, entries in reply:
            buffer, generation = by_key[key.decode()]
            if entries and buffer.generation == generation:
                buffer.extend(entries)

    def _block_ms(self, group: _Group, asked: int) -> int:
        if asked < len(group.buffers):
            return 20
        if not isinstance(self._client, AsyncClusterRedis):
            return _BLOCK_MS
        before, group.asked = group.asked, frozenset(group.buffers)
        return _BLOCK_APART_MS if before == group.asked else _BLOCK_MS
