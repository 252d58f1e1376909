"""Faust's consumer over Redis Streams: owns partitions, feeds agents in lock-step, commits atomically."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from faust.transport.consumer import Consumer as FaustConsumer
from faust.types import TP, ConsumerMessage
from mode import Service

from guildstream.clock import SYSTEM_CLOCK
from guildstream.connections import connect_redis_async
from guildstream.errors import ConfigError, Fenced
from processors.transport.chunk import Chunk
from processors.transport.committer import Committer
from processors.transport.delivery import Abandoned, Delivery
from processors.transport.faust_index import add_partition, remove_partition
from processors.transport.lane import Lane, LaneServices
from processors.transport.ownership import LeaseKeeper, LeaseListener
from processors.transport.reader import StreamReader
from processors.transport.scripts import COMMIT
from processors.transport.topics import ChunkedTopic
from processors.transport.trimming import Trimmer

if TYPE_CHECKING:
    from processors.transport.driver import Transport

__all__ = ["Consumer"]

logger = logging.getLogger("guildstream.transport")

#: How long a stopping worker waits for agents that have begun a chunk.
_GRACE_SECONDS: Final = 5.0


class Consumer(FaustConsumer):
    """Consumes every topic of the app, partition by partition.

    Partitions come and go by leases, without Faust's stop-the-world rebalance: Faust is told once of an
    empty assignment, which starts its flow, and each change goes to the conductor's index directly.
    Faust's own commits move nothing here: the lanes commit.
    """

    def on_init(self) -> None:
        """Faust: called at the end of construction."""
        options = self._driver.options
        self._delivery = Delivery()
        self.app.sensors.add(self._delivery)
        self._client = connect_redis_async(options.redis_url, name=f"{options.prefix}-worker")
        self._reading_client = connect_redis_async(options.redis_url, name=f"{options.prefix}-reader")
        self.reader = StreamReader(self._reading_client)
        self.committer = Committer(self._client)
        self._trimmer = Trimmer(self._client, lambda: [lane for lane, _ in self._lanes.values()], options.trim_seconds)
        self._lanes: dict[int, tuple[Lane, asyncio.Future[None]]] = {}
        self._topic_names: list[str] = []
        self._keeper: LeaseKeeper | None = None
        self._subscribing: asyncio.Future[None] | None = None
        self._stopping_lanes = False

    @property
    def _driver(self) -> Transport:
        return cast("Transport", self.transport)

    # -- what the processor and tools look at

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """The partitions that this worker owns."""
        return {number: lane for number, (lane, _) in self._lanes.items()}

    @property
    def healthy(self) -> bool:
        """Whether Redis answers and leases are renewed."""
        return self.reader.healthy and (self._keeper is None or self._keeper.healthy)

    # -- ownership

    async def subscribe(self, topics: Iterable[str]) -> None:
        """Faust: consume these topics. Returns at once, since the conductor waits for it."""
        self._topic_names = sorted(set(topics) - self.randomly_assigned_topics)
        if self._subscribing is None:
            self._subscribing = self.add_future(self._start_owning())

    async def _start_owning(self) -> None:
        self.app.on_rebalance_start()
        await self.on_partitions_assigned(set())
        await self._client.script_load(COMMIT.source)
        loop = asyncio.get_running_loop()
        listener = LeaseListener(
            gained=lambda number, epoch: loop.call_soon_threadsafe(self._gain, number, epoch),
            lost=lambda number: loop.call_soon_threadsafe(self._lose, number),
        )
        self._keeper = LeaseKeeper(self._driver.options, listener)
        self._keeper.start()

    def _gain(self, number: int, epoch: int) -> None:
        if self._stopping_lanes or self._keeper is None:
            return
        if number in self._lanes:
            self._lanes[number][1].cancel()
        services = LaneServices(
            client=self._client,
            reader=self.reader,
            committer=self.committer,
            options=self._driver.options,
            clock=SYSTEM_CLOCK,
            states=tuple(self._driver.states.values()),
            before_commit=tuple(self._driver.commit_hooks),
            deliver=self._deliver,
            owner=self._keeper.owner,
        )
        lane = Lane(number, epoch, self._topic_names, services)
        for name in self._topic_names:
            add_partition(self.app, TP(name, number))
            self._active_partitions.add(TP(name, number))
        self._lanes[number] = lane, self.add_future(self._run_lane(lane))
        logger.info("partition %d is ours, epoch %d", number, epoch)

    def _lose(self, number: int) -> None:
        found = self._lanes.pop(number, None)
        if found is not None:
            found[1].cancel()
            for name in self._topic_names:
                remove_partition(self.app, TP(name, number))
                self._active_partitions.discard(TP(name, number))

    async def _run_lane(self, lane: Lane) -> None:
        try:
            await lane.run()
        except Fenced as error:
            logger.error("partition %d was taken over: %s", lane.number, error)  # noqa: TRY400 - no bug, no trace
            if self._keeper is not None:
                self._keeper.forget(lane.number)
            if self._lanes.get(lane.number, (None,))[0] is lane:
                self._lose(lane.number)
        except (Abandoned, asyncio.CancelledError):
            logger.info("partition %d was left at its last commit", lane.number)
        except Exception as error:
            logger.exception("partition %d can't go on", lane.number)
            await self.app.crash(error)

    # -- delivery

    async def _deliver(self, chunk: Chunk) -> None:
        whole = self._is_chunked(chunk.topic)
        await self._delivery.deliver(chunk, whole=whole, generation=self.app.consumer_generation_id)

    def _is_chunked(self, topic: str) -> bool:
        kinds = {isinstance(channel, ChunkedTopic) for channel in self.app.topics if topic in channel.topics}
        if len(kinds) > 1:
            msg = f"topic {topic} is declared chunked by one agent and not by another: declare it one way"
            raise ConfigError(msg)
        return kinds == {True}

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, ConsumerMessage]]:
        """Faust: what is ready for the agents; waits ``timeout`` seconds for the first."""
        queue = self._delivery.queue
        try:
            first = await asyncio.wait_for(queue.get(), timeout)
        except asyncio.TimeoutError:  # noqa: UP041 - Python 3.11 has both names, 3.10's is Faust's
            return
        yield first
        while not queue.empty():
            yield queue.get_nowait()

    # -- shutdown

    async def stop_lanes(self) -> None:
        """Finish what agents have begun, commit, and give every lease back. At most a few seconds."""
        if self._stopping_lanes:
            return
        self._stopping_lanes = True
        lanes = list(self._lanes.values())
        for lane, _ in lanes:
            lane.stop()
        tasks = [task for _, task in lanes]
        if tasks:
            self._delivery.abandon(begun=False)
            _, late = await asyncio.wait(tasks, timeout=_GRACE_SECONDS)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        keeper, self._keeper = self._keeper, None
        if keeper is not None:
            await asyncio.to_thread(_hand_back, keeper, [lane.number for lane, _ in lanes])
        self._lanes.clear()

    async def wait_empty(self) -> None:
        """Faust: called when the app stops."""
        await self.stop_lanes()

    async def on_stop(self) -> None:
        """Faust: the service stops."""
        await self.stop_lanes()
        self.app.sensors.remove(self._delivery)
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
        await self._trimmer.run()

    # -- what Faust asks for, and means nothing here

    def assignment(self) -> set[TP]:
        """Topic partitions that this worker owns."""
        return {TP(name, number) for number in self._lanes for name in self._topic_names}

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


def _hand_back(keeper: LeaseKeeper, partitions: list[int]) -> None:
    for partition in partitions:
        keeper.release(partition)
    keeper.stop()
