"""The stream that plain agents iterate: Faust's own, but for batches that end where a chunk ends."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import suppress
from contextvars import ContextVar
from typing import Any

import faust
from faust.streams import current_event
from faust.types import EventT, Message
from faust.types.tuples import ConsumerMessage
from mode.utils.times import want_seconds

from guildstream.errors import ConfigError, GuildstreamError, TransientError
from processors.transport.delivery import Delivery
from processors.transport.partition import Partition

__all__ = ["LockStepStream", "NoPartition", "current_messages", "current_origin", "current_partition"]

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
    gives what it has at the chunk's end instead of waiting for more; a batch holds one partition's
    messages only.
    """

    async def take(self, max_: int, within: Any) -> AsyncGenerator[Sequence[Any], None]:
        """Up to ``max_`` values of one chunk at a time.

        Args:
            max_: the most values of a batch.
            within: how long to wait where a filter has dropped the end of a chunk.
        """
        async for values, _ in self._batches(max_, within):
            yield values

    async def take_events(self, max_: int, within: Any) -> AsyncGenerator[Sequence[EventT[Any]], None]:
        """The same as events."""
        async for _, events in self._batches(max_, within):
            yield events

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

    async def _batches(self, max_: int, within: Any) -> AsyncIterator[tuple[list[Any], list[EventT[Any]]]]:
        """Batches; each is acknowledged when the next one is asked for, or the agent has raised."""
        seconds = want_seconds(within) if within else 1.0
        source = _Source(self, seconds)
        batch: list[tuple[Any, EventT[Any]]] = []
        self.enable_acks = False
        try:
            while True:
                found = await source.next(patient=not batch)
                ended = found is None or (batch and found[1].message.tp != batch[0][1].message.tp)
                if found is not None and not ended:
                    batch.append(found)
                    ended = len(batch) >= max_ or source.is_last(found[1])
                if ended and batch:
                    _batch.set((self.app, tuple(event for _, event in batch)))
                    yield [value for value, _ in batch], [event for _, event in batch]
                    _batch.set((None, ()))
                    await self._acknowledge(batch)
                    batch = []
                    if found is not None and not found[1].message.acked:
                        batch.append(found)
        except StopAsyncIteration:
            return
        finally:
            await source.close()
            await self._acknowledge(batch)
            self.enable_acks = True

    async def _acknowledge(self, batch: list[tuple[Any, EventT[Any]]]) -> None:
        for _, event in batch:
            await self.ack(event)


class _Source:
    """The single values under ``take``, with the event of each."""

    def __init__(self, stream: LockStepStream, seconds: float) -> None:
        self._stream = stream
        self._values = aiter(stream)
        self._seconds = seconds
        self._reading: asyncio.Task[Any] | None = None
        self.delivery = _delivery(stream.app)

    def is_last(self, event: EventT[Any]) -> bool:
        """Whether its chunk ends with this event."""
        return self.delivery.is_last(event.message)

    async def next(self, *, patient: bool) -> tuple[Any, EventT[Any]] | None:
        """The next value; None if there is none for a while and the caller is not patient.

        Raises:
            StopAsyncIteration: the stream has ended.
        """
        while True:
            if self._reading is None:
                self._reading = asyncio.ensure_future(anext(self._values))
            done, _ = await asyncio.wait([self._reading], timeout=None if patient else self._seconds)
            if not done:
                return None
            reading, self._reading = self._reading, None
            value = await reading
            event = self._stream.current_event
            if event is not None:
                return value, event

    async def close(self) -> None:
        """Stop reading. What was read and not handed out is given back: its chunk is read again."""
        reading, self._reading = self._reading, None
        if reading is None:
            return
        reading.cancel()
        with suppress(asyncio.CancelledError, StopAsyncIteration):
            await reading
            event = self._stream.current_event
            if event is not None:
                self.delivery.fail(event.message, TransientError("the agent raised before it came to this message"))
                await self._stream.ack(event)
