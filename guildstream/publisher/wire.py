"""Entries to Redis: one pipeline a batch, in order, and exactly what was not acknowledged back.

Commands are packed by hand, since redis-py spends more on packing an XADD than everything else on
the way does. Entries of one partition travel in MULTI/EXEC where there are several: Redis then
takes all or none, so that a later one never overtakes an earlier one that was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import redis
import redis.exceptions

from guildstream.connections import connect_redis
from guildstream.keys import Keys

__all__ = ["Command", "Entry", "StreamWriter"]

#: A Redis command and its arguments.
Command = tuple[bytes, ...]

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"


class Entry(NamedTuple):
    """One stream entry.

    Attributes:
        partition: whose events stream.
        fields: ``e``, ``b`` or ``z`` with its payload.
    """

    partition: int
    fields: Mapping[bytes, bytes]


class StreamWriter:
    """A connection that adds entries to the events streams. Not thread-safe; blocks for the network.

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``.
        keys: the deployment's key names.
        partitions: P.
        timeout_seconds: how long one reply may take before Redis counts as away.
    """

    def __init__(self, redis_url: str, keys: Keys, partitions: int, *, timeout_seconds: float) -> None:
        client = connect_redis(redis_url, name="guildstream-publisher", timeout_seconds=timeout_seconds)
        self._pool = client.connection_pool
        self._heads = [_xadd_head(keys.partition(number).events) for number in range(partitions)]
        self._connection: Any = None

    def send(self, entries: Sequence[Entry]) -> tuple[list[Entry], Exception | None]:
        """Add entries to their streams, in order within each partition.

        Returns:
            The entries that Redis did not acknowledge, and the first error. An entry whose reply was
            lost is among them though Redis may hold it: sending it again makes a known duplicate.
        """
        groups: dict[int, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.partition, []).append(entry)
        failed, error = self._exchange(
            [(b"".join(self._group(group)), 1 if len(group) == 1 else len(group) + 2) for group in groups.values()]
        )
        ordered = list(groups.values())
        return [entry for index in failed for entry in ordered[index]], error

    def run(self, commands: Iterable[Command]) -> Exception | None:
        """Run commands one after the other; the first error, if any."""
        return self._exchange([(pack_command(command), 1) for command in commands])[1]

    def close(self) -> None:
        """Close the connection. It opens again when needed."""
        if self._connection is not None:
            self._connection.disconnect()
            self._pool.release(self._connection)
            self._connection = None

    def _group(self, entries: Sequence[Entry]) -> list[bytes]:
        head = self._heads[entries[0].partition]
        packed = [head + _bulk(name) + _bulk(value) for entry in entries for name, value in entry.fields.items()]
        return packed if len(packed) == 1 else [_MULTI, *packed, _EXEC]

    def _exchange(self, requests: Sequence[tuple[bytes, int]]) -> tuple[list[int], Exception | None]:
        """Send all requests, then read each one's replies; the indexes of those that failed."""
        done = 0
        failed: list[int] = []
        first: Exception | None = None
        try:
            if self._connection is None:
                self._connection = self._pool.get_connection()
            self._connection.send_packed_command([b"".join(packed for packed, _ in requests)])
            for index, (_, replies) in enumerate(requests):
                error = self._read(replies)
                if error is not None:
                    failed.append(index)
                    first = first or error
                done = index + 1
        except (redis.exceptions.RedisError, OSError) as error:
            self.close()
            failed.extend(range(done, len(requests)))
            first = first or error
        return failed, first

    def _read(self, replies: int) -> Exception | None:
        first: Exception | None = None
        for _ in range(replies):
            try:
                reply = self._connection.read_response()
            except redis.exceptions.ResponseError as error:
                first = first or error
                continue
            if isinstance(reply, list):  # EXEC's: an error inside doesn't raise
                first = first or next((item for item in reply if isinstance(item, Exception)), None)
        return first


def pack_command(parts: Sequence[bytes]) -> bytes:
    """A command in the protocol's form."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(_bulk, parts)))


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _xadd_head(stream: str) -> bytes:
    """An XADD with one field, up to the field's name."""
    return b"*5\r\n" + b"".join(map(_bulk, (b"XADD", stream.encode(), b"*")))
