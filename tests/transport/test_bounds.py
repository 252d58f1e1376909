"""What is trimmed, and what is kept."""

from __future__ import annotations

import time

import prometheus_client

from guildstream.connections import connect_redis
from tests.transport.apps import started, until
from tests.transport.counting import create_app
from tests.transport.workers import Load, committed

QUICK = {"lease_seconds": 1, "commit_interval_seconds": 0.02, "trim_seconds": 0.1, "chunk_events": 50}
DAY_MS = 86_400_000


async def test_a_replay_horizon_keeps_what_everybody_is_done_with(redis_url: str) -> None:
    client = connect_redis(redis_url)
    now_ms = int(time.time() * 1000)
    for age in range(400, 0, -1):
        client.xadd("{ct:0}:events", {"e": "k 1"}, id=f"{now_ms - age * 1000}-0")
    async with started(create_app(redis_url, keep_seconds=100, **QUICK)):
        await until(lambda: int(client.hget("{ct:0}:offset", "entries") or 0) == 400)
        await until(lambda: client.xlen("{ct:0}:events") < 400, what="trimming")
        ages = [(now_ms - int(entry_id.split(b"-")[0])) / 1000 for entry_id, _ in client.xrange("{ct:0}:events")]
        # Whole nodes of a hundred entries go.
        assert 100 <= max(ages) <= 201
        assert min(ages) == 1


async def test_without_one_the_slowest_consumer_decides(redis_url: str) -> None:
    client = connect_redis(redis_url)
    ids = [client.xadd("{ct:0}:events", {"e": "k 1"}) for _ in range(400)]
    client.hset("{ct:0}:consumers", "slow", ids[149])
    async with started(create_app(redis_url, **QUICK)):
        await until(lambda: client.xlen("{ct:0}:events") == 300, what="trimming up to the slow consumer")
        assert client.xrange("{ct:0}:events", ids[149], ids[149])
        client.hdel("{ct:0}:consumers", "slow")
        await until(lambda: client.xlen("{ct:0}:events") <= 100, what="trimming once it is dropped")


async def test_dead_letters_and_notices_stay_a_week(redis_url: str) -> None:
    client = connect_redis(redis_url)
    now_ms = int(time.time() * 1000)
    for name in ("dead", "notices", "results"):
        for days in (9, 8, 6, 0):
            client.xadd(f"{{ct:1}}:{name}", {"e": "k 1"}, id=f"{now_ms - days * DAY_MS}-{days}")
    async with started(create_app(redis_url, retain_streams="dead+notices", **QUICK)):
        await until(lambda: client.xlen("{ct:1}:dead") == client.xlen("{ct:1}:notices") == 2, what="retention")
        assert client.xlen("{ct:1}:results") >= 4


async def test_sizes_and_ages_are_measured(redis_url: str) -> None:
    def metric(name: str, **labels: str) -> float:
        return prometheus_client.REGISTRY.get_sample_value(f"guildstream_processor_{name}", labels) or 0.0

    client = connect_redis(redis_url)
    load = Load(client, seed=3)
    load.publish(1_000)
    async with started(create_app(redis_url, **QUICK)):
        await until(lambda: committed(client) == load.total)
        await until(lambda: metric("state_bytes", partition="0") > 500, deadline_seconds=90, what="the state's size")
        assert metric("state_cache_bytes") > 10_000
        await until(lambda: metric("lag_seconds", partition="0") == 0.0)
