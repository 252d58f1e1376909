"""A Redis that no longer holds what was acknowledged stops a worker loudly; it never begins from zero by itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from guildstream.connections import connect_redis
from guildstream.errors import ConfigError, StreamDamaged
from tests.transport.apps import started, until
from tests.transport.counting import create_app
from tests.transport.workers import Load, committed, running

QUICK = {"lease_seconds": 1, "commit_interval_seconds": 0.02, "trim_seconds": 0.2}


@pytest.mark.parametrize("how", ["deleted", "deleted and written again", "trimmed", "emptied", "rewound"])
async def test_it_stops_the_worker(redis_url: str, how: str) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=7)
    # A Cluster goes on from what is left unless told otherwise.
    app = create_app(redis_url, **QUICK, lost_tail="stop")
    async with started(app):
        load.publish(500)
        await until(lambda: committed(client) == load.total)
        if how == "emptied":
            client.flushall()
        elif how == "trimmed":
            client.xtrim("{ct:1}:events", maxlen=0, approximate=False)
        elif how == "rewound":
            client.hincrby("{ct:1}:offset", "commit", -1)
            client.xadd("{ct:1}:events", {"e": "k 1"})
        else:
            client.delete("{ct:1}:events")
            if how == "deleted and written again":
                client.xadd("{ct:1}:events", {"e": "k 1"})
        await until(lambda: app.crashed, what="the crash")
        assert isinstance(app.crash_reason, StreamDamaged)
        assert "docs/transport.md" in str(app.crash_reason)
    if how.startswith("deleted"):
        again = create_app(redis_url, **QUICK)
        async with started(again):
            await until(lambda: again.crashed, what="the crash of the worker that is started again")
            assert isinstance(again.crash_reason, StreamDamaged)


async def test_a_group_that_was_dropped_by_hand_is_no_damage(redis_url: str) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=8)
    app = create_app(redis_url, **QUICK)
    async with started(app):
        load.publish(500)
        await until(lambda: committed(client) == load.total)
        client.xgroup_destroy("{ct:1}:events", "counting")
        load.publish(500)
        await until(lambda: committed(client) == load.total)
        assert not app.crashed


async def test_another_partition_count_is_refused(redis_url: str) -> None:
    client = connect_redis(redis_url)
    async with started(create_app(redis_url, **QUICK)) as app:
        await until(lambda: len(app.consumer.lanes) == 4)
    client.hset("ct:meta", "partitions", 12)
    async with started(create_app(redis_url, **QUICK)) as app:
        await until(lambda: app.crashed, what="the crash")
        assert isinstance(app.crash_reason, ConfigError)
        assert "has 12 partitions" in str(app.crash_reason)


def test_a_worker_process_ends_when_it_can_not_go_on(redis_url: str, tmp_path: Path) -> None:
    connect_redis(redis_url).set("{ct:1}:state:counts", "no hash")
    load = Load(connect_redis(redis_url), seed=9)
    load.publish(100)
    with running(redis_url, tmp_path) as workers:
        worker = workers.start()
        assert worker.process.wait(15) == 3
        assert "WRONGTYPE" in worker.log.read_text()
