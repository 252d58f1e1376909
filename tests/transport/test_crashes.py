"""Workers that are killed, stopped and restarted under load leave what an uninterrupted run leaves."""

from __future__ import annotations

import random
from pathlib import Path

from guildstream.connections import connect_redis
from tests.servers import wait_until
from tests.transport.workers import Load, check, committed, drained, owners, running


def test_one_worker_killed_at_random(redis_url: str, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    client = connect_redis(redis_url)
    load = Load(client, seed=1)
    with running(redis_url, tmp_path) as workers:
        worker = workers.start()
        for _ in range(6):
            load.publish(3_000)
            target = committed(client) + chance.randrange(200, 2_500)
            wait_until(
                lambda target=target: committed(client) >= target or committed(client) == load.total, what="progress"
            )
            worker.kill()
            load.publish(500)
            worker = workers.start()
        drained(client, load)
        assert worker.terminate() == 0
    check(client, load)


def test_restarts_give_leases_back_at_once(redis_url: str, tmp_path: Path) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=2)
    # With a lease this long, only one that is given back can be taken in time.
    with running(redis_url, tmp_path, lease_seconds=60) as workers:
        for _ in range(3):
            worker = workers.start()
            before = committed(client)
            load.publish(2_000)
            wait_until(lambda before=before: committed(client) > before, what="progress")
            assert worker.terminate() == 0
            assert owners(client) == [None] * 4
        worker = workers.start()
        drained(client, load)
        assert worker.terminate() == 0
    check(client, load)
