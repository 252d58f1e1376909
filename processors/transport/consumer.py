"""Faust's consumer over Redis Streams: owns partitions, feeds agents in lock-step, commits atomically."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import redis.asyncio
from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage, Message
from mode import Service
from redis.exceptions import RedisError, ResponseError

from guildstream.clock import SYSTEM_CLOCK
from guildstream.connections import connect_redis_async
from guildstream.deployment import ensure_deployment_async
from guildstream.errors import ConfigError, StreamDamaged
from guildstream.keys import Keys
from processors.transport.agents import check_app, watch_agents
from processors.transport.backoff import Backoff
from processors.transport.chunk import Chunk
from processors.transport.committer import Committer
from processors.transport.delivery import Delivery
from processors.transport.faust_index import add_partition, remove_partition
from processors.transport.lane import Lane, LaneServices
from processors.transport.ownership import LeaseKeeper, LeaseListener
from processors.transport.reader import StreamReader
from processors.transport.roster import Roster
from processors.transport.scripts import COMMIT
from processors.transport.topics import ChunkedTopic
from processors.transport.trimming import Trimmer

if TYPE_CHECKING:
    from processors.transport.driver import Transport

__all__ = ["Consumer"]

logger = logging.getLogger("guildstream.transport")


class Consumer(FaustConsumer):
    """Consumes every topic of the app, partition by partition.

    Partitions come and go by leases, without Faust's stop-the-world rebalance: Faust is told once of an
    empty assignment, which starts its flow, and each change goes to the conductor's index directly.
    Faust's own commits move nothing here: the lanes commit.
    """

    def on_init(self) -> None:
        """Faust: called at the end of construction."""
        options = self._driver.options
        self.delivery = Delivery()
        self.app.sensors.add(self.delivery)
        self._client = connect_redis_async(options.redis_url, name=f"{options.prefix}-worker")
        self._reading_client = connect_redis_async(options.redis_url, name=f"{options.prefix}-reader")
        self.reader = StreamReader(self._reading_client)
        self.committer = Committer(self._client)
        self._roster = Roster(
            self._make_lane,
            shown=self._show,
            hidden=self._hide,
            crashed=self.app.crash,
            delivery=self.delivery,
        )
        self._trimmer = Trimmer(self._client, self._loaded_lanes, options)
        self._topic_names: list[str] = []
        self._entries_read = False
        self._keeper: LeaseKeeper | None = None
        self._subscribing: asyncio.Future[None] | None = None

    @property
    def _driver(self) -> Transport:
        return cast("Transport", self.transport)

    # -- what the processor and tools look at

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """The partitions that this worker owns."""
        return self._roster.lanes

    @property
    def healthy(self) -> bool:
        """Whether Redis answers and leases are renewed."""
        return self.reader.healthy and (self._keeper is None or self._keeper.healthy)

    def _loaded_lanes(self) -> list[Lane]:
        return [lane for lane in self.lanes.values() if lane.loaded]

    # -- ownership

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Faust: consume these topics. Returns at once, since the conductor waits for it.

        Raises:
            ConfigError: the app does what this transport can't do.
        """
        check_app(self.app)
        watch_agents(self.app, self.delivery)
        if self._subscribing is None:
            self._topic_names = sorted(set(topics) - self.randomly_assigned_topics)
            self._subscribing = self.add_future(self._start_owning())

    async def _start_owning(self) -> None:
        self.app.on_rebalance_start()
        await self.on_partitions_assigned(set())
        options, call_soon = self._driver.options, asyncio.get_running_loop().call_soon_threadsafe
        listener = LeaseListener(
            gained=lambda number, epoch: call_soon(self._roster.gain, number, epoch),
            lost=lambda number: call_soon(self._roster.lose, number),
            unwanted=lambda number: call_soon(self._roster.give_up, number),
            damaged=lambda error: call_soon(self.add_future, self._end(error)),
        )
        try:
            deployment = await self._agree()
        except ConfigError as error:
            await self._end(error)
            return
        if self._roster.stopping:
            # Nobody would stop the keeper's thread any more.
            return
        self._keeper = LeaseKeeper(options, listener, deployment=deployment)
        self._roster.follow(self._keeper)
        self._keeper.start()

    async def _agree(self) -> str:
        """The deployment's id; waits for a Redis that is away."""
        options, backoff = self._driver.options, Backoff(initial_seconds=0.1, limit_seconds=2.0)
        while True:
            try:
                found = await ensure_deployment_async(self._client, Keys(options.prefix), options.partitions)
                self._entries_read = await _has_entries_read(self._client)
                await self._client.script_load(COMMIT.source)
            except (RedisError, OSError) as error:
                logger.warning("Redis can't be reached yet: %s", error)
                await asyncio.sleep(backoff.next_seconds())
            else:
                return found.id

    async def _end(self, error: Exception) -> None:
        logger.error("this worker can't go on: %s", error)
        await self.app.crash(error)

    def _make_lane(self, number: int, epoch: int, known_commit: int) -> Lane:
        services = LaneServices(
            client=self._client,
            reader=self.reader,
            committer=self.committer,
            options=self._driver.options,
            clock=SYSTEM_CLOCK,
            states=tuple(self._driver.states.values()),
            before_commit=tuple(self._driver.commit_hooks),
            deliver=self._deliver,
            owner=self._keeper.owner if self._keeper is not None else b"",
            entries_read=self._entries_read,
        )
        return Lane(number, epoch, self._topic_names, services, known_commit=known_commit)

    def _show(self, number: int) -> None:
        for name in self._topic_names:
            add_partition(self.app, TP(name, number))
            self._active_partitions.add(TP(name, number))

    def _hide(self, number: int) -> None:
        for name in self._topic_names:
            remove_partition(self.app, TP(name, number))
            self._active_partitions.discard(TP(name, number))

    # -- delivery

    async def _deliver(self, chunk: Chunk) -> None:
        whole = self._is_chunked(chunk.topic)
        await self.delivery.deliver(chunk, whole=whole, generation=self.app.consumer_generation_id)

    def _is_chunked(self, topic: str) -> bool:
        kinds = {isinstance(channel, ChunkedTopic) for channel in self.app.topics if topic in channel.topics}
        if len(kinds) > 1:
            msg = f"topic {topic} is declared chunked by one agent and not by another: declare it one way"
            raise ConfigError(msg)
        return kinds == {True}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Faust: what is ready for the agents; waits ``timeout`` seconds for the first."""
        queue = self.delivery.queue
        try:
            first = await asyncio.wait_for(queue.get(), timeout)
        except asyncio.TimeoutError:  # noqa: UP041 - Python 3.11 has both names, 3.10's is Faust's
            return
        yield first
        while not queue.empty():
            yield queue.get_nowait()

    def ack(self, message: Message) -> bool:
        """Faust: called for what streams don't acknowledge themselves, such as messages that can't be decoded."""
        last = bool(super().ack(message))
        if last:
            self.delivery.acknowledged(message)
        return last

    async def commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Faust: now and then. The lanes commit; what Faust noted for its own commits is thrown away."""
        for noted in (self._acked, self._acked_index, self._gap):
            noted.clear()
        return True

    # -- shutdown

    async def stop_lanes(self) -> None:
        """Finish what agents have begun, commit, and give every lease back. At most a few seconds."""
        await self._roster.stop()

    async def wait_empty(self) -> None:
        """Faust: called when the app stops."""
        await self.stop_lanes()

    async def on_stop(self) -> None:
        """Faust: the service stops."""
        await self.stop_lanes()
        self.reader.close()
        self.app.sensors.remove(self.delivery)
        await self._client.aclose()
        await self._reading_client.aclose()

    @Service.task
    async def _read(self) -> None:
        await self.reader.run()

    @Service.task
    async def _send_commits(self) -> None:
        await self.committer.run()

    @Service.task
    async def _trim(self) -> None:
        while True:
            try:
                await self._trimmer.run()
            except StreamDamaged as error:
                # Another worker may have the partition by now, or a replica have taken over: the lanes find out.
                logger.warning("what is owned is verified: %s", error)
                for lane in self._loaded_lanes():
                    lane.doubt()

    # -- what Faust asks for, and means nothing here

    def assignment(self) -> set[TP]:
        """Topic partitions that this worker owns."""
        return {TP(name, number) for number in self.lanes for name in self._topic_names}

    def highwater(self, tp: TP) -> int:
        """Offsets of messages are numbered here; lag is in ``guildstream lag`` and ``XINFO GROUPS``."""
        return 0

    async def position(self, tp: TP) -> int | None:
        """The lanes know; Faust's own number says nothing."""
        return None

    async def _commit(self, offsets: Mapping[TP, int]) -> bool:
        return True

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """The lanes always start there."""
        return {}

    async def _seek(self, partition: TP, offset: int) -> None:
        msg = "this transport can't seek by Faust's offsets: they live as long as the process"
        raise ConfigError(msg)

    async def seek_wait(self, partitions: Mapping[TP, int]) -> None:
        """Only Faust's tables seek; they are not supported."""
        for partition, offset in partitions.items():
            await self._seek(partition, offset)

    async def earliest_offsets(self, *partitions: TP) -> Mapping[TP, int]:
        """Only Faust's tables ask."""
        return dict.fromkeys(partitions, 0)

    async def highwaters(self, *partitions: TP) -> Mapping[TP, int]:
        """Only Faust's tables ask."""
        return dict.fromkeys(partitions, 0)

    def topic_partitions(self, topic: str) -> int | None:
        """Every topic has the same number."""
        return self._driver.options.partitions

    def key_partition(self, topic: str, key: bytes | None, partition: int | None = None) -> int | None:
        """Which partition a key goes to."""
        if partition is not None or key is None:
            return partition
        return self._driver.partition_of_key(key)

    async def create_topic(self, topic: str, partitions: int, replication: int, **kwargs: Any) -> None:
        """Streams come into being with their first entry."""

    def _new_topicpartition(self, topic: str, partition: int) -> TP:
        return TP(topic, partition)

    async def _getmany(self, active_partitions: set[TP] | None, timeout: float) -> Mapping[TP, list[Any]]:
        return {}

    def _to_message(self, tp: TP, record: Any) -> ConsumerMessage:
        message: ConsumerMessage = record
        return message


async def _has_entries_read(client: redis.asyncio.Redis) -> bool:
    """Whether the server is Redis 7 or later, or a Valkey; a server that doesn't tell counts as older."""
    try:
        version = str((await client.info("server"))["redis_version"])
    except (ResponseError, KeyError):
        return False
    return int(version.partition(".")[0]) >= 7
