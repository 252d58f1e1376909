"""However a partition is cut into chunks, its entries come in order, once, and only the guilty are put aside."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from processors.transport import Partition, TransportOptions
from processors.transport.chunk import Chunk
from processors.transport.cutter import ChunkCutter, TopicCursor
from processors.transport.offsets import Position
from processors.transport.partition import PartitionNames
from processors.transport.reader import StreamBuffer

#: Entries by the number of payloads in each; 0: an entry that can't be read.
ENTRIES = st.lists(st.integers(0, 7), min_size=1, max_size=12)


@dataclass
class Twin:
    """A partition with a reader, a committer and agents that are plain lists."""

    streams: dict[str, list[int]]
    chunk_events: int
    poison: set[tuple[str, int]] = field(default_factory=set)
    seen: dict[str, list[int]] = field(default_factory=dict)
    kept: dict[str, list[int]] = field(default_factory=dict)
    dead: list[tuple[str, str]] = field(default_factory=list)
    kept_dead: list[tuple[str, str]] = field(default_factory=list)
    committed: dict[str, Position] = field(default_factory=dict)

    def __post_init__(self) -> None:
        options = TransportOptions("redis://", "twin", chunk_events=self.chunk_events, chunk_bytes=10_000)
        self.partition = Partition(0, PartitionNames("{twin:0}"), Any, {})  # type: ignore[arg-type]
        self.topics = {
            name: TopicCursor(name, StreamBuffer(name, "0-0", 10**6, asyncio.Event())) for name in self.streams
        }
        self.cutter = ChunkCutter(self.partition, self.topics, options)
        for name in self.streams:
            self.committed[name], self.seen[name], self.kept[name] = Position(), [], []
        self.roll_back()

    def roll_back(self) -> None:
        """Read all topics again from their committed positions."""
        self.partition.reset()
        self.seen = {name: [] for name in self.streams}
        self.dead = []
        for name, sizes in self.streams.items():
            self.topics[name].restart(self.committed[name].copy())
            self.topics[name].buffer.seek(self.committed[name].last_id)
            position = 0
            found = []
            for number, size in enumerate(sizes, start=1):
                lines = b"\n".join(b"%d" % (position + index) for index in range(size))
                position += max(size, 1)
                if number > self.committed[name].entries:
                    fields = {b"what": b"?"} if size == 0 else {b"e" if size == 1 else b"b": lines}
                    found.append((b"%d-0" % number, fields))
            if found:
                self.topics[name].buffer.extend(found)

    def process(self, chunk: Chunk) -> bool:
        for entry in chunk.entries:
            for index, payload in enumerate(entry.payloads()):
                if index in entry.skipped:
                    continue
                assert int(payload) == entry.position + index
                if (chunk.topic, int(payload)) in self.poison:
                    chunk.fail(ValueError(payload.decode()))
                    return False
                self.seen[chunk.topic].append(int(payload))
        return True

    def commit(self) -> None:
        assert self.cutter.between_entries
        for operation in self.partition.take_operations():
            if operation.command == "XADD":
                fields = dict(zip(operation.args[1::2], operation.args[2::2], strict=True))
                self.kept_dead.append((fields[b"origin"].decode(), fields[b"reason"].decode()))
        for name, topic in self.topics.items():
            self.committed[name] = topic.read.copy()
            topic.committed = topic.read.copy()
            self.kept[name] += self.seen[name]
            self.seen[name] = []
            self.cutter.forget(name, topic.committed.payloads)


@settings(max_examples=150, deadline=None)
@given(entries=ENTRIES, chunk_events=st.integers(1, 12))
def test_chunks_cover_all_entries_in_order(entries: list[int], chunk_events: int) -> None:
    twin = Twin({"a": entries}, chunk_events)
    chunks = []
    while (chunk := twin.cutter.next_chunk()) is not None:
        chunks.append(chunk)
    found = [entry.id for chunk in chunks for entry in chunk.entries]
    assert found == [f"{number}-0" for number in range(1, len(entries) + 1)]
    position = 0
    for chunk in chunks:
        assert chunk.position == position
        assert chunk.count == sum(entry.count for entry in chunk.entries)
        assert chunk.count <= chunk_events or len(chunk.entries) == 1
        position += chunk.count
    assert position == sum(max(size, 1) for size in entries)


@settings(max_examples=250, deadline=None)
@given(
    first=ENTRIES,
    second=st.lists(st.integers(0, 7), max_size=8),
    chunk_events=st.integers(1, 12),
    guilty=st.sets(st.tuples(st.sampled_from("ab"), st.integers(0, 60)), max_size=6),
    commit_every=st.integers(1, 5),
)
def test_only_the_guilty_are_put_aside(
    first: list[int], second: list[int], chunk_events: int, guilty: set[tuple[str, int]], commit_every: int
) -> None:
    streams = {"a": first, "b": second}
    twin = Twin(streams, chunk_events, poison=guilty)
    rounds = 0
    while (chunk := twin.cutter.next_chunk()) is not None:
        rounds += 1
        assert rounds < 5_000, "the search for the guilty does not end"
        if not twin.process(chunk):
            twin.cutter.blame(chunk)
            twin.roll_back()
        elif rounds % commit_every == 0 and twin.cutter.between_entries:
            twin.commit()
    twin.commit()

    good: dict[str, list[int]] = {"a": [], "b": []}
    dead = []
    for name, sizes in streams.items():
        position = 0
        for number, size in enumerate(sizes, start=1):
            origin = f"{{twin:0}}:{name} {number}-0"
            if size == 0:
                dead.append((f"{origin} 0", "no_event_field"))
            for index in range(size):
                if (name, position + index) in guilty:
                    dead.append((f"{origin} {index}", "processing_failed"))
                else:
                    good[name].append(position + index)
            position += max(size, 1)
    assert twin.kept == good
    assert sorted(twin.kept_dead) == sorted(dead)


@settings(max_examples=60, deadline=None)
@given(entries=ENTRIES, chunk_events=st.integers(1, 12), at=st.integers(0, 60))
def test_a_failure_that_names_its_event_costs_only_that_one(entries: list[int], chunk_events: int, at: int) -> None:
    twin = Twin({"a": entries}, chunk_events, poison={("a", at)})
    alone = 0
    while (chunk := twin.cutter.next_chunk()) is not None:
        if not twin.process(chunk):
            chunk.suspects = (at, at + 1)
            twin.cutter.blame(chunk)
            twin.roll_back()
        elif not chunk.entries[0].packed and chunk.entries[0].count == 1:
            alone += 1
    # Only the entry that holds it is taken apart, to find it and to pass over it.
    assert alone <= 2 * (len(entries) + max(entries))
