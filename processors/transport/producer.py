"""Faust's producer over Redis Streams.

A message that an agent sends to its own partition of a topic becomes part of that partition's commit:
exactly once, and taken back with a rollback. Any other message is appended at once, outside the commit:
at least once, since the chunk that sent it may be processed again. Its header ``gs-from`` names the
message that it was sent for, to deduplicate by.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from faust.transport.producer import Producer as FaustProducer
from faust.types import TP, RecordMetadata

from guildstream.clock import SYSTEM_CLOCK
from guildstream.connections import connect_redis_async
from processors.transport.partition import Partition, PartitionNames
from processors.transport.reader import encode_headers
from processors.transport.streams import current_messages, current_origin, current_partition

if TYPE_CHECKING:
    from processors.transport.driver import Transport

__all__ = ["ORIGIN_HEADER", "Producer"]

#: Names the payload that a message was sent for: partition, topic, position and number of the message.
ORIGIN_HEADER: Final = "gs-from"


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
        """Append one message: with the commit where it stays in the agent's partition, else now.

        Without a key and a partition, a message of an agent stays in the agent's partition.

        Raises:
            redis.RedisError: Redis can't be reached; the message may or may not have been appended.
            NoPartition: the sending agent's partition was lost meanwhile.
        """
        here = _current()
        if partition is None:
            partition = here.number if here is not None and key is None else self._driver.partition_of_key(key)
        names = PartitionNames(f"{{{self._driver.options.prefix}:{partition}}}")
        sent = dict(headers or {})
        if here is not None and here.number == partition:
            here.send(topic, _fields(key, value, sent))
            ms = SYSTEM_CLOCK.now_ms()
        else:
            origin = current_origin()
            if origin is not None:
                sent.setdefault(ORIGIN_HEADER, origin)
            entry_id = cast(
                "bytes", await self._client.xadd(names.stream(topic), cast("Any", _fields(key, value, sent)))
            )
            ms = int(entry_id.partition(b"-")[0])
        return RecordMetadata(topic, partition, TP(topic, partition), offset=0, timestamp=ms / 1000, timestamp_type=0)

    async def flush(self) -> None:
        """Wait until everything buffered is sent."""
        await self.buffer.flush()

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Streams come into being with their first entry."""

    def key_partition(self, topic: str, key: bytes) -> TP:
        """Which partition a key goes to."""
        return TP(topic, self._driver.partition_of_key(key))

    def supports_headers(self) -> bool:
        """Entries carry headers in field ``h``."""
        return True

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


def _current() -> Partition | None:
    """The partition of the sending agent, None outside agents.

    Raises:
        NoPartition: the agent's partition was lost meanwhile; what it sends now is no longer its to send.
    """
    return current_partition() if current_messages() else None


def _fields(key: bytes | None, value: bytes | None, headers: Mapping[str, bytes]) -> dict[bytes, bytes]:
    fields = {b"e": value or b""}
    if key is not None:
        fields[b"k"] = key
    if headers:
        fields[b"h"] = encode_headers(headers)
    return fields
