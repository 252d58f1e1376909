"""The commit is all or nothing, and only ever the owner's next one."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator

import pytest
import redis
import redis.asyncio

from guildstream.connections import connect_redis, connect_redis_async
from guildstream.errors import Fenced, StreamDamaged
from processors.transport.committer import CommitRequest, Committer, _Waiting
from processors.transport.partition import Operation, script_arguments
from processors.transport.scripts import COMMIT
from tests.servers import PrivateServer
from tests.transport.proxy import CuttingProxy

TAG = "{t:0}"


def request(*operations: Operation, follows: int = 0, owner: bytes = b"me", epoch: int = 1) -> CommitRequest:
    keys = {f"{TAG}:owner": 1, f"{TAG}:offset": 2}
    arguments = script_arguments(operations, keys)
    return CommitRequest(list(keys), owner, epoch, follows, arguments)


def operation(command: str, name: str, *args: object, record: str | None = None) -> Operation:
    return Operation(command, f"{TAG}:{name}", [str(arg).encode() for arg in args], record)


@pytest.fixture
def client(redis_url: str) -> Iterator[redis.Redis]:
    with connect_redis(redis_url) as client:
        client.hset(f"{TAG}:owner", mapping={"owner": "me", "epoch": 1})
        yield client


@contextlib.asynccontextmanager
async def committing(url: str) -> AsyncIterator[Committer]:
    client = connect_redis_async(url)
    committer = Committer(client)
    task = asyncio.create_task(committer.run())
    try:
        yield committer
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await client.aclose()


async def commit(url: str, *requests: CommitRequest) -> None:
    async with committing(url) as committer:
        for one in requests:
            async with asyncio.timeout(30):
                await committer.commit(one)


def everything(client: redis.Redis) -> dict[bytes, bytes]:
    return {key: client.dump(key) for key in sorted(client.keys())}


GOOD = [
    operation("HSET", "state:a", "key", "value"),
    operation("XADD", "results", "*", "r", "1", record="results_id"),
    operation("HINCRBY", "counters", "seen", 3),
    operation("ZADD", "board", 1.5, "m"),
]


async def test_it_writes_everything(redis_url: str, client: redis.Redis) -> None:
    await commit(redis_url, request(*GOOD), request(*GOOD, operation("HDEL", "state:a", "key"), follows=1))
    assert client.hgetall(f"{TAG}:state:a") == {}
    assert client.hget(f"{TAG}:counters", "seen") == b"6"
    (_, _), (last, _) = client.xrange(f"{TAG}:results")
    assert client.hgetall(f"{TAG}:offset") == {b"commit": b"2", b"results_id": last}


@pytest.mark.parametrize(
    ("spoiled", "error"),
    [
        (request(*GOOD, owner=b"other"), Fenced),
        (request(*GOOD, epoch=2), Fenced),
        (request(*GOOD, follows=1), StreamDamaged),
        (request(*GOOD, operation("HSET", "string", "f", "v")), StreamDamaged),
        (request(*GOOD, operation("XADD", "string", "*", "f", "v")), StreamDamaged),
        (request(*GOOD, operation("ZADD", "string", 1, "v")), StreamDamaged),
        (request(*GOOD, operation("HINCRBY", "string", "f", 1)), StreamDamaged),
        (request(*GOOD, operation("HINCRBY", "numbers", "word", 1)), StreamDamaged),
        (request(*GOOD, operation("HINCRBY", "numbers", "f", "one")), StreamDamaged),
        (request(*GOOD, operation("ZADD", "board", "high", "m")), StreamDamaged),
        (request(*GOOD, operation("ZADD", "board", "nan", "m")), StreamDamaged),
        (request(*GOOD, operation("ZADD", "board", 1)), StreamDamaged),
        (request(*GOOD, operation("HSET", "state:a", "key")), StreamDamaged),
        (request(*GOOD, operation("XADD", "results", "1-1", "f", "v")), StreamDamaged),
        (request(*GOOD, operation("XADD", "results", "*", *range(9_000))), StreamDamaged),
        (request(*GOOD, operation("PEXPIREAT", "board", "soon")), StreamDamaged),
        (request(*GOOD, operation("XADD", "new", "*", "f", "v"), operation("HSET", "new", "f", "v")), StreamDamaged),
        (request(*GOOD, operation("FLUSHALL", "board")), StreamDamaged),
        (request(*GOOD, operation("HSET", "state:a", "key", "value", record="results_id")), StreamDamaged),
    ],
)
async def test_what_is_refused_writes_nothing(
    redis_url: str, client: redis.Redis, spoiled: CommitRequest, error: type[Exception]
) -> None:
    client.set(f"{TAG}:string", "not a hash")
    client.hset(f"{TAG}:numbers", "word", "eleven")
    before = everything(client)
    with pytest.raises(error):
        await commit(redis_url, spoiled)
    assert everything(client) == before


async def test_nobody_owns_it_and_nothing_is_written(redis_url: str, client: redis.Redis) -> None:
    client.flushall()
    with pytest.raises(Fenced):
        await commit(redis_url, request(*GOOD))
    assert client.keys() == []


async def test_one_refusal_leaves_the_other_partitions_alone(redis_url: str, client: redis.Redis) -> None:
    async with committing(redis_url) as committer:
        outcomes = await asyncio.gather(
            committer.commit(request(*GOOD, owner=b"other")),
            committer.commit(request(*GOOD)),
            return_exceptions=True,
        )
    assert isinstance(outcomes[0], Fenced)
    assert outcomes[1] is None
    assert client.hget(f"{TAG}:offset", "commit") == b"1"


async def test_large_writes_are_sliced(redis_url: str, client: redis.Redis) -> None:
    fields = [part for number in range(30_000) for part in (f"f{number}", number)]
    scores = [part for number in range(30_000) for part in (number, f"m{number}")]
    huge = [operation("HSET", "state:a", *fields), operation("ZADD", "board", *scores)]
    await commit(redis_url, request(*huge))
    assert (client.hlen(f"{TAG}:state:a"), client.zcard(f"{TAG}:board")) == (30_000, 30_000)
    await commit(redis_url, request(operation("HDEL", "state:a", *fields[::2]), follows=1))
    assert client.hlen(f"{TAG}:state:a") == 0


async def test_a_group_that_was_dropped_does_not_stop_it(redis_url: str, client: redis.Redis) -> None:
    mirror = operation("XGROUP", "events", "SETID", "group", "0-0")
    await commit(redis_url, request(*GOOD, mirror))
    client.xadd(f"{TAG}:events", {"e": "x"})
    await commit(redis_url, request(*GOOD, mirror, follows=1))
    assert client.hget(f"{TAG}:offset", "commit") == b"2"


async def test_a_script_that_was_flushed_is_loaded_again(redis_url: str, client: redis.Redis) -> None:
    client.script_flush()
    await commit(redis_url, request(*GOOD))
    client.script_flush()
    await commit(redis_url, request(*GOOD, follows=1))
    assert client.xlen(f"{TAG}:results") == 2


async def test_a_redis_out_of_memory_is_waited_for(redis_server: PrivateServer) -> None:
    client = connect_redis(redis_server.url)
    client.hset(f"{TAG}:owner", mapping={"owner": "me", "epoch": 1})
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", 1)
    before = everything(client)
    async with committing(redis_server.url) as committer:
        waiting = asyncio.create_task(committer.commit(request(*GOOD)))
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        assert not done
        assert everything(client) == before
        client.config_set("maxmemory", 0)
        async with asyncio.timeout(30):
            await waiting
    assert client.hget(f"{TAG}:offset", "commit") == b"1"


@pytest.mark.parametrize("delay_seconds", [0.0, 0.3])
async def test_a_lost_reply_is_resolved_and_nothing_is_written_twice(
    proxy: CuttingProxy, client: redis.Redis, delay_seconds: float
) -> None:
    """With a delay the first sending reaches Redis when the second is already on its way."""
    async with committing(proxy.url) as committer, asyncio.timeout(30):
        await committer.commit(request(*GOOD))
        proxy.cut(b"EVALSHA", delay_seconds=delay_seconds)
        await committer.commit(request(*GOOD, follows=1))
        await committer.commit(request(*GOOD, follows=2))
    assert proxy.cuts == 1
    assert client.hget(f"{TAG}:offset", "commit") == b"3"
    assert client.xlen(f"{TAG}:results") == 3
    assert client.hget(f"{TAG}:counters", "seen") == b"9"


async def test_a_first_sending_that_arrives_after_the_second_is_taken_for_what_it_is(
    redis_url: str, client: redis.Redis
) -> None:
    """The read-back saw nothing, the first sending was applied then, and the second was out of step."""
    late = request(*GOOD)
    async with committing(redis_url) as committer:
        waiting = _Waiting(late, asyncio.get_running_loop().create_future(), sent=True)
        client.eval(COMMIT.source, *late.command()[2:])
        committer._put(waiting)
        async with asyncio.timeout(30):
            await waiting.future
    assert client.hget(f"{TAG}:offset", "commit") == b"1"
    assert client.xlen(f"{TAG}:results") == 1
