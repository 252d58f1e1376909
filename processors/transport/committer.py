"""Sends the commits of partitions: those that are due together share one round trip and one fsync."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass

import hiredis
import redis.asyncio
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoScriptError, RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from guildstream.errors import Fenced, StreamDamaged
from processors.transport.backoff import Backoff
from processors.transport.scripts import COMMIT

__all__ = ["CommitRequest", "Committer"]

logger = logging.getLogger("guildstream.transport")

#: Replies that say "not now": the same commit is tried again.
_RETRIED = ("OOM", "LOADING", "BUSY", "MASTERDOWN", "NOREPLICAS", "TRYAGAIN", "READONLY", "MISCONF")


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

    def command(self) -> list[bytes | str | int]:
        """The whole EVALSHA, to be packed in C: a commit may carry tens of thousands of arguments."""
        return ["EVALSHA", COMMIT.sha, len(self.keys), *self.keys, self.owner, self.epoch, self.follows, *self.operations]


class Committer:
    """Commits for all partitions of a worker.

    ``commit`` returns when the commit is applied and, with ``appendfsync always``, on disk. A reply
    that was lost is resolved by reading the commit's number back, never by guessing.
    """

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: list[tuple[CommitRequest, asyncio.Future[None]]] = []
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
        self._waiting.append((request, future))
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

    async def _send(self, batch: list[tuple[CommitRequest, asyncio.Future[None]]]) -> None:
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while batch:
            try:
                replies = await self._execute([request for request, _ in batch])
            except (RedisConnectionError, RedisTimeoutError, OSError) as error:
                delay = backoff.next_seconds()
                logger.warning("a commit's reply was lost, reading back in %.2f s: %s", delay, error)
                await asyncio.sleep(delay)
                batch = await self._resolve(batch)
                continue
            batch = self._settle(batch, replies)
            if batch:
                await asyncio.sleep(backoff.next_seconds())

    async def _execute(self, requests: list[CommitRequest]) -> list[object]:
        """Send all of them in one write and read the replies; errors of single commits are replies."""
        packed = [hiredis.pack_command(tuple(request.command())) for request in requests]
        pool = self._client.connection_pool
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

    def _settle(
        self, batch: list[tuple[CommitRequest, asyncio.Future[None]]], replies: list[object]
    ) -> list[tuple[CommitRequest, asyncio.Future[None]]]:
        """Tell each partition what became of its commit; those to be tried again are returned."""
        again = []
        for (request, future), reply in zip(batch, replies, strict=True):
            if not isinstance(reply, Exception):
                self.commits += 1
                _resolve(future)
            elif isinstance(reply, NoScriptError) or str(reply).startswith(_RETRIED):
                logger.warning("Redis refuses a commit for now: %s", reply)
                again.append((request, future))
            elif isinstance(reply, RedisConnectionError | RedisTimeoutError):
                again.append((request, future))
            else:
                _fail(future, _explain(reply, request))
        return again

    async def _resolve(
        self, batch: list[tuple[CommitRequest, asyncio.Future[None]]]
    ) -> list[tuple[CommitRequest, asyncio.Future[None]]]:
        """Which commits of a lost reply were applied? Those that were not are returned."""
        backoff = Backoff(initial_seconds=0.05, limit_seconds=2.0)
        while True:
            try:
                pipe = self._client.pipeline(transaction=False)
                for request, _ in batch:
                    pipe.hget(request.keys[1], "commit")
                    pipe.hmget(request.keys[0], ["owner", "epoch"])
                found = await pipe.execute()
            except (RedisError, OSError) as error:
                logger.warning("reading a commit back failed: %s", error)
                await asyncio.sleep(backoff.next_seconds())
                continue
            return [
                (request, future)
                for (request, future), number, lease in zip(batch, found[::2], found[1::2], strict=True)
                if not _was_applied(request, future, number, lease)
            ]


async def _read_reply(connection: redis.asyncio.Connection) -> object:
    try:
        return await connection.read_response()
    except ResponseError as error:
        return error


def _was_applied(
    request: CommitRequest, future: asyncio.Future[None], number: bytes | None, lease: list[bytes | None]
) -> bool:
    # While the lease is ours nobody else can have raised the number.
    ours = lease == [request.owner, str(request.epoch).encode()]
    if ours and int(number or 0) == request.follows + 1:
        _resolve(future)
        return True
    return False


def _explain(reply: Exception, request: CommitRequest) -> Exception:
    text = str(reply)
    if text.startswith("FENCED"):
        return Fenced(f"commit {request.follows + 1} of {request.keys[1]} was refused: {text.removeprefix('FENCED ')}")
    if text.startswith("OUTOFSTEP"):
        return StreamDamaged(
            f"{request.keys[1]}: {text.removeprefix('OUTOFSTEP ')}. Redis lost its tail or was replaced; "
            "see docs/operations.md, «Redis came back without its tail»"
        )
    if isinstance(reply, ResponseError):
        return StreamDamaged(f"{request.keys[1]}: the commit was refused before its first write: {text}")
    return reply


def _resolve(future: asyncio.Future[None]) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_result(None)


def _fail(future: asyncio.Future[None], error: Exception) -> None:
    with contextlib.suppress(asyncio.InvalidStateError):
        future.set_exception(error)
