"""Keeps streams bounded: entries go once every registered consumer is past them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

import redis.asyncio
from redis.exceptions import RedisError

from processors.transport.lane import Lane
from processors.transport.offsets import stream_order

__all__ = ["Trimmer"]

logger = logging.getLogger("guildstream.transport")


class Trimmer:
    """Trims the streams of owned partitions below their slowest consumer.

    Consumers register in the partition's hash ``consumers`` with the id of the last entry that they are
    done with; this worker's own committed position always counts.
    """

    def __init__(self, client: redis.asyncio.Redis, lanes: Callable[[], Iterable[Lane]], seconds: float) -> None:
        self._client = client
        self._lanes = lanes
        self._seconds = seconds

    async def run(self) -> None:
        """Trim now and then, until cancelled. A Redis that is away is left for the next turn."""
        while True:
            await asyncio.sleep(self._seconds)
            try:
                await self._trim()
            except (RedisError, OSError) as error:
                logger.warning("streams could not be trimmed: %s", error)

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
                ids = [topic.durable_id, *(value.decode() for value in done)]
                slowest = min(ids, key=stream_order)
                if slowest != "0-0":
                    pipe.xtrim(topic.buffer.key, minid=slowest, approximate=True)
        await pipe.execute()
