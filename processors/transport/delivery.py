"""Chunks out with the agents: numbered for Faust, and done when every agent has acknowledged."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from faust.sensors.base import Sensor
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from processors.transport.chunk import Chunk

__all__ = ["Abandoned", "Delivery"]


class Abandoned(Exception):  # noqa: N818 - nothing went wrong: the worker is stopping
    """The chunk was still out when the worker stopped; nothing of it is committed."""


@dataclass(slots=True)
class _Out:
    """The messages of one chunk that agents have not acknowledged yet."""

    pending: set[int]
    done: asyncio.Future[None]
    messages: list[ConsumerMessage]


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
            chunk: what to hand out.
            whole: as one value (a chunked topic), or message by message.
            generation: Faust's consumer generation; streams skip messages of another one.

        Raises:
            Abandoned: the worker is stopping and no agent had begun.
        """
        tp = TP(chunk.topic, chunk.partition.number)
        values = [(chunk, chunk.size)] if whole else list(_payloads(chunk))
        if not values:
            return
        messages = [self._message(tp, value, size, chunk, generation) for value, size in values]
        out = _Out({message.offset for message in messages}, asyncio.get_running_loop().create_future(), messages)
        self._out[tp] = out
        for message in messages:
            self.queue.put_nowait((tp, message))
        try:
            await out.done
        finally:
            del self._out[tp]

    def _message(self, tp: TP, value: Any, size: int, chunk: Chunk, generation: int) -> ConsumerMessage:
        offset = self._offsets[tp] = self._offsets.get(tp, 0) + 1
        return ConsumerMessage(
            topic=tp.topic,
            partition=tp.partition,
            offset=offset,
            timestamp=chunk.entries[-1].ms / 1000,
            timestamp_type=0,
            headers=None,
            key=None,
            value=value,
            checksum=None,
            serialized_key_size=0,
            serialized_value_size=size,
            tp=tp,
            generation_id=generation,
        )

    def on_message_out(self, tp: TP, offset: int, message: Message) -> None:
        """Faust: the last stream is done with a message."""
        out = self._out.get(tp)
        if out is None:
            return
        out.pending.discard(offset)
        if not out.pending and not out.done.done():
            out.done.set_result(None)

    def abandon(self, *, begun: bool) -> None:
        """Give up on chunks that no agent has begun, or with ``begun`` on all that are out."""
        for out in self._out.values():
            if not out.done.done() and (begun or not any(message.tracked for message in out.messages)):
                out.done.set_exception(Abandoned())


def _payloads(chunk: Chunk) -> list[tuple[bytes, int]]:
    found = []
    for entry in chunk.entries:
        payloads = entry.payload.split(b"\n") if entry.packed else [entry.payload]
        found += [(payload, len(payload)) for index, payload in enumerate(payloads) if index not in entry.skipped]
    return found
