"""Turns what waits in Redis into batches that continue exactly where each partition ends."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Mapping

from guildstream import metrics
from guildstream.errors import StreamDamaged
from guildstream.results import Results, decode_results, encode_results
from sinks.batch import Batch
from sinks.offsets import Offset, check_continues, check_not_rewound
from sinks.reader import ResultsStreams

__all__ = ["Preparation", "StoppedPartitions"]

_log = logging.getLogger("guildstream.sink")

_Item = tuple[int, Offset, str, Results]


class StoppedPartitions:
    """Partitions whose streams are damaged, and why. They stay stopped until the sink is started again."""

    def __init__(self) -> None:
        self.reasons: dict[int, str] = {}

    def __contains__(self, partition: int) -> bool:
        return partition in self.reasons

    def stop(self, partition: int, reason: object) -> None:
        """Stop a partition loudly; nothing of it is loaded any more."""
        if partition not in self.reasons:
            self.reasons[partition] = str(reason)
            metrics.SINK_DAMAGED.set(len(self.reasons))
            _log.error("partition %d is stopped: %s", partition, reason, extra={"partition": partition})


class Preparation:
    """Reads ahead of the loads. One thread uses it.

    Args:
        streams: where results and events are read.
        offsets: up to where each partition is loaded.
        stopped: partitions to leave alone; damaged ones are added.
        batch_events: about how many events a batch covers; one results entry may exceed it.
        store_events: whether batches carry rows of ``guildstream.events``.
    """

    def __init__(
        self,
        streams: ResultsStreams,
        offsets: Mapping[int, Offset],
        stopped: StoppedPartitions,
        *,
        batch_events: int,
        store_events: bool,
    ) -> None:
        self._streams = streams
        self._offsets = dict(offsets)
        self._read = {partition: offset.results_id for partition, offset in offsets.items()}
        self._waiting: dict[int, deque[tuple[str, bytes]]] = {partition: deque() for partition in offsets}
        self._stopped = stopped
        self._batch_events = batch_events
        self._store_events = store_events

    @property
    def is_over(self) -> bool:
        """Whether every partition is stopped, so that nothing is read any more."""
        return all(partition in self._stopped for partition in self._offsets)

    def next_batch(self, *, block_ms: int | None, careful: bool = False) -> Batch | None:
        """The next batch, or None where nothing waits.

        Args:
            block_ms: how long to wait in Redis for results; None: not at all.
            careful: one results entry only, each event's ``data`` rewritten so that PostgreSQL takes it.

        Raises:
            RedisUnavailable: Redis is away; prepare again from the offsets in PostgreSQL.
            ConfigError: results of another release.
        """
        self._fill(block_ms)
        chosen = self._choose(1 if careful else None)
        ranges = [(partition, results.after_id, results.last_id) for partition, _, _, results in chosen]
        entries = self._streams.events(ranges) if ranges else []
        batch = Batch(store_events=self._store_events, careful=careful)
        for (partition, _, results_id, results), covered in zip(chosen, entries, strict=True):
            if partition in self._stopped:
                continue
            try:
                offset = batch.add(partition, self._offsets[partition], results_id, results, covered)
            except StreamDamaged as error:
                self._stopped.stop(partition, error)
            else:
                self._offsets[partition] = offset
        return batch if batch.results else None

    def check_commits(self, commits: Mapping[int, int]) -> None:
        """Stop partitions whose last commit in Redis lies before what was read of them."""
        for partition, offset in self._offsets.items():
            try:
                check_not_rewound(partition, offset, commits[partition])
            except StreamDamaged as error:
                self._stopped.stop(partition, error)

    def _fill(self, block_ms: int | None) -> None:
        """Read more for the partitions that have nothing waiting; wait only if none has anything."""
        hungry = {
            partition: last
            for partition, last in self._read.items()
            if not self._waiting[partition] and partition not in self._stopped
        }
        if not hungry:
            return
        active = sum(partition not in self._stopped for partition in self._read)
        found = self._streams.read(hungry, block_ms=block_ms if len(hungry) == active else None)
        for partition, entries in found.items():
            self._waiting[partition].extend(entries)
            self._read[partition] = entries[-1][0]

    def _choose(self, limit: int | None) -> list[_Item]:
        """Entries for one batch, partitions taking turns so that none waits for another."""
        chosen: list[_Item] = []
        offsets = dict(self._offsets)
        events = 0
        turns = deque(partition for partition, waiting in self._waiting.items() if waiting)
        while turns and events < self._batch_events and (limit is None or len(chosen) < limit):
            partition = turns.popleft()
            if partition in self._stopped:
                continue
            item = self._take(partition, offsets[partition])
            if item is not None and item[3].erased and any(partition == its[0] for its in chosen):
                # What it makes forgotten must be loaded before it.
                self._waiting[partition].appendleft((item[2], encode_results(item[3])))
            elif item is not None:
                chosen.append(item)
                _, before, results_id, results = item
                offsets[partition] = before.after(results_id, results)
                events += results.positions
                if self._waiting[partition]:
                    turns.append(partition)
        return chosen

    def _take(self, partition: int, offset: Offset) -> _Item | None:
        results_id, payload = self._waiting[partition].popleft()
        results = decode_results(payload)
        try:
            check_continues(partition, offset, results_id, results)
        except StreamDamaged as error:
            self._stopped.stop(partition, error)
            return None
        return partition, offset, results_id, results
