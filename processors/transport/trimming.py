"""Keeps streams bounded, and notices those that somebody else has cut or deleted."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis.asyncio
from redis.exceptions import RedisError

from guildstream import metrics
from guildstream.errors import StreamDamaged
from processors.transport.cutter import TopicCursor
from processors.transport.lane import Lane
from processors.transport.offsets import check_streams, stream_order

__all__ = ["Trimmer"]

logger = logging.getLogger("guildstream.transport")


class Trimmer:
    """Trims the streams of owned partitions below their slowest consumer.

    Consumers register in the partition's hash ``consumers`` with the id of the last entry that they are
    done with; this worker's own committed position always counts. The last committed entry stays: a
    stream that doesn't hold it is not the stream that was read.

    Args:
        client: a connection.
        lanes: the owned partitions that are loaded.
        seconds: how often.
    """

    def __init__(self, client: redis.asyncio.Redis, lanes: Callable[[], Iterable[Lane]], seconds: float) -> None:
        self._client = client
        self._lanes = lanes
        self._seconds = seconds

    async def run(self) -> None:
        """Look and trim now and then, until cancelled. A Redis that is away is left for the next turn.

        Raises:
            StreamDamaged: a stream no longer holds its last committed entry.
        """
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self._look()
                await self._measure()
                await self._trim()
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
        for (number, topic), found in zip(topics, await pipe.execute(), strict=True):
            lags[number] += _lag(topic, found)
        for number, lag in lags.items():
            metrics.LAG_ENTRIES.labels(str(number)).set(lag)

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
                    pipe.xtrim(topic.buffer.key, minid=slowest, approximate=True)
        await pipe.execute()


def _lag(topic: TopicCursor, found: Mapping[str, Any]) -> int:
    added = found.get("entries-added")
    if added is None:
        return len(topic.buffer.entries) + topic.read.entries - topic.committed.entries
    return max(0, int(added) - topic.committed.entries)
