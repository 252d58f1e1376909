"""One pair of connections at work: prepare, load, trim."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import Final

import psycopg

from guildstream import metrics
from guildstream.clock import SYSTEM_CLOCK
from guildstream.errors import GuildstreamError
from sinks.background import LoadThread
from sinks.batch import Batch
from sinks.loader import Loader
from sinks.offsets import stream_id
from sinks.partitions import partitions_ahead
from sinks.preparation import Preparation, StoppedPartitions
from sinks.reader import ResultsStreams

__all__ = ["Care", "RowsRefusedError", "Session"]

_BLOCK_MS: Final = 250
_CHORES_SECONDS: Final = 2.0
#: What PostgreSQL says of rows that it refuses as they are.
_REFUSALS: Final = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)


class RowsRefusedError(GuildstreamError):
    """PostgreSQL refused rows of a batch; it is prepared again with care."""


class Care:
    """Remembers which results PostgreSQL refused, until they are loaded with care or their partition is stopped."""

    def __init__(self, stopped: StoppedPartitions) -> None:
        self._stopped = stopped
        self._until: dict[int, int] = {}

    @property
    def needed(self) -> bool:
        """Whether the next batch must be prepared with care."""
        return bool(self._until)

    def refused(self, batch: Batch, error: psycopg.Error) -> None:
        """A batch was refused: take care up to its end, or give its partition up where that was done already."""
        if batch.careful:
            for partition in batch.after:
                self._stopped.stop(partition, f"PostgreSQL refuses results after {batch.before[partition]}: {error}")
                self._until.pop(partition, None)
        else:
            self._until.update({partition: offset.commit for partition, offset in batch.after.items()})

    def loaded(self, batch: Batch) -> None:
        """A batch was loaded."""
        for partition, offset in batch.after.items():
            if offset.commit >= self._until.get(partition, 0):
                self._until.pop(partition, None)


class Session:
    """Loads until something fails; everything it knows can be read again from PostgreSQL.

    Args:
        streams: results in Redis.
        loader: rows into PostgreSQL.
        preparation: what makes batches.
        care: outlives the session.
        check_redis: makes sure that Redis still holds what it held, however its client came back to it.
    """

    def __init__(
        self,
        streams: ResultsStreams,
        loader: Loader,
        preparation: Preparation,
        care: Care,
        check_redis: Callable[[], None],
    ) -> None:
        self._streams = streams
        self._loader = loader
        self._preparation = preparation
        self._care = care
        self._check_redis = check_redis
        self._chores_due = 0.0

    def work(self, stop: threading.Event, *, on_progress: Callable[[], None]) -> None:
        """Load until ``stop`` is set; the batch at hand is finished. Blocks.

        Args:
            stop: set to end.
            on_progress: called after each batch.

        Raises:
            OffsetsMovedError: another sink was faster.
            RowsRefusedError: rows were refused; ``care`` knows.
            RedisUnavailable: Redis is away.
            StreamDamaged: Redis holds another deployment now.
            psycopg.Error: as the server says.
        """
        loading: tuple[Batch, Future[None]] | None = None
        with LoadThread() as thread:
            while True:
                self._do_chores(idle=loading is None)
                block_ms = _BLOCK_MS if loading is None else None
                batch = None
                if not stop.is_set():
                    batch = self._preparation.next_batch(block_ms=block_ms, careful=self._care.needed)
                if loading is not None:
                    self._settle(*loading)
                    on_progress()
                    loading = None
                if batch is not None:
                    loading = batch, thread.submit(partial(self._loader.load, batch))
                elif stop.is_set():
                    return
                elif self._preparation.is_over:
                    stop.wait(_BLOCK_MS / 1000)

    def _settle(self, batch: Batch, future: Future[None]) -> None:
        """Wait for a load, then say in Redis what is done with."""
        try:
            future.result()
        except _REFUSALS as error:
            self._care.refused(batch, error)
            raise RowsRefusedError(f"PostgreSQL refused rows: {error}") from error
        self._care.loaded(batch)
        self._streams.done(batch.after)
        newest_ms = max(stream_id(offset.events_id)[0] for offset in batch.after.values())
        metrics.SINK_FRESHNESS_SECONDS.set(max(0.0, (SYSTEM_CLOCK.now_ms() - newest_ms) / 1000))

    def _do_chores(self, *, idle: bool) -> None:
        """Checks, the lag as a metric, and partitions for the next days while the connection is free."""
        if time.monotonic() < self._chores_due:
            return
        self._chores_due = time.monotonic() + _CHORES_SECONDS
        self._check_redis()
        if idle:
            self._loader.make_partitions(partitions_ahead(SYSTEM_CLOCK.now_ms()))
        for number, length in self._streams.lengths().items():
            metrics.SINK_LAG_ENTRIES.labels(partition=str(number)).set(length)
