"""The Cluster's clients: where commands go, and that none is ever repeated."""

from __future__ import annotations

import asyncio
import threading

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.crc import key_slot

from guildstream.cluster import AsyncClusterRedis, ClusterRedis, slot_of
from guildstream.cluster.slots import Topology, split_command
from guildstream.connections import connect_redis, connect_redis_async
from tests.transport.cluster import Cluster, CuttingProxies

KEYS = st.lists(st.text(min_size=1, max_size=8), min_size=1, max_size=20, unique=True)


@given(KEYS)
def test_a_command_of_many_keys_is_split_by_slot_and_loses_none(keys: list[str]) -> None:
    parts = split_command(("DEL", *keys))
    assert sorted(key for _, (_, *some) in parts for key in some) == sorted(keys)
    assert all(slot_of(key) == slot for slot, (_, *some) in parts for key in some)
    assert len({slot for slot, _ in parts}) == len(parts)


@given(KEYS)
def test_a_read_of_many_streams_keeps_each_ones_id(keys: list[str]) -> None:
    ids = [f"{number}-0" for number in range(len(keys))]
    found: dict[str, str] = {}
    for slot, words in split_command(("XREAD", "COUNT", 5, "STREAMS", *keys, *ids)):
        assert words[:4] == ("XREAD", "COUNT", 5, "STREAMS")
        some = words[4:]
        half = len(some) // 2
        assert {slot_of(key) for key in some[:half]} == {slot}
        found |= dict(zip(some[:half], some[half:], strict=True))
    assert found == dict(zip(keys, ids, strict=True))


@pytest.mark.parametrize(
    ("words", "key"),
    [
        (("GET", "{a}:b"), b"a"),
        (("XINFO STREAM", "{a}:b"), b"a"),
        (("XINFO", "STREAM", "{a}:b"), b"a"),
        (("XGROUP CREATE", "{a}:b", "group", "0"), b"a"),
        (("EVALSHA", "sha", 1, "{a}:b", "argument"), b"a"),
        ((b"eval", "return 1", b"2", "{a}:b", "{a}:c"), b"a"),
        (("EVAL", "return 1", 0), None),
        (("PING",), None),
        (("SCRIPT LOAD", "return 1"), None),
    ],
)
def test_where_the_key_of_a_command_is(words: tuple[object, ...], key: bytes | None) -> None:
    assert split_command(words) == [(None if key is None else key_slot(key), words)]


def test_a_topology_learns_and_follows() -> None:
    topology: Topology[tuple[str, int]] = Topology([("seed", 1)], lambda address: address)
    assert topology.candidates() == [("seed", 1)]
    with pytest.raises(redis.ConnectionError):
        topology.holder(5)
    assert not topology.learn([], ("seed", 1))
    assert topology.learn([[0, 99, [b"one", 7000]], [100, 16_383, [b"", 7001]]], ("seed", 1))
    assert (topology.holder(99), topology.holder(100)) == (("one", 7000), ("seed", 7001))
    assert topology.moved(redis.exceptions.MovedError("99 two:7002"), ("one", 7000)) == ("two", 7002)
    assert topology.holder(99) == ("two", 7002)
    assert topology.moved(redis.exceptions.AskError("98 three:7003"), ("one", 7000)) == ("three", 7003)
    assert topology.holder(98) == ("one", 7000)


def test_commands_go_to_their_masters_and_come_back_in_order(cluster: Cluster) -> None:
    with connect_redis(cluster.url) as client:
        client.flushall()
        pipe = client.pipeline(transaction=False)
        for number in range(60):
            pipe.set(f"key{number}", number)
            pipe.get(f"key{number}")
        assert pipe.execute() == [answer for number in range(60) for answer in (True, b"%d" % number)]
        assert client.dbsize() == len(client.keys()) == 60
        assert all(master.client.dbsize() for master in cluster.masters())
        assert client.delete(*(f"key{number}" for number in range(60))) == 60
        assert client.script_load("return 1") == "e0e1f9fabfc9d4800c877a703b823ac0578ff8db"


def test_a_slot_that_moves_is_followed_while_it_moves(cluster: Cluster) -> None:
    with connect_redis(cluster.url) as client:
        client.flushall()
        over = threading.Event()
        written: list[int] = []

        def write() -> None:
            while not over.is_set():
                client.rpush("{moving}", len(written))
                written.append(len(written))

        writing = threading.Thread(target=write)
        writing.start()
        for _ in range(6):
            holder = cluster.holder("{moving}")
            cluster.move_slot("{moving}", next(node for node in cluster.masters() if node is not holder))
        over.set()
        writing.join()
        assert [int(item) for item in client.lrange("{moving}", 0, -1)] == written


async def test_no_command_is_repeated(cluster: Cluster) -> None:
    """The connection is cut behind a command: it was applied once, and the caller is told that nobody knows."""
    proxies = CuttingProxies(cluster)
    client, other = connect_redis(cluster.url), connect_redis_async(cluster.url)
    assert isinstance(client, ClusterRedis)
    assert isinstance(other, AsyncClusterRedis)
    client.delete("once")
    try:
        for times in range(1, 4):
            proxies.cut(b"INCRBY")
            with pytest.raises(redis.ConnectionError):
                client.incr("once")
            proxies.spare()
            assert client.get("once") == b"%d" % (2 * times - 1)
            proxies.cut(b"INCRBY")
            with pytest.raises(redis.ConnectionError):
                await other.incr("once")
            proxies.spare()
            assert await other.get("once") == b"%d" % (2 * times)
    finally:
        proxies.spare()
        client.close()
        await other.aclose()


def test_a_read_that_blocks_sees_what_comes_to_any_slot(cluster: Cluster) -> None:
    with connect_redis(cluster.url) as client:
        client.flushall()
        streams: dict[str, str] = {f"stream{number}": "0-0" for number in range(8)}
        assert not client.xread(streams, block=50)
        coming = threading.Timer(0.1, client.xadd, args=("stream5", {"e": "x"}))
        coming.start()
        ((name, _),) = client.xread(streams, block=30_000)
        coming.join()
        assert name == b"stream5"


async def test_many_at_once_over_one_client(cluster: Cluster) -> None:
    client = connect_redis_async(cluster.url)
    await client.flushall()
    await asyncio.gather(*(client.incr(f"key{number % 30}") for number in range(300)))
    pipe = client.pipeline(transaction=False)
    for number in range(30):
        pipe.get(f"key{number}")
    assert await pipe.execute() == [b"10"] * 30
    await client.aclose()
