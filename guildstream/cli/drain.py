"""Waiting until what was published is committed by the processor and loaded by the sink."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

import redis

from guildstream.deployment import Deployment
from guildstream.keys import Keys
from guildstream.replay.backlog import read_progress
from guildstream.replay.outcome import LoadWatch, count_reasons, last_ids, read_counters
from guildstream.replay.writer import StreamId
from guildstream.supervisor import Supervisor

__all__ = ["Drain", "DrainOutcome", "DrainProgress"]

_POLL_SECONDS: Final = 0.1


class DrainProgress(NamedTuple):
    """Events since the replay began, heartbeats included.

    Attributes:
        processed: committed by the processor.
        loaded: in PostgreSQL.
    """

    processed: int
    loaded: int


@dataclass(slots=True)
class DrainOutcome:
    """What became of the events.

    Attributes:
        drained: whether all is in PostgreSQL.
        outcomes: events by outcome, as the processor counts them.
        reasons: dead letters by reason.
    """

    drained: bool = False
    outcomes: Counter[str] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)


class Drain:
    """Follows one replay through the pipeline.

    Args:
        client: Redis.
        keys: names.
        deployment: whose pipeline.
        dsn: PostgreSQL.
        pause: waits for so many seconds; true to stop.
    """

    def __init__(
        self, client: redis.Redis, keys: Keys, deployment: Deployment, dsn: str, *, pause: Callable[[float], bool]
    ) -> None:
        self.supervisor: Supervisor | None = None
        self._client = client
        self._keys = keys
        self._partitions = range(deployment.partitions)
        self._watch = LoadWatch(dsn, deployment)
        self._pause = pause
        self._base = DrainProgress(0, 0)
        self._last = DrainProgress(0, 0)
        self._counters: Counter[str] = Counter()
        self._dead: dict[int, StreamId] = {}

    def close(self) -> None:
        """Close the connection to PostgreSQL."""
        self._watch.close()

    def catch_up(self) -> None:
        """Wait until entries that were there before are processed, then note where everything stands.

        What an interrupted replay left behind would else be counted as this one's.
        """
        before = last_ids(self._client, {number: self._keys.partition(number).events for number in self._partitions})
        while not self._committed(before) and not self._pause(_POLL_SECONDS):
            self._check()
        self._base = self._read()
        self._counters = read_counters(self._client, self._keys, len(self._partitions))
        self._dead = last_ids(self._client, {number: self._keys.partition(number).dead for number in self._partitions})

    def progress(self) -> DrainProgress:
        """How far the pipeline has come since ``catch_up``; raises if a component failed for good."""
        self._check()
        now = self._read()
        self._last = DrainProgress(now.processed - self._base.processed, now.loaded - self._base.loaded)
        return self._last

    def finish(self, targets: Mapping[int, StreamId], *, tick: Callable[[], None]) -> DrainOutcome:
        """Wait until all that was published is in PostgreSQL."""
        while not (self._committed(targets) and self._loaded(targets)):
            tick()
            self._check()
            if self._pause(_POLL_SECONDS):
                return DrainOutcome()
        outcomes = read_counters(self._client, self._keys, len(self._partitions))
        outcomes.subtract(self._counters)
        return DrainOutcome(
            drained=True, outcomes=outcomes, reasons=count_reasons(self._client, self._keys, self._dead)
        )

    def _check(self) -> None:
        if self.supervisor is not None:
            self.supervisor.check()

    def _committed(self, targets: Mapping[int, StreamId]) -> bool:
        progress = read_progress(self._client, self._keys, self._partitions)
        return all(progress[partition].committed >= target for partition, target in targets.items())

    def _loaded(self, targets: Mapping[int, StreamId]) -> bool:
        return self._watch.refresh() and self._watch.has_loaded(targets)

    def _read(self) -> DrainProgress:
        progress = read_progress(self._client, self._keys, self._partitions)
        self._watch.refresh()
        return DrainProgress(sum(part.positions for part in progress.values()), self._watch.positions)
