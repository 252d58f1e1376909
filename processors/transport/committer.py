"""Sends the commits of partitions: those that are due together share one round trip and one fsync.

On a Cluster each master has a line of its own, so that one that is away holds up only its own partitions.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from dataclasses import dataclass, field
from typing import Any, cast

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guildstream import metrics
from guildstream.cluster import SLOT_MOVES, AsyncClusterRedis
from guildstream.errors import Fenced, StreamDamaged, TailLost
from processors.transport.backoff import Backoff
from processors.transport.offsets import DAMAGED
from processors.transport.scripts import COMMIT

__all__ = ["CommitRequest", "Committer"]

logger = logging.getLogger("guildstream.transport")

#: Error codes that say "not now": the same commit is tried again. A script that meets one of them in its
#: first write has written nothing, and later writes of it are not refused.
_NOT_NOW = re.compile(
    r"\b(?:OOM|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|NOREPLICAS|TRYAGAIN|READONLY|MISCONF)\b"
    r"|command not allowed when used memory"
)
_DAMAGED = re.compile(r"DAMAGED (\S+) does not hold (\S+)")
_OUT_OF_STEP = re.compile(r"OUTOFSTEP the last commit is (\d+)")


@dataclass(frozen=True, slots=True)
class CommitRequest:
    """One commit of one partition.

    Attributes:
        keys: the lease, the offset hash, then whatever the operations name.
        owner: the owner token.
        epoch: the fencing epoch.
        follows: the number of the commit before.
        operations: from ``partition.script_arguments``.
    """

    keys: list[str]
    owner: bytes
    epoch: int
    follows: int
    operations: list[bytes | str | int]

    @property
    def size(self) -> int:
        """Bytes that the operations write, about."""
        return sum(len(argument) for argument in self.operations if isinstance(argument, bytes))

    def command(self) -> list[bytes | str | int]:
        """The whole EVALSHA, to be packed in C: a commit may carry tens of thousands of arguments."""
        return [
            "EVALSHA",
            COMMIT.sha,
            len(self.keys),
            *self.keys,
            self.owner,
            self.epoch,
            self.follows,
            *self.operations,
        ]


@dataclass(slots=True, eq=False)
class _Waiting:
    """A commit that somebody waits for; ``sent``: perhaps applied already, its reply was lost."""

    request: CommitRequest
    future: asyncio.Future[None]
    sent: bool = False


@dataclass(slots=True, eq=False)
class _Line:
    """What waits for one server."""

    node: redis.asyncio.Redis
    waiting: list[_Waiting] = field(default_factory=list)
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    def put(self, waiting: _Waiting) -> None:
        self.waiting.append(waiting)
        self.wake.set()

    def take(self) -> list[_Waiting]:
        self.wake.clear()
        batch, self.waiting = self.waiting, []
        return batch


class Committer:
    """Commits for all partitions of a worker.

    ``commit`` returns when the commit is applied and, with ``appendfsync always``, on disk. A reply
    that was lost is resolved by reading the commit's number back, never by guessing.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._lines: dict[redis.asyncio.Redis, _Line] = {}
        self._opened: asyncio.Queue[_Line] = asyncio.Queue()
        self.commits = 0

    async def commit(self, request: CommitRequest) -> None:
        """Apply one commit.

        Raises:
            Fenced: another owner has the partition; nothing was written.
            TailLost: the partition's commit number is lower than the one this follows, or the stream no longer
                holds what is committed: Redis lost its tail or was replaced. Nothing was written.
            StreamDamaged: the script refused the commit for what it holds; nothing was written.
        """
        waiting = _Waiting(request, asyncio.get_running_loop().create_future())
        self._put(waiting)
        await waiting.future

    async def run(self) -> None:
        """Send what is waiting, until cancelled."""
        async with asyncio.TaskGroup() as lines:
            while True:
                lines.create_task(self._serve(await self._opened.get()))

    def _put(self, waiting: _Waiting) -> None:
        node = self._node(waiting.request.keys[0])
        line = self._lines.get(node)
        if line is None:
            line = self._lines[node] = _Line(node)
            self._opened.put_nowait(line)
        line.put(waiting)

    def _node(self, key: str) -> redis.asyncio.Redis:
        """The server to try: of a Cluster the master that has the key, as far as is known."""
        client = self._client
        return client.known_node(key) if isinstance(client, AsyncClusterRedis) else client

    async def _serve(self, line: _Line) -> None:
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while True:
            await line.wake.wait()
            # Partitions that became due in this turn of the loop still get to say so.
            await asyncio.sleep(0)
            again = await self._send(line.node, line.take(), backoff)
            if not again:
                backoff.reset()
            for waiting in again:
                self._put(waiting)

    async def _send(self, node: redis.asyncio.Redis, batch: list[_Waiting], backoff: Backoff) -> list[_Waiting]:
        """Send a batch once; those to be sent again, perhaps to another node, are returned after a pause."""
        started = time.monotonic()
        try:
            replies = await self._execute(node, [waiting.request for waiting in batch])
        except (RedisConnectionError, RedisTimeoutError, OSError) as error:
            delay = backoff.next_seconds()
            logger.warning("a commit's reply was lost, reading back in %.2f s: %s", delay, error)
            self._suspect()
            await asyncio.sleep(delay)
            return await self._resolve(batch)
        metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
        again = self._settle(batch, replies)
        if again:
            await asyncio.sleep(backoff.next_seconds())
            await self._find()
        return again

    async def _find(self) -> None:
        """Know who has which slot, if that can be known now."""
        if isinstance(self._client, AsyncClusterRedis):
            with contextlib.suppress(RedisError, OSError):
                await self._client.ready()

    def _suspect(self) -> None:
        """Have the Cluster asked again who has which slot."""
        if isinstance(self._client, AsyncClusterRedis):
            self._client.topology.stale = True

    async def _execute(self, node: redis.asyncio.Redis, requests: list[CommitRequest]) -> list[object]:
        """Send all of them in one write and read the replies; errors of single commits are replies."""
        # hiredis' stub says a tuple of one.
        packed = [hiredis.pack_command(cast("Any", tuple(request.command()))) for request in requests]
        pool: Any = node.connection_pool
        connection = await pool.get_connection()
        try:
            await connection.send_packed_command(packed, check_health=False)
            replies = [await _read_reply(connection) for _ in requests]
        except BaseException:
            # Replies may still be on their way: nobody may read them as another command's.
            await connection.disconnect(nowait=True)
            raise
        finally:
            await pool.release(connection)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            await node.script_load(COMMIT.source)
        return replies

    def _settle(self, batch: list[_Waiting], replies: list[object]) -> list[_Waiting]:
        """Tell each partition what became of its commit; those to be tried again are returned."""
        again = []
        for waiting, reply in zip(batch, replies, strict=True):
            if not isinstance(reply, Exception) or _came_late(waiting, reply):
                self._applied(waiting)
            elif isinstance(reply, SLOT_MOVES):
                # A script whose keys are not all in one place has to wait until they are.
                logger.warning("a commit waits, its slot moves: %s", reply)
                self._suspect()
                again.append(waiting)
            elif isinstance(reply, NoScriptError) or _NOT_NOW.search(f"{reply} {getattr(reply, 'status_code', '')}"):
                logger.warning("Redis refuses a commit for now: %s", reply)
                again.append(waiting)
            else:
                _fail(waiting.future, _explain(reply, waiting.request))
        return again

    def _applied(self, waiting: _Waiting) -> None:
        self.commits += 1
        metrics.PROCESSOR_COMMITS.inc()
        metrics.COMMIT_BYTES.inc(waiting.request.size)
        with contextlib.suppress(asyncio.InvalidStateError):
            waiting.future.set_result(None)

    async def _resolve(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Which commits of a lost reply were applied? Those that were not are returned."""
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while True:
            try:
                pipe = self._client.pipeline(transaction=False)
                for waiting in batch:
                    pipe.hget(waiting.request.keys[1], "commit")
                    pipe.hmget(waiting.request.keys[0], ["owner", "epoch"])
                found = await pipe.execute()
            except (RedisError, OSError) as error:
                logger.warning("reading a commit back failed: %s", error)
                await asyncio.sleep(backoff.next_seconds())
            else:
                return self._sort_out(batch, found[::2], found[1::2])

    def _sort_out(
        self, batch: list[_Waiting], numbers: list[bytes | None], leases: list[list[bytes | None]]
    ) -> list[_Waiting]:
        again = []
        for waiting, number, lease in zip(batch, numbers, leases, strict=True):
            request = waiting.request
            waiting.sent = True
            # While the lease is ours nobody else can have raised the number.
            ours = lease == [request.owner, str(request.epoch).encode()]
            if ours and int(number or 0) == request.follows + 1:
                self._applied(waiting)
            else:
                again.append(waiting)
        return again


async def _read_reply(connection: Any) -> object:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _came_late(waiting: _Waiting, reply: Exception) -> bool:
    """Whether the first sending, still on its way at the read-back, was applied before this one.

    The script says "out of step" only to the owner, and no other owner can have made that commit.
    """
    found = _OUT_OF_STEP.search(str(reply)) if waiting.sent else None
    return found is not None and int(found[1]) == waiting.request.follows + 1


def _explain(reply: Exception, request: CommitRequest) -> Exception:
    text = str(reply)
    if "FENCED" in text:
        return Fenced(f"commit {request.follows + 1} of {request.keys[1]} was refused: {text}")
    if "OUTOFSTEP" in text:
        return TailLost(
            f"{request.keys[1]}: {text}. Redis lost its tail or was replaced; see docs/transport.md, «A damaged stream»"
        )
    if found := _DAMAGED.search(text):
        return TailLost(DAMAGED.format(stream=found[1], entry_id=found[2]))
    return StreamDamaged(f"{request.keys[1]}: the commit was refused before its first write: {text}")


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_exception(error)
