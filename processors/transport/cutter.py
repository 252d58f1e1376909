"""Cuts what was read ahead into chunks, and finds the event that agents raise on."""

from __future__ import annotations

import math
import traceback
from dataclasses import dataclass, field

from guildstream.errors import InvalidEvent
from processors.transport.chunk import Chunk, ChunkEntry
from processors.transport.offsets import Position, stream_order
from processors.transport.options import TransportOptions
from processors.transport.partition import Partition
from processors.transport.reader import ReadEntry, StreamBuffer

__all__ = ["ChunkCutter", "TopicCursor"]


@dataclass(slots=True)
class TopicCursor:
    """One topic of a partition.

    Attributes:
        name: the topic.
        buffer: what was read ahead.
        read: handed out up to here.
        committed: committed, or being committed, up to here.
        durable_id: the last entry whose commit is known to be applied.
        shared: whether other consumers read it too, so that trimming waits for them.
    """

    name: str
    buffer: StreamBuffer
    read: Position = field(default_factory=Position)
    committed: Position = field(default_factory=Position)
    durable_id: str = "0-0"
    shared: bool = False

    def restart(self, position: Position) -> None:
        """Go on from a committed position; the buffer is the reader's to restart."""
        self.committed = position
        self.durable_id = position.last_id
        self.read = position.copy()


class ChunkCutter:
    """Makes the chunks of one partition, topics taking turns.

    Entries stay whole, but for one case: where an agent raised on a chunk, that range is handed out
    again one payload at a time, so that the one to blame is found and only that one put aside.
    """

    def __init__(self, partition: Partition, topics: dict[str, TopicCursor], options: TransportOptions) -> None:
        self._partition = partition
        self._topics = topics
        self._order = list(topics.values())
        self._options = options
        self._turn = 0
        self._suspects: dict[str, list[tuple[int, int]]] = {}
        #: Of each payload that agents raise on: reason, detail and counter of its dead letter.
        self._poison: dict[tuple[str, int], tuple[str, str, str]] = {}

    @property
    def between_entries(self) -> bool:
        """Whether no entry is handed out in part; commits happen only then."""
        return all(not topic.buffer.entries or topic.buffer.entries[0].taken == 0 for topic in self._order)

    def next_chunk(self) -> Chunk | None:
        """The next run of entries, None where nothing is at hand."""
        for step in range(len(self._order)):
            topic = self._order[(self._turn + step) % len(self._order)]
            if topic.buffer.entries:
                self._turn = (self._turn + step + 1) % len(self._order)
                return self._cut(topic)
        return None

    def blame(self, chunk: Chunk) -> bool:
        """An agent raised on this chunk. After the rollback what is suspect comes one payload at a time.

        Returns:
            Whether the chunk was a single payload, which from now on counts as poison.
        """
        if chunk.count > 1:
            start, stop = chunk.suspects or (chunk.position, chunk.position + chunk.count)
            ranges = self._suspects.setdefault(chunk.topic, [])
            ranges.append((start, stop))
            ranges.sort()
            return False
        detail = "".join(traceback.format_exception(chunk.error)) if chunk.error else ""
        found = ("processing_failed", detail, "poison")
        if isinstance(chunk.error, InvalidEvent):
            # The agent knows what is wrong with the input, and says so.
            found = (chunk.error.reason, f"{chunk.error.detail}\n{detail}", "invalid")
        self._poison[chunk.topic, chunk.position] = found
        return True

    def forget(self, topic: str, position: int) -> None:
        """Everything of a topic below ``position`` is committed."""
        if self._poison:
            self._poison = {key: text for key, text in self._poison.items() if key[0] != topic or key[1] >= position}
        if topic in self._suspects:
            self._suspects[topic] = [found for found in self._suspects[topic] if found[1] > position]

    def _cut(self, topic: TopicCursor) -> Chunk:
        chunk = Chunk(topic.name, self._partition, position=topic.read.payloads)
        entries = topic.buffer.entries
        unsuspected = self._unsuspected(topic)
        if entries[0].taken or entries[0].count > unsuspected:
            self._take_one(topic, chunk)
            return chunk
        limit = min(self._options.chunk_events, unsuspected)
        while entries and (
            not chunk.entries
            or (
                chunk.count + entries[0].count <= limit
                and chunk.size + len(entries[0].payload) <= self._options.chunk_bytes
            )
        ):
            self._take(topic, chunk)
        return chunk

    def _unsuspected(self, topic: TopicCursor) -> float:
        """How many payloads come before the next suspect: none if it is next."""
        position = topic.read.payloads
        ahead = [max(0, start - position) for start, stop in self._suspects.get(topic.name, ()) if position < stop]
        return min(ahead, default=math.inf)

    def _take(self, topic: TopicCursor, chunk: Chunk) -> None:
        entry = topic.buffer.pop()
        chunk.entries.append(
            ChunkEntry(
                id=entry.id,
                ms=stream_order(entry.id)[0],
                payload=entry.payload,
                packed=entry.packed,
                index=0,
                key=entry.key,
                headers=entry.headers,
                requeued=entry.requeued,
                origin=entry.origin,
                count=entry.count,
                position=topic.read.payloads,
                skipped=self._skipped(topic, entry, entry.count),
            )
        )
        chunk.count += entry.count
        chunk.size += len(entry.payload)
        topic.read.payloads += entry.count
        self._pass(topic, entry)

    def _take_one(self, topic: TopicCursor, chunk: Chunk) -> None:
        entry = topic.buffer.entries[0]
        payload = entry.payloads()[entry.taken]
        chunk.entries.append(
            ChunkEntry(
                id=entry.id,
                ms=stream_order(entry.id)[0],
                payload=payload,
                packed=False,
                index=entry.taken,
                key=entry.key,
                headers=entry.headers,
                requeued=entry.requeued,
                origin=entry.origin,
                count=1,
                position=topic.read.payloads,
                skipped=self._skipped(topic, entry, 1),
            )
        )
        chunk.count, chunk.size = 1, len(payload)
        topic.read.payloads += 1
        entry.taken += 1
        if entry.taken == entry.count:
            topic.buffer.pop()
            self._pass(topic, entry)

    @staticmethod
    def _pass(topic: TopicCursor, entry: ReadEntry) -> None:
        topic.read.last_id = entry.id
        topic.read.entries += 1

    def _skipped(self, topic: TopicCursor, entry: ReadEntry, count: int) -> frozenset[int]:
        """Indices not to be processed; each is dead-lettered here, once per handing out."""
        if entry.error is not None:
            self._put_aside(topic, entry, 0, entry.error.reason, entry.error.detail, counter="invalid")
            return frozenset({0})
        if not self._poison:
            return frozenset()
        first = topic.read.payloads
        skipped = [index for index in range(count) if (topic.name, first + index) in self._poison]
        for index in skipped:
            reason, detail, counter = self._poison[topic.name, first + index]
            self._put_aside(topic, entry, entry.taken + index, reason, detail, counter=counter)
        return frozenset(skipped)

    def _put_aside(
        self, topic: TopicCursor, entry: ReadEntry, index: int, reason: str, detail: str, *, counter: str
    ) -> None:
        payload = entry.payloads()[index]
        self._partition.dead_letter(
            topic.name, entry.id, index, payload, reason=reason, detail=detail, origin=entry.origin
        )
        self._partition.count(counter)
