"""Entries into Redis, fast and in order: hand-packed commands, one transaction a partition and batch.

redis-py makes the connection (TLS, unix sockets, passwords) and reads the replies; packing a command
by hand costs a seventh of what its command layer does.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import redis
from redis.exceptions import BusyLoadingError, OutOfMemoryError, ReadOnlyError

from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.connections import connect_redis
from guildstream.errors import ConfigError, RedisUnavailable
from guildstream.keys import Keys
from guildstream.replay.packing import Entry

__all__ = ["EntryWriter", "StreamId", "Written", "parse_id"]

_log = logging.getLogger("guildstream.replay")

StreamId = tuple[int, int]

_RETRY_SECONDS: Final = 60.0
#: Replies that mean "not now": out of memory, loading its data, read-only or without enough replicas.
_NOT_NOW: Final = ("OOM", "LOADING", "BUSY", "READONLY", "MASTERDOWN", "NOREPLICAS", "MISCONF", "TRYAGAIN", "EXECABORT")


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

    A partition's entries of a batch are written by one transaction: if Redis refuses, none of them is
    in, so that no entry can overtake another of its partition. When the connection breaks before the
    reply, the batch is sent again and may be in the stream twice; readers drop known events.

    Args:
        url: Redis.
        keys: names.
        pause: waits for so many seconds while Redis is away; true when waiting should end.
        clock: time.
    """

    def __init__(self, url: str, keys: Keys, *, pause: Callable[[float], bool], clock: Clock = SYSTEM_CLOCK) -> None:
        self._client = connect_redis(url, name="guildstream-replay")
        # Typed loosely: redis-py's own annotations of connections are incomplete.
        self._connection: Any = None
        self._keys = keys
        self._pause = pause
        self._clock = clock
        self._random = random.Random()  # noqa: S311 - jitter is no secret
        self._in_flight: dict[int, list[Entry]] = {}

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
        batch: dict[int, list[Entry]] = {}
        for entry in entries:
            batch.setdefault(entry.partition, []).append(entry)
        self._in_flight = batch
        if batch:
            try:
                self._transmit(batch)
            except (redis.ConnectionError, redis.TimeoutError):
                # settle() sends it again and knows how long to go on trying.
                self._disconnect()
        return written

    def settle(self) -> list[Written]:
        """Wait for the replies of what was sent. Blocks, repeats what was refused, as ``send`` says."""
        written: list[Written] = []
        deadline, attempt = self._clock.monotonic() + _RETRY_SECONDS, 0
        while self._in_flight:
            problem = self._try_settle(written)
            if problem is None:
                continue
            attempt += 1
            if attempt == 1:
                _log.warning("Redis does not take events for now: %s", problem)
            ceiling = min(0.05 * 2**attempt, 2.0)
            if self._pause(self._random.uniform(ceiling / 2, ceiling)) or self._clock.monotonic() > deadline:
                raise RedisUnavailable(f"Redis does not take events: {problem}") from problem
            try:
                self._transmit(self._in_flight)
            except (redis.ConnectionError, redis.TimeoutError):
                self._disconnect()
        return written

    def _try_settle(self, written: list[Written]) -> Exception | None:
        if self._connection is None:
            return redis.ConnectionError("the connection was lost")
        problem: Exception | None = None
        try:
            for partition, entries in list(self._in_flight.items()):
                refused = self._read_transaction(partition, entries, written)
                problem = refused or problem
        except (redis.ConnectionError, redis.TimeoutError) as error:
            self._disconnect()
            return error
        return problem

    def _read_transaction(self, partition: int, entries: Sequence[Entry], written: list[Written]) -> Exception | None:
        replies = [self._reply() for _ in range(len(entries) + 2)]
        ids = replies[-1]
        if isinstance(ids, Exception):
            first = next(reply for reply in replies if isinstance(reply, Exception))
            if not str(first).startswith(_NOT_NOW) and not isinstance(first, _TRANSIENT):
                raise _refused(partition, first)
            return first
        if error := next((reply for reply in ids if isinstance(reply, Exception)), None):
            raise _refused(partition, error)
        del self._in_flight[partition]
        written.append(Written(partition, parse_id(ids[-1]), sum(len(entry.payload) for entry in entries)))
        return None

    def _reply(self) -> Any:
        if self._connection is None:
            raise redis.ConnectionError("the connection was lost")
        try:
            return self._connection.read_response()
        except redis.ResponseError as error:
            return error

    def _transmit(self, batch: Mapping[int, Sequence[Entry]]) -> None:
        if self._connection is None:
            connection: Any = self._client.connection_pool.make_connection()
            connection.connect()
            self._connection = connection
        commands: list[bytes] = []
        for partition, entries in batch.items():
            _pack_transaction(commands, self._keys.partition(partition).events.encode(), entries)
        self._connection.send_packed_command([b"".join(commands)], check_health=False)

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.disconnect()


_TRANSIENT = (OutOfMemoryError, BusyLoadingError, ReadOnlyError)


def _pack_transaction(commands: list[bytes], key: bytes, entries: Sequence[Entry]) -> None:
    commands.append(b"*1\r\n$5\r\nMULTI\r\n")
    head = b"*5\r\n$4\r\nXADD\r\n$%d\r\n%b\r\n$1\r\n*\r\n$1\r\n" % (len(key), key)
    for entry in entries:
        commands.append(b"%b%b\r\n$%d\r\n" % (head, entry.field, len(entry.payload)))
        commands.append(entry.payload)
        commands.append(b"\r\n")
    commands.append(b"*1\r\n$4\r\nEXEC\r\n")


def _refused(partition: int, error: Exception) -> ConfigError:
    return ConfigError(f"Redis refuses events for partition {partition}: {error}")
