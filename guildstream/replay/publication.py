"""Publishing sources: read, pack, write, and wait where the pipeline falls behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import redis

from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.codec import MAX_ENTRY_BYTES
from guildstream.connections import connect_redis
from guildstream.keys import Keys
from guildstream.replay.backlog import Backlog, read_progress, redis_is_full
from guildstream.replay.entries import PackCounts
from guildstream.replay.packing import LinePacker
from guildstream.replay.source import DamagedFile, Source, read_lines
from guildstream.replay.writer import EntryWriter, StreamId

__all__ = ["Publication"]

_BATCH_BYTES: Final = 1024 * 1024
_POLL_SECONDS: Final = 0.1


class Publication:
    """One replay's way into Redis. Memory is bounded by a few batches and by the number of sessions.

    Args:
        url: Redis.
        keys: names.
        partitions: P.
        backlog_bytes: what may lie in Redis unconsumed before the publication waits.
        pause: waits for so many seconds; true when the publication should stop.
        tick: called often: after each batch, and while waiting.
        clock: time.
    """

    def __init__(
        self,
        url: str,
        keys: Keys,
        partitions: int,
        *,
        backlog_bytes: int,
        pause: Callable[[float], bool],
        tick: Callable[[], None] = lambda: None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.read_bytes = 0
        self.waiting = False
        self._keys = keys
        self._partitions = partitions
        self._backlog_bytes = backlog_bytes
        self._pause = pause
        self._tick = tick
        self._clock = clock
        self._packer = LinePacker(partitions, clock=clock)
        self._writer = EntryWriter(url, keys, pause=pause, clock=clock)
        self._client: redis.Redis = connect_redis(url, name="guildstream-replay")
        self._backlog = Backlog()
        self._polled = clock.monotonic()

    @property
    def counts(self) -> PackCounts:
        """What was read and packed so far."""
        return self._packer.counts

    @property
    def targets(self) -> dict[int, StreamId]:
        """The last entry written to each partition."""
        return self._backlog.targets

    @property
    def backlog_bytes(self) -> int:
        """Bytes in Redis that the pipeline has not consumed."""
        return self._backlog.size_bytes

    def close(self) -> None:
        """Close the connections."""
        self._writer.close()
        self._client.close()

    def publish(self, sources: Sequence[Source]) -> bool:
        """Publish all lines of the sources in order, and final heartbeats after them.

        What was written stays written when this stops early or dies: a second publication of the same
        lines goes over known ground without effect.

        Returns:
            Whether it came to the end; False when ``pause`` said to stop.

        Raises:
            RedisUnavailable: Redis stayed away for a minute.
            ConfigError: Redis refuses for good.
            DamagedFile: a compressed file is damaged; what came before the damage is published.
        """
        for position, source in enumerate(sources):
            if position:
                self._packer.end_file()
            try:
                if not self._publish_source(source):
                    self._backlog.add(self._writer.settle())
                    return False
            except DamagedFile:
                self._packer.flush()
                self._complete()
                raise
        self._packer.finish()
        self._complete()
        return True

    def _complete(self) -> None:
        self._send()
        self._backlog.add(self._writer.settle())
        self._tick()

    def _publish_source(self, source: Source) -> bool:
        before = self.read_bytes
        self._packer.begin_file(source.digest)
        for lines in read_lines(source, MAX_ENTRY_BYTES):
            self._packer.feed(lines)
            self.read_bytes = before + source.read_bytes
            if source.waits:
                self._packer.flush()
                self._complete()
            elif self._packer.ready_bytes >= _BATCH_BYTES:
                self._send()
            if self._held_back():
                return False
        return True

    def _send(self) -> None:
        if entries := self._packer.take():
            self._backlog.add(self._writer.send(entries))

    def _held_back(self) -> bool:
        """Wait while the pipeline is too far behind; whether to stop."""
        self._tick()
        if self._pause(0):
            return True
        if self._clock.monotonic() - self._polled < _POLL_SECONDS:
            return False
        while self._is_behind():
            self.waiting = True
            self._tick()
            if self._pause(_POLL_SECONDS):
                return True
        self.waiting = False
        return False

    def _is_behind(self) -> bool:
        self._backlog.consume(read_progress(self._client, self._keys, range(self._partitions)))
        self._polled = self._clock.monotonic()
        return self._backlog.size_bytes > self._backlog_bytes or redis_is_full(self._client)
