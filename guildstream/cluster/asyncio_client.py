"""The client for asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, Final, cast

import redis.asyncio
import redis.asyncio.client
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import MovedError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guildstream.cluster.batch import Batch, Part
from guildstream.cluster.client import raise_no_cluster
from guildstream.cluster.slots import Address, Command, Topology, slot_of, split_command

__all__ = ["AsyncClusterRedis"]

_LOST: Final = (RedisConnectionError, RedisTimeoutError, OSError)


class AsyncClusterRedis(redis.asyncio.Redis):
    """A ``redis.asyncio.Redis`` over the masters of a Cluster: ``ClusterRedis`` for asyncio.

    XREAD blocks for streams of one slot only, as in Redis itself.

    Args:
        seeds: nodes to ask first.
        make: a node's own client.
        probe: one that soon gives up, to ask for the slots.
    """

    def __init__(
        self,
        seeds: Sequence[Address],
        make: Callable[[Address], redis.asyncio.Redis],
        probe: Callable[[Address], redis.asyncio.Redis],
    ) -> None:
        self.topology: Topology[redis.asyncio.Redis] = Topology(seeds, make)
        self._probe = probe
        self._lock = asyncio.Lock()
        super().__init__(connection_pool=self.topology.client(seeds[0]).connection_pool)

    async def ready(self) -> None:
        """Know the slots, if they are not known or may have moved.

        Raises:
            redis.ConnectionError: none of the Cluster's nodes answers.
        """
        if self.topology.stale:
            await self._refresh()

    def known_node(self, key: str | bytes) -> redis.asyncio.Redis:
        """The client of the master that has a key, as far as is known; of any node where nothing is."""
        try:
            address = self.topology.holder(slot_of(key))
        except RedisConnectionError:
            address = self.topology.candidates()[0]
        return self.topology.client(address)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """Run one command where it belongs."""
        (reply,) = await self.run([(args, options)])
        if isinstance(reply, Exception):
            raise reply
        return reply

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> _Pipeline:
        """Commands that go out together, to all masters at once. A transaction has one slot's keys."""
        del shard_hint
        return _Pipeline(self, transaction=transaction)

    async def run(self, commands: Sequence[tuple[Command, dict[str, Any]]]) -> list[Any]:
        """Run commands; errors are replies. Commands of one slot are run in order."""
        await self.ready()
        batch = Batch(self.topology, commands)
        while not batch.done:
            groups = batch.groups()
            if len(groups) == 1:
                ((address, parts),) = groups.items()
                await self._exchange(batch, address, parts)
            else:
                await asyncio.gather(*(self._exchange(batch, address, parts) for address, parts in groups.items()))
        return batch.replies()

    async def transact(self, commands: Sequence[tuple[Command, dict[str, Any]]]) -> list[Any]:
        """Run commands of one slot as a transaction.

        Raises:
            redis.RedisError: a command was refused, or Redis can't be reached.
        """
        slots = {slot for words, _ in commands for slot, _ in split_command(words)}
        for _ in range(6):
            await self.ready()
            address = self.topology.holder(next(iter(slots)))
            pipe: Any = self.topology.client(address).pipeline(transaction=True)
            for words, options in commands:
                pipe.execute_command(*words, **options)
            try:
                return cast("list[Any]", await pipe.execute())
            except MovedError as error:
                self.topology.moved(error, address)
            except _LOST:
                self.topology.stale = True
                raise
        raise RedisConnectionError("a transaction was redirected again and again")

    async def aclose(self, close_connection_pool: bool | None = None) -> None:
        """Close every connection."""
        del close_connection_pool
        for client in self.topology.clients.values():
            await client.aclose()

    # -- talking to nodes

    async def _exchange(self, batch: Batch, address: Address, parts: list[Part]) -> None:
        """Send a node its parts and read what it answers."""
        node = self.topology.client(address)
        pool: Any = node.connection_pool
        try:
            connection: Any = await pool.get_connection()
        except _LOST as error:
            batch.fail(parts, _as_lost(error))
            return
        try:
            words = [command for part in parts for command in ([("ASKING",)] if part.asking else []) + [part.words]]
            await connection.send_packed_command(connection.pack_commands(words))
            for part in parts:
                if part.asking:
                    await connection.read_response()
                batch.answer(part, await _parse(node, connection, part), address)
        except _LOST as error:
            await connection.disconnect(nowait=True)
            batch.fail(parts, _as_lost(error))
        except BaseException:
            # Replies may still be on their way: nobody may read them as another command's.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)

    async def _refresh(self) -> None:
        async with self._lock:
            problem: Exception | None = None
            for address in self.topology.candidates() if self.topology.stale else ():
                try:
                    async with self._probe(address) as node:
                        reply: list[Any] = await cast("Any", node).execute_command("CLUSTER", "SLOTS")
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


class _Pipeline(redis.asyncio.client.Pipeline):
    """Commands that are sent together by ``execute``."""

    def __init__(self, cluster: AsyncClusterRedis, *, transaction: bool) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, transaction, None)
        self._cluster = cluster
        self._queued: list[tuple[Command, dict[str, Any]]] = []

    def __len__(self) -> int:
        return len(self._queued)

    def execute_command(self, *args: Any, **options: Any) -> Any:
        """Queue a command."""
        self._queued.append((args, options))
        return self

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """Send what is queued, all masters at once.

        Raises:
            redis.RedisError: a master could not be reached, or, unless told otherwise, a command was refused.
        """
        queued, self._queued = self._queued, []
        if self.is_transaction and queued:
            return await self._cluster.transact(queued)
        replies = await self._cluster.run(queued)
        for reply in replies:
            if isinstance(reply, Exception) and (raise_on_error or not isinstance(reply, ResponseError)):
                raise reply
        return replies

    async def reset(self) -> None:  # type: ignore[override]  # as in redis-py itself
        """Forget what is queued."""
        self._queued = []


async def _parse(node: redis.asyncio.Redis, connection: Any, part: Part) -> Any:
    try:
        return await node.parse_response(connection, part.words[0], **part.options)
    except ResponseError as error:
        # A kept traceback would keep the connection, in a circle that only the garbage collector finds.
        return error.with_traceback(None)


def _as_lost(error: Exception) -> Exception:
    found = error if isinstance(error, RedisError) else RedisConnectionError(str(error))
    return found.with_traceback(None)
