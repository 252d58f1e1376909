"""The blocking client."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import redis
import redis.client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guildstream.clock import SYSTEM_CLOCK
from guildstream.cluster.batch import Batch, Part
from guildstream.cluster.slots import Address, Command, Topology, command_name, slot_of, split_command, text
from guildstream.errors import ConfigError

__all__ = ["NO_CLUSTER", "ClusterPipeline", "ClusterRedis"]

NO_CLUSTER: Final = "{host}:{port} is no node of a Redis Cluster ({error}): use redis:// for a single server"
#: How often streams of several masters are looked at by one XREAD that blocks.
_POLL_SECONDS: Final = 0.02

_LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)


class ClusterRedis(redis.Redis):
    """A ``redis.Redis`` over the masters of a Cluster. May be used by several threads.

    Commands go to the master of their key; keyless ones to any master, or to all of them where that is
    what they mean (FLUSHALL, SCRIPT, KEYS, CONFIG SET). DEL, EXISTS and XREAD may name keys of several slots. A
    redirection is followed. After a lost connection the slots are asked for again, the command is not repeated.

    Args:
        seeds: nodes to ask first.
        make: a node's own client.
        probe: one that soon gives up, to ask for the slots.
    """

    def __init__(
        self, seeds: Sequence[Address], make: Callable[[Address], redis.Redis], probe: Callable[[Address], redis.Redis]
    ) -> None:
        self.topology: Topology[redis.Redis] = Topology(seeds, make)
        self._probe = probe
        self._lock = threading.Lock()
        super().__init__(connection_pool=self.topology.client(seeds[0]).connection_pool)

    def node(self, key: str | bytes) -> redis.Redis:
        """The client of the master that has a key.

        Raises:
            redis.ConnectionError: none of the Cluster's nodes answers.
        """
        return self.slot_node(slot_of(key))

    def slot_node(self, slot: int | None) -> redis.Redis:
        """The client of the master that has a slot; of any master for None.

        Raises:
            redis.ConnectionError: none of the Cluster's nodes answers.
        """
        if self.topology.stale:
            self._refresh()
        return self.topology.client(self.topology.holder(slot))

    def masters(self) -> list[redis.Redis]:
        """A client of each master."""
        if self.topology.stale:
            self._refresh()
        return [self.topology.client(address) for address in self.topology.masters]

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command where it belongs."""
        block = _block_ms(args)
        if block is not None and len(split_command(args)) > 1:
            return self._xread(args, block, options)
        (reply,) = self.run([(args, options)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> ClusterPipeline:
        """Commands that go out together, to all masters at once. A transaction has one slot's keys."""
        del shard_hint
        return ClusterPipeline(self, transaction=transaction)

    def run(self, commands: Sequence[tuple[Command, dict[str, Any]]]) -> list[Any]:
        """Run commands; errors are replies. Commands of one slot are run in order."""
        if self.topology.stale:
            self._refresh()
        batch = Batch(self.topology, commands)
        while not batch.done:
            sent = [(address, parts, self._send(batch, address, parts)) for address, parts in batch.groups().items()]
            for address, parts, connection in sent:
                if connection is not None:
                    self._receive(batch, address, parts, connection)
        return batch.replies()

    def transact(self, commands: Sequence[tuple[Command, dict[str, Any]]]) -> list[Any]:
        """Run commands of one slot as a transaction.

        Raises:
            redis.RedisError: a command was refused, or Redis can't be reached.
        """
        slots = {slot for words, _ in commands for slot, _ in split_command(words)}
        for _ in range(6):
            if self.topology.stale:
                self._refresh()
            address = self.topology.holder(next(iter(slots)))
            pipe: Any = self.topology.client(address).pipeline(transaction=True)
            for words, options in commands:
                pipe.execute_command(*words, **options)
            try:
                return cast("list[Any]", pipe.execute())
            except MovedError as error:
                self.topology.moved(error, address)
            except _LOST:
                self.topology.stale = True
                raise
        raise RedisConnectionError("a transaction was redirected again and again")

    def close(self) -> None:
        """Close every connection."""
        for client in self.topology.clients.values():
            client.close()

    # -- talking to nodes

    def _send(self, batch: Batch, address: Address, parts: list[Part]) -> Any:
        """Send a node its parts; None where that failed."""
        node = self.topology.client(address)
        connection: Any = None
        try:
            connection = node.connection_pool.get_connection()
            words = [command for part in parts for command in ([("ASKING",)] if part.asking else []) + [part.words]]
            connection.send_packed_command(connection.pack_commands(words))
        except _LOST as error:
            if connection is not None:
                connection.disconnect()
                node.connection_pool.release(connection)
            batch.fail(parts, _as_lost(error))
            return None
        return connection

    def _receive(self, batch: Batch, address: Address, parts: list[Part], connection: Any) -> None:
        node = self.topology.client(address)
        try:
            for part in parts:
                if part.asking:
                    connection.read_response()
                batch.answer(part, _parse(node, connection, part), address)
        except _LOST as error:
            connection.disconnect()
            batch.fail(parts, _as_lost(error))
        except BaseException:
            connection.disconnect()
            raise
        finally:
            node.connection_pool.release(connection)

    def _xread(self, args: Command, block: int, options: dict[str, Any]) -> Any:
        """XREAD over several slots: Redis blocks for one slot only, so this looks again and again."""
        at = next(index for index, word in enumerate(args) if text(word).upper() == "BLOCK")
        words = (*args[:at], *args[at + 2 :])
        ends = SYSTEM_CLOCK.monotonic() + (block / 1000 or float("inf"))
        pause = threading.Event()
        while True:
            (reply,) = self.run([(words, options)])
            if isinstance(reply, Exception):
                raise reply
            if reply or SYSTEM_CLOCK.monotonic() >= ends:
                return reply
            pause.wait(_POLL_SECONDS)

    def _refresh(self) -> None:
        with self._lock:
            problem: Exception | None = None
            for address in self.topology.candidates() if self.topology.stale else ():
                try:
                    with self._probe(address) as node:
                        reply: list[Any] = cast("Any", node).execute_command("CLUSTER", "SLOTS")
                except ResponseError as error:
                    raise_no_cluster(error, address)
                    problem = error
                except (RedisError, OSError) as error:
                    problem = error
                else:
                    if self.topology.learn(reply, address):
                        break
            if not self.topology.masters:
                raise RedisConnectionError(f"no node of the Redis Cluster answers: {problem}") from problem


class ClusterPipeline(redis.client.Pipeline):
    """Commands that are sent together by ``execute``."""

    def __init__(self, cluster: ClusterRedis, *, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster
        self._atomic = transaction
        self._queued: list[tuple[Command, dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._queued)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Queue a command."""
        self._queued.append((args, options))
        return self

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what is queued, all masters at once.

        Raises:
            redis.RedisError: a master could not be reached, or, unless told otherwise, a command was refused.
        """
        if self._atomic and self._queued:
            queued, self._queued = self._queued, []
            return self._cluster.transact(queued)
        replies = self.execute_apart()
        for reply in replies:
            if isinstance(reply, Exception) and (raise_on_error or not isinstance(reply, ResponseError)):
                raise reply
        return replies

    def execute_apart(self) -> list[Any]:
        """The same, where a master that can't be reached only spoils the answers to its own commands."""
        queued, self._queued = self._queued, []
        return self._cluster.run(queued)

    def reset(self) -> None:  # type: ignore[override]  # as in redis-py itself
        """Forget what is queued."""
        self._queued = []


def raise_no_cluster(error: ResponseError, address: Address) -> None:
    """Raise where a server says that it is none of a Cluster.

    Raises:
        ConfigError: it is not.
    """
    if "cluster support disabled" in str(error):
        raise ConfigError(NO_CLUSTER.format(host=address[0], port=address[1], error=error)) from error


def _parse(node: redis.Redis, connection: Any, part: Part) -> Any:
    try:
        return cast("Any", node).parse_response(connection, part.words[0], **part.options)
    except ResponseError as error:
        # A kept traceback would keep the connection, in a circle that only the garbage collector finds.
        return error.with_traceback(None)


def _as_lost(error: Exception) -> Exception:
    found = error if isinstance(error, RedisError) else RedisConnectionError(str(error))
    return found.with_traceback(None)


def _block_ms(args: Command) -> int | None:
    if command_name(args) != "XREAD":
        return None
    words = [text(word).upper() for word in args[:6]]
    return int(args[words.index("BLOCK") + 1]) if "BLOCK" in words else None
