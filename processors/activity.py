"""The agent that turns events into results: one pass over a partition's events, in their order.

Windows, voice and XP are one pass because they meet: messages and voice share a member's level and
daily cap, and the order between them must not depend on how the input was cut into chunks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final

import orjson

from guildstream.clock import Clock
from guildstream.codec import EventReader, UnknownType
from guildstream.errors import InvalidEvent
from guildstream.events import Event
from guildstream.results import Results, encode_results
from guildstream.settings import Settings
from processors.boards import drop_boards, write_boards
from processors.erasure import name_erased, purge
from processors.rules.options import RuleOptions
from processors.rules.partition import Outcome, PartitionRules
from processors.rules.tables import TABLE_SPECS, Tables
from processors.transport import Chunk, ChunkEntry, CommitRange, KeyedState, Partition

__all__ = ["EVENTS", "STATES", "Activity", "dropped_ranges", "rule_options"]

EVENTS: Final = "events"
#: Un-emitted window rows in memory beyond which an early pane comes at once.
_PENDING_ROWS: Final = 20_000

#: The position of each entry's first event, its events, and whether it is a dead letter that comes again.
_Decoded = list[tuple[int, Sequence[Event | None], bool]]

STATES: Final = tuple(KeyedState(spec.name, spec.encode, spec.decode, spec.preload) for spec in TABLE_SPECS)

_COUNTERS: Final = {
    Outcome.ACCEPTED: "accepted",
    Outcome.DUPLICATE: "duplicate",
    Outcome.SUPERSEDED: "superseded",
    Outcome.HEARTBEAT: "heartbeat",
    Outcome.ERASED: "erased",
    Outcome.ERASURE: "accepted",
}


def rule_options(settings: Settings) -> RuleOptions:
    """What a deployment's settings say to the rules."""
    return RuleOptions(
        window_ms=settings.window_seconds * 1000,
        grace_ms=int(settings.grace_seconds * 1000),
        reaction_memory_ms=settings.reaction_memory_days * 86_400_000,
        purge_ms=settings.purge_days * 86_400_000,
        erasure_key=blake2b(settings.erasure_key.get_secret_value().encode(), digest_size=32).digest(),
    )


@dataclass(slots=True)
class _Work:
    """What one partition has done since its last commit; thrown away by a rollback."""

    rules: PartitionRules
    reader: EventReader
    shown_at: float
    ready: bool = False
    dropped: list[int] = field(default_factory=list)
    expiring: set[tuple[int, str]] = field(default_factory=set)


