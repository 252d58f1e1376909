"""Sends the commits of partitions: those that are due together share one round trip and one fsync."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from dataclasses import dataclass
from typing import Any, cast

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guildstream import metrics
from guildstream.errors import Fenced, StreamDamaged
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


class Committer:
    """Commits for all partitions of a worker.

    ``commit`` returns when the commit is applied and, with ``appendfsync always``, on disk. A reply
    that was lost is resolved by reading the commit's number back, never by guessing.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: list[_Waiting] = []
        self._wake = asyncio.Event()
        self.commits = 0

    async def commit(self, request: CommitRequest) -> None:
        """Apply one commit.

        Raises:
            Fenced: another owner has the partition; nothing was written.
            StreamDamaged: the partition's commit number is not the one this follows: Redis lost its tail
                or was replaced.
            redis.RedisError: the script refused the commit for what it holds; nothing was written.
        """
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(request, future))
        self._wake.set()
        await future

    async def run(self) -> None:
        """Send what is waiting, until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            # Partitions that became due in this turn of the loop still get to say so.
            await asyncio.sleep(0)
            batch, self._waiting = self._waiting, []
            await self._send(batch)

    async def _send(self, batch: list[_Waiting]) -> None:
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while batch:
            started = time.monotonic()
            try:
                replies = await self._execute([waiting.request for waiting in batch])
            except (RedisConnectionError, RedisTimeoutError, OSError) as error:
                delay = backoff.next_seconds()
                logger.warning("a commit's reply was lost, reading back in %.2f s: %s", delay, error)
                await asyncio.sleep(delay)
                batch = await self._resolve(batch)
                continue
            metrics.COMMIT_SECONDS.observe(time.monotonic() - started)
            batch = self._settle(batch, replies)
            if batch:
                await asyncio.sleep(backoff.next_seconds())

    async def _execute(self, requests: list[CommitRequest]) -> list[object]:
        """Send all of them in one write and read the replies; errors of single commits are replies."""
        # hiredis' stub says a tuple of one.
        packed = [hiredis.pack_command(cast("Any", tuple(request.command()))) for request in requests]
        pool: Any = self._client.connection_pool
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
            await self._client.script_load(COMMIT.source)
        return replies

    def _settle(self, batch: list[_Waiting], replies: list[object]) -> list[_Waiting]:
        """Tell each partition what became of its commit; those to be tried again are returned."""
        again = []
        for waiting, reply in zip(batch, replies, strict=True):
            if not isinstance(reply, Exception) or _came_late(waiting, reply):
                self._applied(waiting)
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
        return StreamDamaged(
            f"{request.keys[1]}: {text}. Redis lost its tail or was replaced; see docs/transport.md, «A damaged stream»"
        )
    if found := _DAMAGED.search(text):
        return StreamDamaged(DAMAGED.format(stream=found[1], entry_id=found[2]))
    return StreamDamaged(f"{request.keys[1]}: the commit was refused before its first write: {text}")


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_exception(error)
