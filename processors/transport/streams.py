"""The stream that plain agents iterate: Faust's own, but for batches that end where a chunk ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any, TypeAlias
from weakref import WeakSet

import faust
from faust.streams import current_event
from faust.types import EventT, Message
from faust.types.tuples import ConsumerMessage
from mode.utils.times import want_seconds

from guildstream.errors import ConfigError, GuildstreamError, TransientError
from processors.transport.chunk import Chunk
from processors.transport.delivery import Delivery
from processors.transport.partition import Partition

__all__ = ["LockStepStream", "NoPartition", "current_messages", "current_origin", "current_partition"]

_Pair: TypeAlias = tuple[Any, EventT[Any]]
_Batch: TypeAlias = list[_Pair]

#: The app, and the events of the batch that the running agent was given by ``take``.
_batch: ContextVar[tuple[Any, tuple[EventT[Any], ...]]] = ContextVar("guildstream_batch", default=(None, ()))


class NoPartition(GuildstreamError):
    """There is no partition here: no message of this transport is being processed, or it was withdrawn."""


def current_messages() -> tuple[Message, ...]:
    """The messages that the running agent is working on: one, a batch of ``take``, or none."""
    return tuple(event.message for event in _current()[1])


def current_partition() -> Partition:
    """The partition whose message the running agent is working on: its keyed state, its outgoing entries.

    Raises:
        NoPartition: called outside an agent, or the message's partition was lost or rolled back meanwhile.
    """
    app, events = _current()
    chunk = _delivery(app).chunk_of(events[0].message) if events else None
    if chunk is None:
        msg = "no message of a partition is being processed here, or its partition is no longer ours"
        raise NoPartition(msg)
    return chunk.partition


def current_origin() -> bytes | None:
    """A name for what the running agent sends next: the same when the message is processed again.

    It is ``<topic> <partition> <position> <number>``: of the first message at work, and of what is sent for it.
    """
    app, events = _current()
    return _delivery(app).next_origin(events[0].message) if events else None


def _delivery(app: Any) -> Delivery:
    found: Delivery = app.consumer.delivery
    return found


def _current() -> tuple[Any, tuple[EventT[Any], ...]]:
    app, events = _batch.get()
    if events:
        return app, events
    event = current_event()
    # A message of an in-memory channel is not a consumer's: it belongs to no partition.
    if event is None or not isinstance(event.message, ConsumerMessage):
        return None, ()
    return event.app, (event,)


class LockStepStream(faust.Stream[Any]):
    """A stream over partitions in lock-step.

    A chunk's messages are followed by the next ones only when all of them are acknowledged, so ``take``
    gives what it has at the chunk's end instead of waiting for more; a batch holds one chunk's messages
    only.
    """

    #: Iterators that ``take`` has given out.
    _takes: WeakSet[Any] | None = None

    def take(self, max_: int, within: Any) -> AsyncGenerator[Sequence[Any], None]:
        """Up to ``max_`` values of one chunk at a time.

        Args:
            max_: the most values of a batch.
            within: how long to wait where a filter has dropped the end of a chunk.
        """
        return self._batches(max_, within, _values_of)

    def take_events(self, max_: int, within: Any) -> AsyncGenerator[Sequence[EventT[Any]], None]:
        """The same as events."""
        return self._batches(max_, within, _events_of)

    def take_with_timestamp(self, max_: int, within: Any, timestamp_field_name: str) -> Any:
        """Not supported.

        Raises:
            ConfigError: always; use ``take_events``, whose messages have a timestamp.
        """
        del max_, within, timestamp_field_name
        msg = "stream.take_with_timestamp is not supported here: use take_events and event.message.timestamp"
        raise ConfigError(msg)

    def noack_take(self, max_: int, within: Any) -> Any:
        """Not supported.

        Raises:
            ConfigError: always; use ``take``.
        """
        del max_, within
        msg = "stream.noack_take is not supported: a partition goes on when its messages are acknowledged; use take"
        raise ConfigError(msg)

    async def close_iterators(self) -> None:
        """End what iterates this stream, acknowledging what it gave out.

        Python closes an iterator that was left some time later, when its successor may already be at work
        on the same stream.
        """
        iterators: list[Any] = [*(self._takes or ()), *self._active_agens]
        for iterator in iterators:
            while iterator.ag_frame is not None:
                # RuntimeError: Python is closing it at this moment.
                with suppress(RuntimeError):
                    await iterator.aclose()
                await asyncio.sleep(0)

    def _batches(self, max_: int, within: Any, give: Callable[[_Batch], list[Any]]) -> AsyncGenerator[list[Any], None]:
        iterator = _take(_Source(self, want_seconds(within) if within else 1.0), max_, give)
        if self._takes is None:
            self._takes = WeakSet()
        self._takes.add(iterator)
        return iterator


def _values_of(batch: _Batch) -> list[Any]:
    return [value for value, _ in batch]


def _events_of(batch: _Batch) -> list[Any]:
    return [event for _, event in batch]


async def _take(source: _Source, max_: int, give: Callable[[_Batch], list[Any]]) -> AsyncGenerator[list[Any], None]:
    """Batches; each is acknowledged when the next one is asked for, or the agent has raised."""
    batch: _Batch = []
    source.stream.enable_acks = False
    try:
        while True:
            found = await source.next(batch)
            if found is not None:
                batch.append(found)
                if len(batch) < max_ and not source.delivery.is_last(found[1].message):
                    continue
            # A batch whose partition was lost meanwhile is nobody's any more.
            if source.chunk_of(batch[0]) is not None:
                _batch.set((source.stream.app, tuple(event for _, event in batch)))
                yield give(batch)
                _batch.set((None, ()))
            await source.acknowledge(batch)
    except StopAsyncIteration:
        return
    finally:
        await source.close()
        await source.acknowledge(batch)
        source.stream.enable_acks = True


class _Source:
    """The single values under ``take``, with the event of each."""

    def __init__(self, stream: LockStepStream, seconds: float) -> None:
        self.stream = stream
        self.delivery = _delivery(stream.app)
        self._values: AsyncIterator[Any] | None = None
        self._seconds = seconds
        self._reading: asyncio.Task[Any] | None = None
        self._held: _Pair | None = None

    def chunk_of(self, pair: _Pair) -> Chunk | None:
        """The chunk of a value, None if it is no longer out."""
        return self.delivery.chunk_of(pair[1].message)

    async def next(self, batch: _Batch) -> _Pair | None:
        """The next value of the batch's chunk, or of any for an empty one; None where the batch has to end.

        Raises:
            StopAsyncIteration: the stream has ended.
        """
        while True:
            if self._held is None:
                self._held = await self._read(patient=not batch)
            if self._held is None:
                return None
            chunk = self.chunk_of(self._held)
            if batch and chunk is not self.chunk_of(batch[0]):
                return None
            found, self._held = self._held, None
            if chunk is not None:
                return found
            await self.stream.ack(found[1])

    async def _read(self, *, patient: bool) -> _Pair | None:
        while True:
            if self._values is None:
                self._values = aiter(self.stream)
            if self._reading is None:
                self._reading = asyncio.ensure_future(anext(self._values))
            done, _ = await asyncio.wait([self._reading], timeout=None if patient else self._seconds)
            if not done:
                return None
            reading, self._reading = self._reading, None
            value, event = await reading, self.stream.current_event
            if event is not None:
                return value, event

    async def acknowledge(self, batch: _Batch) -> None:
        """Be done with a batch; it is empty afterwards."""
        done, batch[:] = list(batch), []
        for _, event in done:
            await self.stream.ack(event)

    async def close(self) -> None:
        """Stop reading. What was read and not handed out is given back: its chunk is read again."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration):
                value = await reading
                event = self.stream.current_event
                self._held = None if event is None else (value, event)
        if self._held is not None:
            (_, event), self._held = self._held, None
            self.delivery.fail(event.message, TransientError("the agent raised before it came to this message"))
            await self.stream.ack(event)
