"""Events on their way to Redis: a bounded queue, one thread that packs and sends, and the spool.

Order is kept from ``put`` to the stream: one batch is in flight at a time, what Redis refused is
sent again before anything newer, and while the spool holds something everything newer waits behind
it. A reply that was lost makes an entry twice; readers drop the second by ``(session, seq, part)``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from guildstream import metrics
from guildstream.keys import Keys
from guildstream.publisher.batches import Batch, pack_records
from guildstream.publisher.pressure import MemoryGauge
from guildstream.publisher.spool import Record, Spool, SpoolFull
from guildstream.publisher.wire import Command, StreamWriter

__all__ = ["Outbox", "OutboxCounts"]

_log = logging.getLogger("guildstream.publisher")

_BATCH_RECORDS: Final = 4_000
_BATCH_BYTES: Final = 2 * 1024 * 1024
#: What an event costs in memory besides its payload.
_RECORD_OVERHEAD_BYTES: Final = 200
_TICK_SECONDS: Final = 0.5
_MAX_BACKOFF_SECONDS: Final = 2.0


@dataclass(slots=True)
class OutboxCounts:
    """What became of events, since this process began.

    Attributes:
        accepted: taken by ``put``.
        sent: acknowledged by Redis, those that an earlier process left in the spool included.
        spooled: written to the spool.
        entries: stream entries acknowledged.
        errors: writes to Redis that failed.
        lost: given up at the end because neither Redis nor a spool took them.
    """

    accepted: int = 0
    sent: int = 0
    spooled: int = 0
    entries: int = 0
    errors: int = 0
    lost: int = 0


class Outbox:
    """Sends events to their partitions' streams from a thread of its own.

    ``put`` never blocks and never raises. It never refuses either: whoever puts looks at
    ``congested`` and holds back, or refuses at its own door.

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``.
        keys: the deployment's key names.
        partitions: P.
        spool: where events wait while Redis is away; without one they wait in memory.
        max_queue_bytes: ``congested`` from here on.
        timeout_seconds: how long a reply may take before Redis counts as away.
        linger_seconds: how long a first event waits for others to share its entry.
        compress: entries in zstd.
        memory_slow: part of Redis' memory limit above which sending slows down.
        memory_stop: and above which nothing is sent: events wait as if Redis were away.
        ticker: called from the thread about every half second.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        keys: Keys,
        partitions: int,
        spool: Spool | None = None,
        max_queue_bytes: int = 16 * 1024 * 1024,
        timeout_seconds: float = 5.0,
        linger_seconds: float = 0.01,
        compress: bool = False,
        memory_slow: float = 0.75,
        memory_stop: float = 0.9,
        ticker: Callable[[], None] | None = None,
    ) -> None:
        self.counts = OutboxCounts()
        self._writer = StreamWriter(redis_url, keys, partitions, timeout_seconds=timeout_seconds)
        self._gauge = MemoryGauge(self._writer.memory_use, slow=memory_slow, stop=memory_stop)
        self._spool = spool
        self._max_queue_bytes = max_queue_bytes
        self._linger_seconds = linger_seconds
        self._compress = compress
        self._ticker = ticker
        self._queue: deque[Record | Command] = deque()
        self._lock = threading.Lock()
        self._put_bytes = 0
        self._taken_bytes = 0
        self._batch: Batch | None = None
        self._failures = 0
        self._retry_at = 0.0
        self._full = False
        self._tried_last = False
        self._taking = False
        self._noted_problem = ""
        self._signaled = False
        self._wake = threading.Event()
        self._closing = threading.Event()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="guildstream-outbox", daemon=True)

    @property
    def congested(self) -> bool:
        """Whether the queue has reached its bound: Redis is away or slow, and the spool full or absent."""
        return self._put_bytes - self._taken_bytes >= self._max_queue_bytes

    @property
    def away(self) -> bool:
        """Whether the last write to Redis failed, or Redis is too full to try."""
        return self._failures > 0 or self._gauge.was_stopped

    @property
    def idle(self) -> bool:
        """Whether everything put so far is in Redis."""
        # Read in this order, it never misses what is on its way from the queue into a batch.
        return (
            not self._queue and not self._taking and self._batch is None and (self._spool is None or self._spool.empty)
        )

    def start(self) -> None:
        """Begin to send, what an earlier process left in the spool first."""
        self._thread.start()

    def put(self, partition: int, source: bytes, payload: bytes) -> None:
        """Take an event. Events of one source and partition arrive in the order of these calls."""
        with self._lock:
            self._queue.append(Record(partition, source, payload))
            self._put_bytes += len(payload) + _RECORD_OVERHEAD_BYTES
            self.counts.accepted += 1
        if not self._signaled:
            self._signaled = True
            self._wake.set()

    def note(self, command: Command) -> None:
        """Run a command once Redis has acknowledged everything put before; forgotten if Redis is away then."""
        self._queue.append(command)

    def close(self, timeout_seconds: float = 10.0) -> bool:
        """Send what is left, or leave it in the spool if Redis fails once more. Blocks.

        Returns:
            Whether nothing was lost: all of it is in Redis or in the spool.
        """
        self._deadline = time.monotonic() + timeout_seconds
        self._closing.set()
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds + 6.0)
        return self.counts.lost == 0

    def _run(self) -> None:
        next_tick = time.monotonic()
        while not self._finished():
            self._wake.wait(_TICK_SECONDS if not self._pending() else 0.02)
            self._signaled = False
            self._wake.clear()
            if self._linger_seconds:
                self._closing.wait(self._linger_seconds)
            if self._ticker is not None and time.monotonic() >= next_tick:
                next_tick = time.monotonic() + _TICK_SECONDS
                self._ticker()
            try:
                while self._step():
                    pass
            except Exception as error:  # noqa: BLE001  # this thread must outlive whatever happens to a batch
                self._back_off(error)
                _log.exception("a batch of events could not be sent, it will be tried again")
        self._end()

    def _pending(self) -> bool:
        return self._batch is not None or not (self._spool is None or self._spool.empty)

    def _finished(self) -> bool:
        if not self._closing.is_set():
            return False
        spooling = self._spool is not None and self._tried_last
        return self.idle or spooling or time.monotonic() >= self._deadline

    def _step(self) -> bool:
        """One batch, or one move to the spool. Whether to go on at once."""
        if self._batch is None:
            self._taking = True
            try:
                self._batch = self._next_batch()
            finally:
                self._taking = False
            if self._batch is None:
                return False
        last_try = self._closing.is_set() and not self._tried_last
        if not last_try and (time.monotonic() < self._retry_at or self._gauge.stopped):
            return self._spill()
        batch = self._batch
        began = time.monotonic()
        refused, error = self._writer.send(batch.entries)
        self.counts.entries += len(batch.entries) - len(refused)
        metrics.ENTRIES_PUBLISHED.inc(len(batch.entries) - len(refused))
        if error is not None:
            self._tried_last = last_try
            batch.entries = refused
            self._back_off(error)
            return self._spill()
        metrics.PUBLISH_SECONDS.observe(time.monotonic() - began)
        self._batch = None
        self._acknowledge(batch)
        self._closing.wait(self._gauge.pause_seconds)
        return True

    def _next_batch(self) -> Batch | None:
        """What to send next: from the spool as long as it holds anything, then from the queue."""
        if self._spool is not None and not self._spool.empty:
            records: Sequence[Record] = self._spool.read(_BATCH_RECORDS)
            metrics.SPOOL_BYTES.set(self._spool.bytes)
            if records:
                return Batch(records, pack_records(records, compress=self._compress), from_spool=True)
        records, notes = self._take()
        if not records and not notes:
            return None
        return Batch(records, pack_records(records, compress=self._compress), notes)

    def _take(self) -> tuple[list[Record], list[Command]]:
        records: list[Record] = []
        notes: list[Command] = []
        size = 0
        queue = self._queue
        while queue and len(records) < _BATCH_RECORDS and size < _BATCH_BYTES:
            item = queue.popleft()
            if isinstance(item, Record):
                records.append(item)
                size += len(item.payload) + _RECORD_OVERHEAD_BYTES
            else:
                notes.append(item)
        self._taken_bytes += size
        metrics.EVENTS_IN.inc(len(records))
        metrics.PUBLISH_PENDING.set(self.counts.accepted - self.counts.sent)
        return records, notes

    def _acknowledge(self, batch: Batch) -> None:
        if self._failures:
            _log.info("Redis takes events again", extra={"failures": self._failures})
        self._failures, self._retry_at = 0, 0.0
        self.counts.sent += len(batch.records)
        metrics.EVENTS_PUBLISHED.inc(len(batch.records))
        if batch.notes:
            problem = str(self._writer.run(batch.notes) or "")
            if problem and problem != self._noted_problem:
                _log.warning("what is kept beside the events could not be stored, it will be tried again: %s", problem)
            self._noted_problem = problem

    def _back_off(self, error: Exception) -> None:
        self.counts.errors += 1
        metrics.PUBLISH_ERRORS.inc()
        if not self._failures:
            place = "in memory" if self._spool is None else "in the spool"
            _log.warning("Redis does not take events, they wait %s: %s", place, error)
        self._failures += 1
        pause = min(_MAX_BACKOFF_SECONDS, 0.05 * 2 ** min(self._failures, 10))
        self._retry_at = time.monotonic() + pause * random.uniform(0.5, 1.0)  # noqa: S311  # jitter

    def _spill(self) -> bool:
        """While Redis is away: move what waits in memory to the spool. Whether to go on at once."""
        if self._spool is None:
            return False
        batch = self._batch
        waiting = list(batch.records) if batch is not None and not batch.from_spool else []
        taken, _ = self._take()
        if not waiting and not taken:
            return False
        try:
            self._spool.append(waiting + taken)
        except SpoolFull as full:
            self._queue.extendleft(reversed(taken))
            self._taken_bytes -= sum(len(record.payload) + _RECORD_OVERHEAD_BYTES for record in taken)
            if not self._full:
                self._full = True
                _log.error("%s; publishers are held back until Redis takes events again", full)
            return False
        self._full = False
        if waiting:
            self._batch = None
        self.counts.spooled += len(waiting) + len(taken)
        metrics.SPOOL_BYTES.set(self._spool.bytes)
        return bool(self._queue)

    def _end(self) -> None:
        """At the end of the thread: what Redis didn't take goes to the spool, or is lost and counted."""
        while self._queue or (self._batch is not None and not self._batch.from_spool):
            before = len(self._queue), self._batch
            self._spill()
            if (len(self._queue), self._batch) == before:
                break
        lost = sum(isinstance(item, Record) for item in self._queue)
        if self._batch is not None and not self._batch.from_spool:
            lost += len(self._batch.records)
        if lost:
            self.counts.lost = lost
            metrics.EVENTS_DROPPED.labels(reason="closed").inc(lost)
            _log.error("%d events are lost: Redis is away and no spool took them", lost)
        self._writer.close()
        if self._spool is not None:
            self._spool.close()
