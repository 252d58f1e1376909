"""Entries into Redis, fast and in order: hand-packed commands, one transaction a batch.

One transaction also means one fsync: a Redis that syncs its log for every write does so once for all
that one EXEC applies, and would do so for each partition else.

redis-py makes the connection (TLS, unix sockets, passwords) and reads the replies; packing a command
by hand costs a seventh of what its command layer does.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError

from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.cluster import ClusterRedis
from guildstream.connections import connect_redis
from guildstream.errors import ConfigError, RedisUnavailable
from guildstream.keys import Keys
from guildstream.replay.entries import Entry

__all__ = ["EntryWriter", "StreamId", "Written", "parse_id"]

_log = logging.getLogger("guildstream.replay")

StreamId = tuple[int, int]

_RETRY_SECONDS: Final = 60.0
#: Replies that mean "not now": out of memory, loading its data, read-only or without enough replicas.
_NOT_NOW: Final = ("OOM", "LOADING", "BUSY", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "TRYAGAIN", "EXECABORT")


_TRANSIENT: Final = (OutOfMemoryError, BusyLoadingError, ReadOnlyError)
#: Up to the field's name, which is always one letter.
_XADD: Final = b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$1\r\n"


class _NotNow(Exception):
    """Redis refused a batch for a reason that passes."""


class Written(NamedTuple):
    """What Redis has acknowledged.

    Attributes:
        partition: where.
        last_id: the id of the last entry.
        size_bytes: the payloads' bytes.
    """

    partition: int
    last_id: StreamId
    size_bytes: int


def parse_id(stream_id: bytes | str | None) -> StreamId:
    """A stream id as numbers, which is how ids compare; (0, 0) for None."""
    if stream_id is None:
        return (0, 0)
    text = stream_id.decode() if isinstance(stream_id, bytes) else stream_id
    first, _, second = text.partition("-")
    return (int(first), int(second or 0))


class EntryWriter:
    """Appends entries to the partitions' event streams.

    A batch is written by one transaction: if Redis refuses, none of it is in, so that no entry can
    overtake another of its partition. When the connection breaks before the reply, the batch is sent
    again and may be in the streams twice; readers drop known events.

    Args:
        url: Redis.
        keys: names.
        pause: waits for so many seconds while Redis is away; true when waiting should end.
        clock: time.
    """

    def __init__(self, url: str, keys: Keys, *, pause: Callable[[float], bool], clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = connect_redis(url, name="guildstream-replay")
        if isinstance(self._client, ClusterRedis):
            msg = (
                "a replay can't write to a Redis Cluster, whose partitions no one transaction covers: replay into a "
                "single Redis (GUILDSTREAM_REDIS_URL=redis://…), or publish the events with guildstream.Publisher"
            )
            raise ConfigError(msg)
        # Typed loosely: redis-py's own annotations of connections are incomplete.
        self._connection: Any = None
        self._keys = keys
        self._pause = pause
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._in_flight: list[Entry] = []

    def close(self) -> None:
        """Close the connection."""
        self._disconnect()
        self._client.close()

    def send(self, entries: Iterable[Entry]) -> list[Written]:
        """Send a batch without waiting for its replies; waits for those of the batch before.

        Returns:
            What the batch before has written.

        Raises:
            RedisUnavailable: Redis stayed away or refused for a minute.
            ConfigError: Redis will never accept it: a key holds something else, no permission.
        """
        written = self.settle()
        self._in_flight = list(entries)
        if self._in_flight:
            self._transmit_or_disconnect()
        return written

    def settle(self) -> list[Written]:
        """Wait for the replies of what was sent. Blocks, repeats what was refused, as ``send`` says."""
        deadline, attempt = self._clock.monotonic() + _RETRY_SECONDS, 0
        while self._in_flight:
            try:
                return self._read_transaction()
            except (redis.ConnectionError, redis.TimeoutError, _NotNow) as error:
                problem = error
            if not isinstance(problem, _NotNow):
                self._disconnect()
            attempt += 1
            if attempt == 1:
                _log.warning("Redis does not take events for now: %s", problem)
            ceiling = min(0.05 * 2**attempt, 2.0)
            if self._pause(self._random.uniform(ceiling / 2, ceiling)) or self._clock.monotonic() > deadline:
                raise RedisUnavailable(f"Redis does not take events: {problem}") from problem
            self._transmit_or_disconnect()
        return []

    def _read_transaction(self) -> list[Written]:
        """Read the replies of what is in flight: MULTI's, one for each entry, and EXEC's with the ids."""
        entries = self._in_flight
        replies = [self._reply() for _ in range(len(entries) + 2)]
        ids = replies[-1]
        if isinstance(ids, Exception):
            first = next(reply for reply in replies if isinstance(reply, Exception))
            if isinstance(first, _TRANSIENT) or str(first).startswith(_NOT_NOW):
                raise _NotNow(str(first))
            raise ConfigError(f"Redis refuses events: {first}")
        written: dict[int, Written] = {}
        for entry, entry_id in zip(entries, ids, strict=True):
            if isinstance(entry_id, Exception):
                raise ConfigError(f"Redis refuses events for partition {entry.partition}: {entry_id}")
            before = written.get(entry.partition)
            size = len(entry.payload) + (before.size_bytes if before else 0)
            written[entry.partition] = Written(entry.partition, parse_id(entry_id), size)
        self._in_flight = []
        return list(written.values())

    def _reply(self) -> Any:
        if self._connection is None:
            raise redis.ConnectionError("the connection was lost")
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def _transmit_or_disconnect(self) -> None:
        """Send what is in flight; where that fails, ``settle`` finds no connection and tries again."""
        try:
            self._transmit()
        except (redis.ConnectionError, redis.TimeoutError):
            self._disconnect()

    def _transmit(self) -> None:
        if self._connection is None:
            connection: Any = self._client.connection_pool.make_connection()
            connection.connect()
            self._connection = connection
        commands = [b"*1\r\n$5\r\nMULTI\r\n"]
        heads: dict[int, bytes] = {}
        for entry in self._in_flight:
            head = heads.get(entry.partition)
            if head is None:
                key = self._keys.partition(entry.partition).events.encode()
                head = heads[entry.partition] = _XADD % (len(key), key)
            commands += (b"%b%b\r\n$%d\r\n" % (head, entry.field, len(entry.payload)), entry.payload, b"\r\n")
        commands.append(b"*1\r\n$4\r\nEXEC\r\n")
        self._connection.send_packed_command([b"".join(commands)], check_health=False)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()
