"""The committed position of a partition: read at hand-over, moved by each commit."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, cast

import redis.asyncio

from guildstream.errors import StreamDamaged
from processors.transport.options import TransportOptions
from processors.transport.partition import Operation, PartitionNames

__all__ = ["DAMAGED", "Position", "check_streams", "read_positions", "stream_order"]

#: What a stream without its last committed entry means.
DAMAGED: Final = (
    "{stream} does not hold {entry_id}, its last committed entry: the stream was deleted or trimmed behind our "
    "back, or Redis came back without its tail. Entries that were not processed may be gone; see "
    "docs/transport.md, «A damaged stream»"
)


@dataclass(slots=True)
class Position:
    """Where one topic of a partition stands.

    Attributes:
        last_id: last entry, inclusive; ``0-0`` before the first.
        entries: entries so far.
        payloads: payloads so far; the position of the next one.
    """

    last_id: str = "0-0"
    entries: int = 0
    payloads: int = 0

    def copy(self) -> Position:
        """The same position, apart."""
        return Position(self.last_id, self.entries, self.payloads)

    def operation(self, names: PartitionNames, options: TransportOptions, topic: str) -> Operation:
        """The write that commits this position."""
        values = {"last_id": self.last_id, "entries": self.entries, "positions": self.payloads}
        args: list[bytes] = []
        for name, value in values.items():
            args += (options.offset_field(name, topic).encode(), str(value).encode())
        return Operation("HSET", names.key("offset"), args)


def stream_order(stream_id: str) -> tuple[int, int]:
    """A stream id as numbers that compare."""
    ms, _, sequence = stream_id.partition("-")
    return int(ms), int(sequence or 0)


async def read_positions(
    client: redis.asyncio.Redis, names: PartitionNames, options: TransportOptions, topics: list[str]
) -> tuple[int, dict[str, Position]]:
    """The commit number and positions of a partition's topics.

    Raises:
        StreamDamaged: a stream no longer holds its last committed entry.
        redis.RedisError: Redis can't be reached.
    """
    found = cast("dict[bytes, bytes]", await client.hgetall(names.key("offset")))
    positions = {}
    for topic in topics:
        last_id = found.get(options.offset_field("last_id", topic).encode(), b"0-0").decode()
        positions[topic] = Position(
            last_id=last_id,
            entries=int(found.get(options.offset_field("entries", topic).encode(), 0)),
            payloads=int(found.get(options.offset_field("positions", topic).encode(), 0)),
        )
    await check_streams(client, {names.stream(topic): found.last_id for topic, found in positions.items()})
    for topic, position in positions.items():
        await _ensure_group(client, names.stream(topic), options.group, position.last_id)
    return int(found.get(b"commit", 0)), positions


async def check_streams(client: redis.asyncio.Redis, committed: Mapping[str, str]) -> None:
    """See that streams still hold what was committed of them.

    Nothing but the transport trims its streams, and it keeps the last committed entry: a stream without
    it was deleted, trimmed by somebody else, or lost its tail. Ids alone don't show it, since those of a
    stream that begins anew are higher.

    Args:
        client: a connection.
        committed: stream to the id of its last committed entry, ``0-0`` for none.

    Raises:
        StreamDamaged: one doesn't; the message says which and what to do.
        redis.RedisError: Redis can't be reached.
    """
    expected = {stream: last_id for stream, last_id in committed.items() if last_id != "0-0"}
    if not expected:
        return
    pipe = client.pipeline(transaction=False)
    for stream, last_id in expected.items():
        pipe.xrange(stream, last_id, last_id, 1)
    for (stream, last_id), found in zip(expected.items(), await pipe.execute(), strict=True):
        if not found:
            msg = DAMAGED.format(stream=stream, entry_id=last_id)
            raise StreamDamaged(msg)


async def _ensure_group(client: redis.asyncio.Redis, stream: str, group: str, last_id: str) -> None:
    try:
        await client.xgroup_create(stream, group, id=last_id, mkstream=True)
    except redis.ResponseError as error:
        if "BUSYGROUP" not in str(error):
            raise
