"""Entries to Redis: one pipeline a batch, in order, and exactly what was not acknowledged back.

Commands are packed by hand, since redis-py spends more on packing an XADD than everything else on
the way does. Entries of one partition travel in MULTI/EXEC where there are several: Redis then
takes all or none, so that a later one never overtakes an earlier one that was refused.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

import redis
import redis.exceptions
from redis.exceptions import MovedError

from guildstream.cluster import SLOT_MOVES, ClusterRedis, slot_of
from guildstream.cluster.slots import split_command
from guildstream.connections import connect_redis
from guildstream.keys import Keys

__all__ = ["Command", "Entry", "StreamWriter"]

#: A Redis command and its arguments.
Command = tuple[bytes, ...]

_MULTI = b"*1\r\n$5\r\nMULTI\r\n"
_EXEC = b"*1\r\n$4\r\nEXEC\r\n"
#: How often a request is sent, where its slot has moved.
_HOPS: Final = 3
#: Stands for an error until a request is answered.
_UNKNOWN: Final = redis.exceptions.ConnectionError("not sent")


class Entry(NamedTuple):
    """One stream entry.

    Attributes:
        partition: whose events stream.
        fields: ``e``, ``b`` or ``z`` with its payload.
    """

    partition: int
    fields: Mapping[bytes, bytes]


class _Request(NamedTuple):
    """What one server is sent: packed commands of one slot (None: of any), and how many replies it gives."""

    slot: int | None
    packed: bytes
    replies: int


class StreamWriter:
    """Adds entries to the events streams, over a connection to each master. Not thread-safe; blocks for the network.

    Args:
        redis_url: as ``guildstream.connections`` reads it.
        keys: the deployment's key names.
        partitions: P.
        timeout_seconds: how long one reply may take before Redis counts as away.
    """

    def __init__(self, redis_url: str, keys: Keys, partitions: int, *, timeout_seconds: float) -> None:
        self._client = connect_redis(redis_url, name="guildstream-publisher", timeout_seconds=timeout_seconds)
        names = [keys.partition(number).events for number in range(partitions)]
        self._heads = [_xadd_head(name) for name in names]
        self._slots = [slot_of(name) for name in names]
        self._connections: dict[redis.Redis, Any] = {}

    def send(self, entries: Sequence[Entry]) -> tuple[list[Entry], Exception | None]:
        """Add entries to their streams, in order within each partition.

        Returns:
            The entries that Redis did not acknowledge, and the first error. An entry whose reply was
            lost is among them though Redis may hold it: sending it again makes a known duplicate.
        """
        groups: dict[int, list[Entry]] = {}
        for entry in entries:
            groups.setdefault(entry.partition, []).append(entry)
        failed, error = self._exchange([self._request(partition, group) for partition, group in groups.items()])
        ordered = list(groups.values())
        return [entry for index in failed for entry in ordered[index]], error

    def run(self, commands: Iterable[Command]) -> Exception | None:
        """Run commands one after the other; the first error, if any."""
        return self._exchange(
            [_Request(split_command(command)[0][0], pack_command(command), 1) for command in commands]
        )[1]

    def memory_use(self) -> float:
        """The part of its memory limit that Redis uses, of a Cluster the fullest master; 0 where it has no limit.

        Raises:
            redis.RedisError: Redis can't be asked.
        """
        client = self._client
        slots = dict.fromkeys(self._slots)
        nodes = {client.slot_node(slot) for slot in slots} if isinstance(client, ClusterRedis) else {client}
        return max(map(_memory_use, nodes))

    def close(self) -> None:
        """Close every connection. They open again when needed."""
        for node in list(self._connections):
            self._disconnect(node)

    def _disconnect(self, node: redis.Redis) -> None:
        connection = self._connections.pop(node, None)
        if connection is not None:
            connection.disconnect()
            node.connection_pool.release(connection)

    def _request(self, partition: int, entries: Sequence[Entry]) -> _Request:
        head = self._heads[partition]
        packed = [head + _bulk(name) + _bulk(value) for entry in entries for name, value in entry.fields.items()]
        if len(packed) == 1:
            return _Request(self._slots[partition], packed[0], 1)
        return _Request(self._slots[partition], b"".join([_MULTI, *packed, _EXEC]), len(packed) + 2)

    def _exchange(self, requests: Sequence[_Request]) -> tuple[list[int], Exception | None]:
        """Send all requests, then read each one's replies; the indexes of those that failed, and the first error."""
        errors: dict[int, Exception] = {}
        pending: Sequence[int] = range(len(requests))
        for _ in range(_HOPS):
            errors |= dict.fromkeys(pending, _UNKNOWN)
            for node, indexes in self._by_node(requests, pending, errors).items():
                self._talk(node, requests, indexes, errors)
            # Of what a node sent elsewhere it has taken nothing.
            pending = [index for index in pending if isinstance(errors.get(index), MovedError)]
            if not pending:
                break
        return list(errors), next(iter(errors.values()), None)

    def _by_node(
        self, requests: Sequence[_Request], pending: Sequence[int], errors: dict[int, Exception]
    ) -> dict[redis.Redis, Sequence[int]]:
        """Which server each request goes to; there is one, but in a Cluster."""
        if not isinstance(self._client, ClusterRedis):
            return {self._client: pending}
        found: dict[redis.Redis, list[int]] = {}
        for index in pending:
            try:
                found.setdefault(self._client.slot_node(requests[index].slot), []).append(index)
            except (redis.exceptions.RedisError, OSError) as error:
                errors[index] = error.with_traceback(None)
        return dict(found)

    def _talk(
        self, node: redis.Redis, requests: Sequence[_Request], indexes: Sequence[int], errors: dict[int, Exception]
    ) -> None:
        """Exchange these requests with one server; those that it takes are no longer among the errors."""
        left = list(indexes)
        try:
            connection = self._connections.get(node)
            if connection is None:
                connection = self._connections[node] = node.connection_pool.get_connection()
            connection.send_packed_command([b"".join([requests[index].packed for index in indexes])])
            for index in indexes:
                error = self._read(connection, requests[index].replies)
                if error is None:
                    del errors[index]
                else:
                    errors[index] = error
                    self._redirected(error)
                left.pop(0)
        except (redis.exceptions.RedisError, OSError) as error:
            self._disconnect(node)
            self._redirected(error)
            errors |= dict.fromkeys(left, error.with_traceback(None))

    def _redirected(self, error: Exception) -> None:
        """Have a Cluster asked again where its slots are, where an error says that they may have moved."""
        refused = isinstance(error, redis.exceptions.ResponseError)
        if isinstance(self._client, ClusterRedis) and (isinstance(error, SLOT_MOVES) or not refused):
            self._client.topology.stale = True

    @staticmethod
    def _read(connection: Any, replies: int) -> Exception | None:
        first: Exception | None = None
        for _ in range(replies):
            try:
                reply = connection.read_response()
            except redis.exceptions.ResponseError as error:
                first = first or error
                continue
            if isinstance(reply, list):  # EXEC's: an error inside doesn't raise
                first = first or next((item for item in reply if isinstance(item, Exception)), None)
        return first


def _memory_use(node: redis.Redis) -> float:
    memory: Any = node.info("memory")
    limit = int(memory.get("maxmemory", 0))
    return int(memory["used_memory"]) / limit if limit else 0.0


def pack_command(parts: Sequence[bytes]) -> bytes:
    """A command in the protocol's form."""
    return b"*%d\r\n%b" % (len(parts), b"".join(map(_bulk, parts)))


def _bulk(value: bytes) -> bytes:
    return b"$%d\r\n%b\r\n" % (len(value), value)


def _xadd_head(stream: str) -> bytes:
    """An XADD with one field, up to the field's name."""
    return b"*5\r\n" + b"".join(map(_bulk, (b"XADD", stream.encode(), b"*")))
