"""Chunks out with the agents: numbered for Faust, and done when every agent has acknowledged."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Any, Final

from faust.sensors.base import Sensor
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from processors.transport.chunk import Chunk, ChunkEntry

__all__ = ["Abandoned", "Delivery"]

#: Streams pass over messages whose generation is not the app's.
_NO_GENERATION: Final = -1


class Abandoned(Exception):
    """The chunk was still out when the worker stopped; nothing of it is committed."""


@dataclass(slots=True)
class _Out:
    """The messages of one chunk that agents have not acknowledged yet.

    Attributes:
        chunk: what is out.
        messages: in order; their offsets are consecutive.
        positions: of the payload in each message, None where a message is the whole chunk.
        pending: offsets not acknowledged.
        done: set when none is left.
        sent: how much agents have sent elsewhere for each message.
    """

    chunk: Chunk
    messages: list[ConsumerMessage]
    positions: list[int] | None
    pending: set[int]
    done: asyncio.Future[None]
    sent: Counter[int] = field(default_factory=Counter)

    def holds(self, offset: int) -> bool:
        return self.messages[0].offset <= offset <= self.messages[-1].offset

    def acknowledged(self, offset: int) -> None:
        self.pending.discard(offset)
        if not self.pending and not self.done.done():
            self.done.set_result(None)

    def withdraw(self) -> None:
        """Have streams pass over what none of them has begun; what one has begun, all of them end."""
        for message in self.messages:
            if not message.tracked and not message.acked:
                message.generation_id = _NO_GENERATION
                self.acknowledged(message.offset)

    def disown(self) -> None:
        """Have streams pass over all that is left: nobody waits for it any more."""
        for message in self.messages:
            message.generation_id = _NO_GENERATION


class Delivery(Sensor):
    """Turns chunks into Faust messages and back into acknowledgements.

    Faust wants offsets that are dense per topic and partition: messages are numbered here, from 1, for as
    long as the process lives. Faust tells sensors when the last stream is done with a message, on the
    compiled path and on the Python one: that is the only hook that knows a chunk's end.
    """

    def __init__(self) -> None:
        super().__init__()
        self.queue: asyncio.Queue[tuple[TP, ConsumerMessage]] = asyncio.Queue()
        self._offsets: dict[TP, int] = {}
        self._out: dict[TP, _Out] = {}

    async def deliver(self, chunk: Chunk, *, whole: bool, generation: int) -> None:
        """Hand a chunk to the agents of its topic and wait until all of them are done with it.

        Args:
            chunk: what to hand out; its ``error`` says afterwards whether an agent raised.
            whole: as one value (a chunked topic), or message by message.
            generation: Faust's consumer generation.

        Raises:
            Abandoned: the worker is stopping and no agent had begun.
        """
        tp = TP(chunk.topic, chunk.partition.number)
        out = self._numbered(tp, chunk, whole=whole, generation=generation)
        if not out.messages:
            return
        self._out[tp] = out
        for message in out.messages:
            self.queue.put_nowait((tp, message))
        try:
            await out.done
        finally:
            if self._out.get(tp) is out:
                del self._out[tp]
            if out.pending:
                out.disown()

    def _numbered(self, tp: TP, chunk: Chunk, *, whole: bool, generation: int) -> _Out:
        values: list[tuple[Any, int, ChunkEntry]] = [(chunk, chunk.size, chunk.entries[-1])]
        positions: list[int] | None = None
        if not whole:
            found = list(_payloads(chunk))
            values = [(payload, len(payload), entry) for payload, entry, _ in found]
            positions = [position for _, _, position in found]
        messages = [self._message(tp, *value, generation) for value in values]
        pending = {message.offset for message in messages}
        return _Out(chunk, messages, positions, pending, asyncio.get_running_loop().create_future())

    def _message(self, tp: TP, value: Any, size: int, entry: ChunkEntry, generation: int) -> ConsumerMessage:
        offset = self._offsets[tp] = self._offsets.get(tp, 0) + 1
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            timestamp=entry.ms / 1000,
            timestamp_type=0,
            headers=entry.headers,
            key=entry.key,
            value=value,
            checksum=None,
            serialized_key_size=len(entry.key or b""),
            serialized_value_size=size,
            tp=tp,
            generation_id=generation,
        )

    # -- what agents and streams ask

    def chunk_of(self, message: Message) -> Chunk | None:
        """The chunk that a message is part of, None if it is no longer out."""
        out = self._out.get(message.tp)
        return out.chunk if out is not None and out.holds(message.offset) else None

    def is_last(self, message: Message) -> bool:
        """Whether its chunk ends with this message."""
        out = self._out.get(message.tp)
        return out is None or message.offset >= out.messages[-1].offset

    def next_origin(self, message: Message) -> bytes | None:
        """A name for what is sent next for a message, the same each time it is processed."""
        out = self._out.get(message.tp)
        if out is None or not out.holds(message.offset):
            return None
        index = message.offset - out.messages[0].offset
        position = out.chunk.position if out.positions is None else out.positions[index]
        number = out.sent[index]
        out.sent[index] += 1
        return f"{message.tp.topic} {message.tp.partition} {position} {number}".encode()

    def fail(self, message: Message, error: BaseException) -> None:
        """An agent raised on a message: its chunk will be rolled back, the rest of it is not begun."""
        out = self._out.get(message.tp)
        if out is None or not out.holds(message.offset):
            return
        position = None if out.positions is None else out.positions[message.offset - out.messages[0].offset]
        out.chunk.fail(error, position=position)
        out.withdraw()

    def acknowledged(self, message: Message) -> None:
        """The last stream is done with a message."""
        self.on_message_out(message.tp, message.offset, message)

    def on_message_out(self, tp: TP, offset: int, message: Message) -> None:
        """Faust: the last stream is done with a message."""
        out = self._out.get(tp)
        if out is not None and out.holds(offset):
            out.acknowledged(offset)

    def abandon(self, partition: int) -> None:
        """Give up on a partition's chunk, unless an agent has begun it as one value and is to end it."""
        for tp, out in self._out.items():
            if tp.partition != partition or out.done.done():
                continue
            if out.positions is not None or not out.messages[0].tracked:
                out.done.set_exception(Abandoned())


def _payloads(chunk: Chunk) -> list[tuple[bytes, ChunkEntry, int]]:
    return [
        (payload, entry, entry.position + index)
        for entry in chunk.entries
        for index, payload in enumerate(entry.payloads())
        if index not in entry.skipped
    ]