class Activity:
    """Applies the rules to chunks, and drains them into each commit.

    Args:
        settings: windows, grace, panes and the partition count.
        clock: decides when early panes are shown, never what they sum up to.
    """

    def __init__(self, settings: Settings, clock: Clock) -> None:
        self._clock = clock
        self._partitions = settings.partitions
        self._early_seconds = settings.early_pane_seconds
        self._options = rule_options(settings)

    async def process(self, chunk: Chunk) -> None:
        """Apply a chunk.

        Raises:
            redis.RedisError: state could not be read; the transport reads the partition again.
        """
        partition = chunk.partition
        work = partition.local(self._begin)
        if not work.ready:
            await partition.prefetch(work.rules.initial_keys())
            work.ready = True
        decoded: _Decoded = [
            (entry.position, self._decode(chunk, entry, work), entry.requeued is not None) for entry in chunk.entries
        ]
        flat = [event for _, events, _ in decoded for event in events if event]
        for keys in work.rules.rounds(flat):
            await partition.prefetch(keys)
        await name_erased(partition, work.rules, flat)
        for guild_id in work.rules.purges():
            await purge(partition, work.rules, guild_id, chunk.entries[0].position)
        await self._apply(partition, work, decoded)

    async def _apply(self, partition: Partition, work: _Work, decoded: _Decoded) -> None:
        """Apply events in order, and note those that are dropped."""
        counts = dict.fromkeys(_COUNTERS, 0)
        removed = work.rules.removed
        apply, dropped, accepted = work.rules.apply, work.dropped, Outcome.ACCEPTED
        for position, events, requeued in decoded:
            for index, event in enumerate(events):
                if event is None:
                    dropped.append(position + index)
                    continue
                if removed and event.guild_id in removed and work.rules.outlives(event):
                    await purge(partition, work.rules, int(event.guild_id or 0), position + index)
                outcome = apply(event) if not requeued else apply(event, requeued=True)
                counts[outcome] += 1
                if outcome is accepted:
                    continue
                if outcome is Outcome.ERASURE:
                    work.rules.place_erasure(position + index)
                else:
                    dropped.append(position + index)
        for outcome, count in counts.items():
            partition.count(_COUNTERS[outcome], count)

    def before_commit(self, partition: Partition, ranges: Mapping[str, CommitRange]) -> None:
        """Drain the rules into the commit: one results entry, boards and notices."""
        work = partition.made(self._begin)
        if work is None:
            return
        now = self._clock.monotonic()
        early = now - work.shown_at >= self._early_seconds or work.rules.pending_rows > _PENDING_ROWS
        drained = work.rules.drain(early=early)
        if early:
            work.shown_at = now
        if work.rules.pending_rows:
            partition.want_commit(work.shown_at + self._early_seconds)
        covered = ranges[EVENTS]
        results = Results(
            partition=partition.number,
            commit=covered.commit,
            after_id=covered.after_id,
            last_id=covered.last_id,
            first_position=covered.position,
            positions=covered.count,
            dropped=dropped_ranges(work.dropped, covered.position),
            activity=drained.activity,
            sessions=drained.sessions,
            awards=drained.awards,
            totals=drained.totals,
            commands=drained.commands,
            flow=drained.flow,
            gaps=drained.gaps,
            participants=drained.participants,
            settings=drained.settings,
            erased=[[*row[:3], row[3] - covered.position, *row[4:]] for row in drained.erased],
        )
        work.dropped.clear()
        for name, count in drained.counters.items():
            partition.count(name, count)
        partition.send("results", {b"r": encode_results(results)}, record="results_id")
        for notice in drained.notices:
            partition.send("notices", {b"n": orjson.dumps(notice)})
        drop_boards(partition, drained.erased_guilds, self._clock.now_ms())
        write_boards(partition, drained.boards, self._clock.now_ms(), work.expiring)

    def _begin(self, partition: Partition) -> _Work:
        tables = Tables(**{state.name: partition.table(state) for state in STATES})
        return _Work(
            rules=PartitionRules(tables, self._options),
            reader=EventReader(self._partitions, partition.number),
            shown_at=self._clock.monotonic(),
        )

    def _decode(self, chunk: Chunk, entry: ChunkEntry, work: _Work) -> list[Event] | list[Event | None]:
        """The events of an entry, None in the place of those that are not to be applied."""
        if entry.packed and not entry.skipped:
            events = work.reader.read_lines(entry.payload, entry.ms)
            if events is not None and len(events) == entry.count:
                return events
        payloads = entry.payload.split(b"\n") if entry.packed else [entry.payload]
        return [
            None if index in entry.skipped else _decode_one(chunk, entry, index, payload, work.reader)
            for index, payload in enumerate(payloads)
        ]


def _decode_one(chunk: Chunk, entry: ChunkEntry, index: int, payload: bytes, reader: EventReader) -> Event | None:
    partition = chunk.partition
    try:
        return reader.read(payload, entry.ms)
    except UnknownType:
        partition.count("unknown")
    except InvalidEvent as error:
        partition.count("invalid")
        partition.dead_letter(
            chunk.topic,
            entry.id,
            entry.index + index,
            payload,
            reason=error.reason,
            detail=error.detail,
            origin=entry.origin,
        )
    return None


def dropped_ranges(positions: list[int], first: int) -> list[tuple[int, int]]:
    """Rising positions as half-open ranges relative to ``first``."""
    found: list[tuple[int, int]] = []
    start = stop = -1
    for position in positions:
        relative = position - first
        if relative != stop:
            if stop > start:
                found.append((start, stop))
            start = relative
        stop = relative + 1
    if stop > start >= 0:
        found.append((start, stop))
    return found
