"""Workers on a three-master Cluster under load and faults leave what one uninterrupted run leaves.

Besides what befalls workers, masters are killed and come back with their append-only file, replicas take over,
and slots move. ``TRANSPORT_FAULTS=100 pytest -m chaos tests/transport/test_cluster_chaos.py`` is the long run.
"""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import redis

from guildstream.cluster import ClusterPipeline
from processors.transport.scripts import COMMIT
from tests.servers import wait_until
from tests.transport.cluster import Cluster, running_cluster
from tests.transport.counting import PARTITIONS
from tests.transport.test_chaos import LEASE_SECONDS, Chaos
from tests.transport.workers import Load, Workers, check, committed, echoed, running

FAULTS = int(os.environ.get("TRANSPORT_FAULTS", "0"))
PATIENCE_SECONDS = 90.0


class Witness(Load):
    """A load whose publisher never repeats what may have been taken: the streams say what there was to count."""

    def __init__(self, client: redis.Redis, seed: int, **options: int) -> None:
        super().__init__(client, seed, **options)
        self.acknowledged: list[set[str]] = [set() for _ in range(PARTITIONS)]
        self.lost: list[set[str]] = [set() for _ in range(PARTITIONS)]
        # Entries stay: a consumer that never comes keeps the streams from being trimmed.
        for partition in range(PARTITIONS):
            client.hset(f"{{ct:{partition}}}:consumers", "witness", "0-0")

    def publish(self, payloads: int) -> None:
        pipe = self._client.pipeline(transaction=False)
        sent: list[tuple[int, list[str]]] = []
        while payloads > 0:
            partition = self._random.randrange(PARTITIONS)
            lines = [self._payload(partition) for _ in range(min(payloads, self._random.choice([1, 1, 1, 7, 30])))]
            pipe.xadd(f"{{ct:{partition}}}:events", {"e": lines[0]} if len(lines) == 1 else {"b": "\n".join(lines)})
            sent.append((partition, lines))
            payloads -= len(lines)
        for (partition, lines), reply in zip(sent, _replies(pipe), strict=False):
            if not isinstance(reply, Exception):
                self.acknowledged[partition].update(lines)

    def settle(self) -> None:
        """Take the streams for what was published; what was acknowledged and isn't there is lost."""
        for partition in range(PARTITIONS):
            entries = self._entries(partition)
            lines = [
                line.decode()
                for _, fields in entries
                for line in (fields[b"b"].split(b"\n") if b"b" in fields else [fields[b"e"]])
            ]
            assert len(set(lines)) == len(lines)
            pairs = [line.split() for line in lines]
            self.entries[partition] = len(entries)
            self.counts[partition] = Counter(key for key, _ in pairs)
            self.latest[partition] = {key: int(number) for key, number in pairs}
            self.lost[partition] = self.acknowledged[partition] - set(lines)

    def _entries(self, partition: int) -> list[Any]:
        """A stream; this client may only now see that its master is another one."""
        found: list[Any] = []

        def read() -> bool:
            with suppress(redis.RedisError):
                found.append(self._client.xrange(f"{{ct:{partition}}}:events"))
            return bool(found)

        wait_until(read, what="a stream", deadline_seconds=PATIENCE_SECONDS)
        return list(found[0])

    @contextmanager
    def running(self) -> Iterator[None]:
        """Publish all the time."""
        over = threading.Event()

        def publish() -> None:
            while not over.wait(0.1):
                self.publish(200)

        publishing = threading.Thread(target=publish)
        publishing.start()
        try:
            yield
        finally:
            over.set()
            publishing.join()


def _replies(pipe: redis.client.Pipeline) -> list[object]:
    """What is known of the replies."""
    try:
        return pipe.execute_apart() if isinstance(pipe, ClusterPipeline) else pipe.execute(raise_on_error=False)
    except redis.RedisError:
        return []


class ClusterChaos(Chaos):
    """The same, and what happens to a Cluster."""

    def __init__(self, workers: Workers, cluster: Cluster, seed: int) -> None:
        self._cluster = cluster
        super().__init__(workers, cluster.proxies[0], cluster.client(), seed)

    def kinds(self) -> list[Callable[[], None]]:
        return [self.kill, self.terminate, self.pause, self.cut, self.flush, self.move_slot, self.kill_master]

    def run(self, faults: int) -> None:
        """So many, drawn from the seed; without a number those that a Cluster adds, and two more."""
        kinds = self.kinds()
        some = [self.move_slot, self.kill_master, self.cut, self.kill]
        for kind in self._random.choices(kinds, k=faults) if faults else self._random.sample(some, len(some)):
            progress(self._client)
            self.strike(kind)
        self.end()

    def cut(self) -> None:
        before = sum(proxy.cuts for proxy in self._cluster.proxies)
        for proxy in self._cluster.proxies:
            proxy.cut(COMMIT.sha.encode(), delay_seconds=self._random.choice([0, 0.2]))
        wait_until(
            lambda: sum(proxy.cuts for proxy in self._cluster.proxies) > before,
            what="a commit to cut off",
            deadline_seconds=PATIENCE_SECONDS,
        )

    def move_slot(self) -> None:
        key = f"{{ct:{self._random.randrange(PARTITIONS)}}}:events"
        holder = self._cluster.holder(key)
        target = self._random.choice([node for node in self._cluster.masters() if node is not holder])
        self._cluster.move_slot(key, target)

    def kill_master(self) -> None:
        """It comes back with its append-only file; where it has a replica, as the replica of that one."""
        node = self._random.choice(self._cluster.masters())
        replicated = len(self._cluster.nodes) > 3
        node.kill()
        if replicated:
            others = [other for other in self._cluster.nodes if other.running]
            wait_until(lambda: len(self._cluster.masters()) == 3, what="a successor", deadline_seconds=PATIENCE_SECONDS)
            assert others
        node.start()
        self._cluster.wait_agreed()
        if replicated:
            self._cluster.wait_replicated()


