"""Keeps streams bounded, and notices those that somebody else has cut or deleted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import redis.asyncio
from redis.exceptions import RedisError

from guildstream import metrics
from guildstream.clock import SYSTEM_CLOCK
from guildstream.errors import StreamDamaged
from processors.transport.cutter import TopicCursor
from processors.transport.lane import Lane
from processors.transport.offsets import check_streams, stream_order
from processors.transport.options import TransportOptions

__all__ = ["Trimmer"]

logger = logging.getLogger("guildstream.transport")

#: How often what changes slowly is looked at.
_SELDOM_SECONDS: Final = 60.0


class Trimmer:
    """Trims the streams of owned partitions below their slowest consumer.

    Consumers register in the partition's hash ``consumers`` with the id of the last entry that they are
    done with; this worker's own committed position always counts. The last committed entry stays: a
    stream that doesn't hold it is not the stream that was read.

    Args:
        client: a connection.
        lanes: the owned partitions that are loaded.
        options: how often, what stays, and for how long.
    """

    def __init__(
        self, client: redis.asyncio.Redis, lanes: Callable[[], Iterable[Lane]], options: TransportOptions
    ) -> None:
        self._client = client
        self._lanes = lanes
        self._options = options

    async def run(self) -> None:
        """Look and trim now and then, until cancelled. A Redis that is away is left for the next turn.

        Raises:
            StreamDamaged: a stream no longer holds its last committed entry.
        """
        seldom_at = 0.0
        while True:
            await asyncio.sleep(self._options.trim_seconds)
            try:
                await self._look()
                await self._measure()
                await self._trim()
                if SYSTEM_CLOCK.monotonic() >= seldom_at and self._lanes():
                    seldom_at = SYSTEM_CLOCK.monotonic() + _SELDOM_SECONDS
                    await self._retain()
                    await self._weigh()
            except (RedisError, OSError) as error:
                logger.warning("streams could not be trimmed: %s", error)

    async def _look(self) -> None:
        """Raise for a damaged stream; once more before that, since a partition may just have moved away."""
        try:
            await check_streams(self._client, self._committed())
        except StreamDamaged:
            await check_streams(self._client, self._committed())

    def _committed(self) -> dict[str, str]:
        return {topic.buffer.key: topic.durable_id for lane in self._lanes() for topic in lane.topics.values()}

    async def _measure(self) -> None:
        """How far each partition is behind: exact on Redis 7, before that at least what was read ahead."""
        lanes = list(self._lanes())
        topics = [(lane.number, topic) for lane in lanes for topic in lane.topics.values()]
        if not topics:
            return
        pipe = self._client.pipeline(transaction=False)
        for _, topic in topics:
            pipe.xinfo_stream(topic.buffer.key)
        lags: Counter[int] = Counter()
        seconds: dict[int, float] = {}
        now_ms = SYSTEM_CLOCK.now_ms()
        for (number, topic), found in zip(topics, await pipe.execute(), strict=True):
            lags[number] += _lag(topic, found)
            seconds[number] = max(seconds.get(number, 0.0), _seconds_behind(topic, now_ms))
        for number, lag in lags.items():
            metrics.LAG_ENTRIES.labels(str(number)).set(lag)
            metrics.LAG_SECONDS.labels(str(number)).set(seconds[number])
        tables = (table for lane in lanes for table in lane.partition.tables.values())
        metrics.STATE_CACHE_BYTES.set(sum(table.cached_bytes for table in tables))

    async def _trim(self) -> None:
        lanes = list(self._lanes())
        if not lanes:
            return
        pipe = self._client.pipeline(transaction=False)
        for lane in lanes:
            pipe.hvals(lane.partition.names.key("consumers"))
        consumers = await pipe.execute()
        pipe = self._client.pipeline(transaction=False)
        for lane, done in zip(lanes, consumers, strict=True):
            for topic in lane.topics.values():
                # Only the primary topic has other readers; their positions are ids of its stream.
                others = [value.decode() for value in done] if topic.shared else []
                slowest = min([topic.durable_id, *others], key=stream_order)
                if slowest != "0-0":
                    pipe.xtrim(topic.buffer.key, minid=self._horizon(slowest), approximate=True)
        await pipe.execute()

    def _horizon(self, slowest: str) -> str:
        """The first entry to be kept: so much older than the slowest consumer's last one."""
        if not self._options.keep_seconds:
            return slowest
        return f"{max(0, stream_order(slowest)[0] - int(self._options.keep_seconds * 1000))}-0"

    async def _retain(self) -> None:
        """Forget what is too old in streams that nobody is registered for."""
        oldest_ms = SYSTEM_CLOCK.now_ms() - int(self._options.retain_seconds * 1000)
        pipe = self._client.pipeline(transaction=False)
        for lane in self._lanes():
            for name in self._options.retain_streams.split():
                pipe.xtrim(lane.partition.names.key(name), minid=f"{oldest_ms}-0", approximate=False)
        await pipe.execute()

    async def _weigh(self) -> None:
        """Have Redis estimate the memory of keyed state."""
        lanes = list(self._lanes())
        hashes = [(lane.number, lane.partition.names.state(name)) for lane in lanes for name in lane.partition.tables]
        pipe = self._client.pipeline(transaction=False)
        for _, key in hashes:
            pipe.memory_usage(key)
        sizes: Counter[int] = Counter()
        for (number, _), size in zip(hashes, await pipe.execute(), strict=True):
            sizes[number] += size or 0
        for number, size in sizes.items():
            metrics.STATE_BYTES.labels(str(number)).set(size)


def _seconds_behind(topic: TopicCursor, now_ms: int) -> float:
    """Age of what is being processed, else of what waits first; at most a commit interval less than the true lag."""
    waiting = topic.buffer.entries
    if topic.read.last_id != topic.committed.last_id:
        oldest_ms = stream_order(topic.read.last_id)[0]
    elif waiting:
        oldest_ms = stream_order(waiting[0].id)[0]
    else:
        return 0.0
    return max(0, now_ms - oldest_ms) / 1000


def _lag(topic: TopicCursor, found: Mapping[str, Any]) -> int:
    added = found.get("entries-added")
    if added is None:
        return len(topic.buffer.entries) + topic.read.entries - topic.committed.entries
    return max(0, int(added) - topic.committed.entries)
