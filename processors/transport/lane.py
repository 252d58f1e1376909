"""One owned partition at work: read, hand out a chunk, wait for every agent, commit; in lock-step."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast, get_args

import redis.asyncio
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guildstream import metrics
from guildstream.clock import Clock
from guildstream.cluster import SLOT_MOVES
from guildstream.errors import (
    ConfigError,
    Fenced,
    GuildstreamError,
    InvalidEvent,
    StreamDamaged,
    TailLost,
    TransientError,
)
from processors.transport.backoff import Backoff
from processors.transport.chunk import Chunk
from processors.transport.committer import CommitRequest, Committer
from processors.transport.cutter import ChunkCutter, TopicCursor
from processors.transport.expiry import make_table
from processors.transport.offsets import check_streams, read_positions
from processors.transport.options import TransportOptions
from processors.transport.partition import CommitRange, Operation, Partition, PartitionNames, script_arguments
from processors.transport.reader import StreamBuffer, StreamReader
from processors.transport.state import KeyedState

__all__ = ["BeforeCommit", "Deliver", "Lane", "LaneServices"]

logger = logging.getLogger("guildstream.transport")

#: Called just before a commit is built, with what it covers per topic; may send entries and change state.
BeforeCommit = Callable[[Partition, Mapping[str, CommitRange]], None]
#: Hands a chunk to the agents; done when all of them have acknowledged it.
Deliver = Callable[[Chunk], Awaitable[None]]

_IDLE_SECONDS: Final = 5.0
#: What an agent may raise that says nothing about the event: the chunk is tried again.
_TRANSIENT: Final = (
    TransientError,
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    OutOfMemoryError,
    ReadOnlyError,
    *get_args(SLOT_MOVES),
    ConnectionError,
    TimeoutError,
)


@dataclass(frozen=True, slots=True)
class LaneServices:
    """What the lanes of one worker share."""

    client: redis.asyncio.Redis
    reader: StreamReader
    committer: Committer
    options: TransportOptions
    clock: Clock
    states: Sequence[KeyedState[Any]]
    before_commit: Sequence[BeforeCommit]
    deliver: Deliver
    owner: bytes
    #: Whether XGROUP SETID takes ENTRIESREAD (Redis 7), which ``XINFO GROUPS`` needs to tell the lag.
    entries_read: bool = False


class Lane:
    """One partition, from hand-over to hand-back.

    Whenever no chunk is out, the partition's state reflects exactly the entries before its position,
    whichever agents there are. One commit may be in flight while the next chunk is processed.
    """

    def __init__(
        self, number: int, epoch: int, topics: Sequence[str], services: LaneServices, *, known_commit: int = 0
    ) -> None:
        options = services.options
        self.number = number
        self.epoch = epoch
        self.rollbacks = 0
        self.loaded = False
        #: The highest commit that is known to be applied, by this owner or before.
        self.known_commit = known_commit
        self._services = services
        self._options = options
        self._names = PartitionNames(f"{{{options.prefix}:{number}}}")
        tables = {spec.name: make_table(spec, options.cache_entries) for spec in services.states}
        self.partition = Partition(number, self._names, services.client, tables)
        self._wake = asyncio.Event()
        limit = 2 * options.chunk_bytes
        self.topics = {
            name: TopicCursor(
                name,
                StreamBuffer(self._names.stream(name), "0-0", limit, self._wake),
                shared=options.primary_topic in (None, name),
            )
            for name in topics
        }
        self._cutter = ChunkCutter(self.partition, self.topics, options)
        self._stopping = False
        self._commit_number = 0
        self._in_flight: asyncio.Task[None] | None = None
        self._events = 0
        self._bytes = 0
        self._due_at = math.inf
        self._backoff = Backoff(initial_seconds=0.1, limit_seconds=5.0)
        self._poisoned_in_a_row = 0
        self._outcomes: tuple[Counter[str], Counter[str]] = (Counter(), Counter())

    def stop(self) -> None:
        """Ask for a graceful end: the chunk that is out is finished and committed."""
        self._stopping = True
        self._wake.set()

    def doubt(self) -> None:
        """Have it checked whether Redis still holds what it has acknowledged."""
        for topic in self.topics.values():
            topic.buffer.doubt()

    async def run(self) -> None:
        """Work until ``stop``.

        Raises:
            Fenced: the partition has another owner; nothing more was written.
            StreamDamaged: Redis lost what was committed, and goes on from an earlier commit only where replicas
                take over (``TransportOptions.lost_tail``).
        """
        try:
            await self._load()
            while not (self._stopping and self._cutter.between_entries):
                try:
                    await self._step()
                except TailLost as error:
                    await self._fall_back(error)
            try:
                await self._commit_rest()
            except TailLost as error:
                if not self._options.resumes:
                    raise
                logger.warning("partition %d is left to its next owner as it is: %s", self.number, error)
        finally:
            self.loaded = False
            for topic in self.topics.values():
                self._services.reader.remove(topic.buffer)
            if self._in_flight is not None and not self._in_flight.done():
                self._in_flight.cancel()

    async def _step(self) -> None:
        self._wake.clear()
        if self._in_flight is not None and self._in_flight.done():
            await self._settle()
        if any(topic.buffer.doubted for topic in self.topics.values()):
            await self._verify()
        chunk = self._cutter.next_chunk()
        if chunk is not None:
            self._services.reader.room(self.topics[chunk.topic].buffer)
            await self._process(chunk)
        if self._commit_is_due():
            await self._start_commit()
        elif chunk is None:
            await self._wait()

    async def _process(self, chunk: Chunk) -> None:
        await self._services.deliver(chunk)
        if chunk.error is not None:
            await self._roll_back(chunk, chunk.error)
            return
        metrics.PROCESSOR_CHUNKS.inc()
        self._backoff.reset()
        if any(entry.count > len(entry.skipped) for entry in chunk.entries):
            self._poisoned_in_a_row = 0
        self._events += chunk.count
        self._bytes += chunk.size
        if self._due_at is math.inf:
            self._due_at = self._next_tick()

    def _next_tick(self) -> float:
        """Partitions share their ticks, so that their commits go out together."""
        interval = self._options.commit_interval_seconds
        return (math.floor(self._services.clock.monotonic() / interval) + 1) * interval

    async def _wait(self) -> None:
        """Until entries come, a commit is due or done, or the lane is stopped."""
        wanted = self.partition.commit_wanted_at
        due = min(self._due_at, math.inf if wanted is None else wanted)
        seconds = min(_IDLE_SECONDS, max(0.0, due - self._services.clock.monotonic()))
        loop = asyncio.get_running_loop()
        timer = loop.call_later(seconds, self._wake.set)
        try:
            await self._wake.wait()
        finally:
            timer.cancel()

    # -- hand-over and rollback

    async def _load(self) -> None:
        """Read position and preloaded tables; tried again while Redis is away."""
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while True:
            try:
                await self._load_once()
            except (RedisError, OSError) as error:
                logger.warning("partition %d can't be loaded yet: %s", self.number, error)
                await asyncio.sleep(backoff.next_seconds())
            else:
                return

    async def _load_once(self) -> None:
        client = self._services.client
        self.partition.reset()
        self._commit_number, positions = await read_positions(client, self._names, self._options, list(self.topics))
        self._compare(self._commit_number)
        self.known_commit = self._commit_number
        for spec in self._services.states:
            if spec.preload:
                raw = cast("dict[bytes, bytes]", await client.hgetall(self._names.state(spec.name)))
                self.partition.tables[spec.name].fill([key.decode() for key in raw], raw.values())
        for name, topic in self.topics.items():
            topic.restart(positions[name])
            await self._services.reader.restart(client, topic.buffer, topic.committed.last_id)
        self._events = self._bytes = 0
        self._due_at = math.inf
        self.loaded = True

    def _compare(self, commit: int) -> None:
        """Raise where Redis is behind what it has acknowledged; say so and go on where replicas take over."""
        lost = self.known_commit - commit
        if lost <= 0:
            return
        msg = (
            f"partition {self.number} is at commit {commit}, but commit {self.known_commit} was acknowledged: Redis "
            "lost its tail or was replaced; see docs/transport.md, «A damaged stream»"
        )
        if not self._options.resumes:
            raise TailLost(msg)
        metrics.COMMITS_LOST.inc(lost)
        logger.error("%s. What was lost is counted nowhere; it goes on from commit %d", msg, commit)

    async def _verify(self) -> None:
        """The server was away, or is another one: see whether it holds what was acknowledged.

        Raises:
            TailLost: it is behind.
            StreamDamaged: a stream was deleted or cut.
            Fenced: another worker has the partition, and may rightly have trimmed what this one looks for.
        """
        for topic in self.topics.values():
            topic.buffer.doubted = False
        try:
            problem = await self._problem()
            if problem is None:
                return
            owner = await cast("Any", self._services.client.hmget(self._names.key("owner"), ["owner", "epoch"]))
        except (RedisError, OSError) as error:
            logger.warning("partition %d can't be verified yet: %s", self.number, error)
            await asyncio.sleep(self._backoff.next_seconds())
            self.doubt()
            return
        if owner != [self._services.owner, b"%d" % self.epoch]:
            msg = f"it was verified in epoch {self.epoch}, and has another owner"
            raise Fenced(msg)
        raise problem

    async def _problem(self) -> StreamDamaged | None:
        """What Redis lacks, if anything."""
        client = self._services.client
        commit = int(await cast("Any", client.hget(self._names.key("offset"), "commit")) or 0)
        if commit < self.known_commit:
            return TailLost(f"partition {self.number} is at commit {commit}, after commit {self.known_commit}")
        try:
            await check_streams(client, {topic.buffer.key: topic.durable_id for topic in self.topics.values()})
        except StreamDamaged as error:
            return error
        return None

    async def _fall_back(self, error: TailLost) -> None:
        """A replica took over without the last commits, or without entries that were read: go on from what it has.

        State, results, offset and streams of a partition are lost together, from one point in time on, so what
        is left is what an earlier commit left. What was processed since and is still there is processed again.
        """
        if not self._options.resumes:
            raise error
        logger.warning("partition %d is loaded anew: %s", self.number, error)
        if self._in_flight is not None:
            in_flight, self._in_flight = self._in_flight, None
            with contextlib.suppress(StreamDamaged):
                await in_flight
        # Positions from here on may mean other events.
        self._cutter = ChunkCutter(self.partition, self.topics, self._options)
        await self._load()

    async def _roll_back(self, chunk: Chunk, error: BaseException) -> None:
        """An agent raised: forget what is not committed, read it again, and find the event."""
        if isinstance(error, StreamDamaged | ConfigError):
            raise error
        self.rollbacks += 1
        metrics.ROLLBACKS.inc()
        if isinstance(error, _TRANSIENT):
            logger.warning("partition %d is read again from its last commit: %s", self.number, error)
            await asyncio.sleep(self._backoff.next_seconds())
        elif self._cutter.blame(chunk):
            entry_id = chunk.entries[0].id
            logger.error("partition %d, entry %s: an agent raised", self.number, entry_id, exc_info=error)
            if not isinstance(error, InvalidEvent):
                self._count_poison(error)
        else:
            logger.warning("partition %d: an agent raised, looking for the event: %r", self.number, error)
        await self._settle()
        await self._load()

    def _count_poison(self, error: BaseException) -> None:
        self._poisoned_in_a_row += 1
        if self._poisoned_in_a_row > self._options.poison_in_a_row:
            msg = (
                f"partition {self.number}: agents raised on {self._poisoned_in_a_row} events in a row, the last time "
                f"{error!r}: that is no bad luck with the input. What was dead-lettered can be requeued"
            )
            raise GuildstreamError(msg) from error

    # -- commit

    def _commit_is_due(self) -> bool:
        if not self._cutter.between_entries:
            return False
        now = self._services.clock.monotonic()
        wanted = self.partition.commit_wanted_at
        return (
            now >= self._due_at
            or self._events >= self._options.commit_events
            or self._bytes >= self._options.commit_bytes
            or (wanted is not None and now >= wanted)
        )

    async def _commit_rest(self) -> None:
        if self._due_at is not math.inf or self.partition.commit_wanted_at is not None:
            await self._start_commit()
        await self._settle()

    async def _start_commit(self) -> None:
        """Build the commit and send it; returns while it is in flight, after the one before it is done."""
        await self._settle()
        request = self._build()
        self._in_flight = asyncio.create_task(self._services.committer.commit(request))
        self._in_flight.add_done_callback(lambda _: self._wake.set())
        self._events = self._bytes = 0
        self._due_at = math.inf

    async def _settle(self) -> None:
        """Wait for the commit in flight."""
        if self._in_flight is None:
            return
        task, self._in_flight = self._in_flight, None
        await task
        self.known_commit += 1
        counters, dead = self._outcomes
        for outcome, amount in counters.items():
            metrics.PROCESSOR_EVENTS.labels(outcome).inc(amount)
        for reason, amount in dead.items():
            metrics.DEAD_LETTERS.labels(reason).inc(amount)
        for name, topic in self.topics.items():
            topic.durable_id = topic.committed.last_id
            self._cutter.forget(name, topic.committed.payloads)
        for table in self.partition.tables.values():
            table.shrink()

    def _build(self) -> CommitRequest:
        follows = self._commit_number
        self.partition.commit_wanted_at = None
        ranges = {name: self._range(topic, follows + 1) for name, topic in self.topics.items()}
        for hook in self._services.before_commit:
            hook(self.partition, ranges)
        self._outcomes = self.partition.counters.copy(), self.partition.dead.copy()
        self.partition.dead.clear()
        operations = self.partition.take_operations()
        for name, topic in self.topics.items():
            if topic.committed.last_id != "0-0":
                operations.append(Operation("EXPECT", topic.buffer.key, [topic.committed.last_id.encode()]))
            if topic.read.last_id != topic.committed.last_id:
                # A failover may have lost what was read but not what was committed.
                operations.append(Operation("EXPECT", topic.buffer.key, [topic.read.last_id.encode()]))
            topic.committed = topic.read.copy()
            operations.append(topic.committed.operation(self._names, self._options, name))
            operations.append(self._group_operation(topic))
        self._commit_number += 1
        keys = {self._names.key("owner"): 1, self._names.key("offset"): 2}
        arguments = script_arguments(operations, keys)
        return CommitRequest(list(keys), self._services.owner, self.epoch, follows, arguments)

    @staticmethod
    def _range(topic: TopicCursor, commit: int) -> CommitRange:
        before, read = topic.committed, topic.read
        return CommitRange(
            commit=commit,
            after_id=before.last_id,
            last_id=read.last_id,
            position=before.payloads,
            count=read.payloads - before.payloads,
            entries=read.entries - before.entries,
        )

    def _group_operation(self, topic: TopicCursor) -> Operation:
        args = [b"SETID", self._options.group.encode(), topic.committed.last_id.encode()]
        if self._services.entries_read:
            args += (b"ENTRIESREAD", b"%d" % topic.committed.entries)
        return Operation("XGROUP", topic.buffer.key, args)