def progress(client: redis.Redis) -> None:
    """Wait for a commit."""
    before = seen(client)
    wait_until(lambda: seen(client) > before, what="progress", deadline_seconds=PATIENCE_SECONDS)


def seen(client: redis.Redis) -> int:
    """Payloads committed so far; -1 while a master is away."""
    try:
        return committed(client)
    except redis.RedisError:
        return -1


def finish(load: Witness, client: redis.Redis, workers: Workers, *, echoes: bool) -> None:
    """Everything in the streams is counted, once; the workers end well."""
    load.settle()
    wait_until(
        lambda: seen(client) == load.total,
        what=f"the commit of all {load.total} payloads",
        deadline_seconds=PATIENCE_SECONDS,
    )
    if echoes:
        wait_until(
            lambda: [echoed(client, partition) for partition in range(PARTITIONS)] == load.counts,
            what="all that was sent on to arrive once",
            deadline_seconds=PATIENCE_SECONDS,
        )
    for worker in workers.started:
        if worker.alive:
            assert worker.terminate(60) in {0, -signal.SIGTERM}
    assert "can't go on" not in workers.logs()
    check(client, load)


@pytest.mark.chaos
@pytest.mark.parametrize("agents", ["chunked", "plain"] if FAULTS else ["chunked"])
@pytest.mark.parametrize("replicas", [False, True], ids=["restarts", "failovers"])
def test_faults_on_a_cluster(tmp_path: Path, agents: str, *, replicas: bool) -> None:
    with running_cluster(replicas=replicas, proxied=True) as cluster:
        client = cluster.client()
        load = Witness(cluster.client(), seed=20, keys=500)
        options = {"lease_seconds": LEASE_SECONDS, "agents": agents, "trim_seconds": 0.5}
        with running(cluster.url, tmp_path, **options) as workers:
            chaos = ClusterChaos(workers, cluster, seed=20261121 + replicas)
            with load.running():
                chaos.run(FAULTS)
            cluster.wait_agreed()
            finish(load, client, workers, echoes=agents == "plain")
        lost = sum(map(len, load.lost))
        if not replicas:
            assert lost == 0
        total, started = load.total, len(workers.started)
        print(f"{total} payloads, {lost} acknowledged and lost, faults {chaos.done}, {started} workers")  # noqa: T201


@pytest.mark.chaos
def test_a_failover_that_loses_a_tail_counts_nothing_twice(tmp_path: Path) -> None:
    """A master takes commits and events, its replica stands still, and then takes over without them."""
    with running_cluster(replicas=True) as cluster:
        client = cluster.client()
        load = Witness(cluster.client(), seed=21)
        with running(cluster.url, tmp_path, lease_seconds=3, trim_seconds=0.5) as workers:
            worker = workers.start()
            load.publish(1_000)
            caught_up(client, load)
            # These events outlive the failover, the commits that count them do not.
            worker.signal(signal.SIGSTOP)
            load.publish(400)
            cluster.wait_replicated()
            master = cluster.holder("{ct:1}:events")
            replica = cluster.replica_of(master)
            replica.pause()
            # Or it would find what it missed in its socket.
            master.ask("CLIENT", "KILL", "TYPE", "replica")
            worker.signal(signal.SIGCONT)
            caught_up(client, load)
            # Of these not even the events.
            load.publish(1_000)
            caught_up(client, load)
            master.kill()
            replica.resume()
            wait_until(lambda: len(cluster.masters()) == 3, what="the failover", deadline_seconds=PATIENCE_SECONDS)
            wait_until(lambda: seen(client) >= 0, what="the new master", deadline_seconds=PATIENCE_SECONDS)
            load.publish(500)
            finish(load, client, workers, echoes=False)
        lost = [len(load.lost[partition]) for partition in range(PARTITIONS)]
        assert lost[1] == sum(lost) > 0
        assert "Redis lost its tail" in workers.logs()
        print(f"{sum(lost)} acknowledged payloads lost, {load.total} counted once")  # noqa: T201 - shown by -s


def caught_up(client: redis.Redis, load: Load) -> None:
    """All that was published is committed."""
    wait_until(lambda: seen(client) == load.total, what="the commit of all", deadline_seconds=PATIENCE_SECONDS)
