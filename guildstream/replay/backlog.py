"""How far the pipeline has come, and how much of what a replay wrote it has not consumed yet."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

import redis

from guildstream.keys import Keys
from guildstream.replay.writer import StreamId, Written, parse_id

__all__ = ["Backlog", "PartitionProgress", "read_progress", "redis_is_full"]

#: Part of Redis' own memory limit beyond which a replay waits.
_HIGH_WATER: Final = 0.8


@dataclass(frozen=True, slots=True)
class PartitionProgress:
    """How far a partition has come.

    Attributes:
        committed: the last entry that the processor has committed.
        loaded: the last entry whose results the sink has loaded; None where no sink ever ran.
        positions: events committed, heartbeats included, since the beginning.
    """

    committed: StreamId
    loaded: StreamId | None
    positions: int

    @property
    def consumed(self) -> StreamId:
        """The last entry that nobody needs any more."""
        return self.committed if self.loaded is None else min(self.committed, self.loaded)


def read_progress(client: redis.Redis, keys: Keys, partitions: Iterable[int]) -> dict[int, PartitionProgress]:
    """Ask Redis in one round trip how far partitions have come."""
    partitions = list(partitions)
    pipe = client.pipeline(transaction=False)
    for partition in partitions:
        names = keys.partition(partition)
        pipe.hmget(names.offset, ["last_id", "positions"])
        pipe.hget(names.consumers, "sink")
    replies = pipe.execute()
    return {
        partition: PartitionProgress(
            committed=parse_id(offset[0]),
            loaded=None if sink is None else parse_id(sink),
            positions=int(offset[1] or 0),
        )
        for partition, offset, sink in zip(partitions, replies[::2], replies[1::2], strict=True)
    }


def redis_is_full(client: redis.Redis) -> bool:
    """Whether Redis is near the memory limit that it was given; without a limit it never is."""
    memory = client.info("memory")
    limit = int(memory.get("maxmemory", 0))
    return limit > 0 and int(memory["used_memory"]) > limit * _HIGH_WATER


class Backlog:
    """Bytes that were written and that the pipeline has not consumed.

    Attributes:
        size_bytes: how many.
    """

    def __init__(self) -> None:
        self.size_bytes = 0
        self._waiting: dict[int, deque[Written]] = {}
        self._last: dict[int, StreamId] = {}

    @property
    def targets(self) -> dict[int, StreamId]:
        """The last entry written to each partition."""
        return dict(self._last)

    def add(self, written: Iterable[Written]) -> None:
        """Note what was written."""
        for batch in written:
            self._waiting.setdefault(batch.partition, deque()).append(batch)
            self._last[batch.partition] = batch.last_id
            self.size_bytes += batch.size_bytes

    def consume(self, progress: dict[int, PartitionProgress]) -> None:
        """Forget what was consumed."""
        for partition, waiting in self._waiting.items():
            consumed = progress[partition].consumed
            while waiting and waiting[0].last_id <= consumed:
                self.size_bytes -= waiting.popleft().size_bytes
