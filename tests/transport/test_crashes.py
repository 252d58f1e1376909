"""Workers that are killed, stopped and restarted under load leave what an uninterrupted run leaves."""

from __future__ import annotations

import random
import signal
from collections import Counter
from pathlib import Path

import orjson

from guildstream.connections import connect_redis
from processors.transport.scripts import COMMIT
from tests.servers import PrivateServer, wait_until
from tests.transport.proxy import CuttingProxy
from tests.transport.workers import Load, Worker, check, committed, drained, owners, running


def test_one_worker_killed_at_random(redis_url: str, tmp_path: Path) -> None:
    chance = random.Random(20261121)
    client = connect_redis(redis_url)
    load = Load(client, seed=1)
    with running(redis_url, tmp_path) as workers:
        worker = workers.start()
        for _ in range(3):
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
        for _ in range(2):
            worker = workers.start()
            before = committed(client)
            load.publish(2_000)
            wait_until(lambda before=before: committed(client) > before, what="progress")
            assert worker.terminate() == 0
            assert owners(client) == [None] * 4
        worker = workers.start()
        load.publish(1_000)
        drained(client, load)
        assert worker.terminate() == 0
    check(client, load)


def noticed(worker: Worker) -> bool:
    """Whether the worker knows that it lost a partition: its keeper sees the lease, or a commit is refused first."""
    log = worker.log.read_text()
    return "was lost: another worker has it" in log or "was taken over: commit" in log


def test_a_paused_worker_never_commits_and_notices(redis_url: str, tmp_path: Path) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=3)
    with running(redis_url, tmp_path) as workers:
        paused = workers.start()
        wait_until(lambda: None not in owners(client), what="an owner of each partition")
        for _ in range(10):
            load.publish(300)
        wait_until(lambda: committed(client) > 100, what="progress")
        paused.signal(signal.SIGSTOP)
        before = owners(client)
        other = workers.start()
        wait_until(lambda: not set(owners(client)) & set(before), what="the take-over", deadline_seconds=15)
        drained(client, load)
        other_alone = committed(client)
        paused.signal(signal.SIGCONT)
        wait_until(lambda: noticed(paused), what="that it notices")
        load.publish(1_000)
        drained(client, load)
        assert committed(client) == other_alone + 1_000
        assert paused.terminate() == 0
        assert other.terminate() == 0
    check(client, load)


def test_a_reply_that_is_lost_under_load(redis_url: str, tmp_path: Path) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=4)
    with CuttingProxy(redis_url) as proxy, running(proxy.url, tmp_path) as workers:
        worker = workers.start()
        for cuts in range(1, 9):
            load.publish(1_000)
            proxy.cut(COMMIT.sha.encode(), delay_seconds=0.2 * (cuts % 2))
            wait_until(lambda cuts=cuts: proxy.cuts == cuts, what="a commit to cut off")
        drained(client, load)
        assert worker.terminate() == 0
        assert "a commit's reply was lost" in worker.log.read_text()
    check(client, load)


def test_a_redis_that_restarts_under_load(redis_server: PrivateServer, tmp_path: Path) -> None:
    client = connect_redis(redis_server.url)
    load = Load(client, seed=5)
    with running(redis_server.url, tmp_path) as workers:
        worker = workers.start()
        for _ in range(3):
            load.publish(4_000)
            wait_until(lambda: load.total - committed(client) < 3_900, what="progress")
            redis_server.kill()
            redis_server.start()
        load.publish(1_000)
        drained(client, load)
        assert worker.terminate() == 0
    check(client, load)


def test_poison_is_put_aside_and_leaves_nothing(redis_url: str, tmp_path: Path) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=6)
    poison = []
    with running(redis_url, tmp_path) as workers:
        for number in range(5):
            load.publish(400)
            partition = number % 4
            lines = [f"k1 poison{number}", "k2 fine", f"k3 poison{number}"]
            client.xadd(f"{{ct:{partition}}}:events", {"b": "\n".join(lines)})
            poison += [lines[0], lines[2]]
        worker = workers.start()
        wait_until(lambda: committed(client) == load.total + 15, what="the commit of all", deadline_seconds=20)
        assert worker.terminate() == 0
    dead = [fields for p in range(4) for _, fields in client.xrange(f"{{ct:{p}}}:dead")]
    assert sorted(fields[b"e"].decode() for fields in dead) == sorted(poison)
    assert all(b"ValueError: k" in fields[b"detail"] for fields in dead)
    stored = [
        Counter({k.decode(): int(v) for k, v in client.hgetall(f"{{ct:{p}}}:state:counts").items()}) for p in range(4)
    ]
    expected = load.counts
    for number in range(5):
        expected[number % 4]["k2"] += 1
    assert stored == expected
    summed = [Counter[str]() for _ in range(4)]
    for p in range(4):
        for _, fields in client.xrange(f"{{ct:{p}}}:results"):
            summed[p].update(orjson.loads(fields[b"r"])["counted"])
    assert summed == expected
