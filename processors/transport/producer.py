"""Faust's producer over Redis Streams: at least once, outside the atomic commit.

What must be exactly once goes through ``Partition.send``, which is part of the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, cast

from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, RecordMetadata

from guildstream.connections import connect_redis_async
from processors.transport.partition import PartitionNames

if TYPE_CHECKING:
    from processors.transport.driver import Transport

__all__ = ["Producer"]


class Producer(FaustProducer):
    """Appends to the stream of a topic and partition; a key decides the partition."""

    def on_init(self) -> None:
        """Faust: called at the end of construction."""
        options = self._driver.options
        self._client = connect_redis_async(options.redis_url, name=f"{options.prefix}-producer")

    @property
    def _driver(self) -> Transport:
        return cast("Transport", self.transport)

    async def send(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> Awaitable[RecordMetadata]:
        """Append one message.

        Raises:
            redis.RedisError: Redis can't be reached; the message may or may not have been appended.
        """
        metadata = await self.send_and_wait(topic, key, value, partition, timestamp, headers)
        future: asyncio.Future[RecordMetadata] = asyncio.get_running_loop().create_future()
        future.set_result(metadata)
        return future

    async def send_and_wait(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int | None,
        timestamp: float | None,
        headers: Any,
        *,
        transactional_id: str | None = None,
    ) -> RecordMetadata:
        """Append one message and wait for Redis to acknowledge it."""
        number = self._driver.partition_of_key(key) if partition is None else partition
        names = PartitionNames(f"{{{self._driver.options.prefix}:{number}}}")
        entry_id = cast("bytes", await self._client.xadd(names.stream(topic), {b"e": value or b""}))
        ms = int(entry_id.partition(b"-")[0])
        return RecordMetadata(topic, number, TP(topic, number), offset=0, timestamp=ms / 1000, timestamp_type=0)

    async def flush(self) -> None:
        """Wait until everything buffered is sent."""
        await self.buffer.flush()

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Streams come into being with their first entry."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Which partition a key goes to."""
        return TP(topic, self._driver.partition_of_key(key))

    def supports_headers(self) -> bool:
        """Entries carry a value only."""
        return False

    async def on_stop(self) -> None:
        """Faust: the service stops."""
        await self.flush()
        await self._client.aclose()

    async def commit_transactions(
        self,
        tid_to_offset_map: Mapping[str, Mapping[TP, int]],
        group_id: str,
        start_new_transaction: bool = True,
    ) -> None:
        """Faust's transactions are for Kafka; the commit here is atomic without them."""
