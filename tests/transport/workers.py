"""Worker processes under test, the load they work on, and what must hold of what they leave in Redis."""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import orjson
import redis

from tests.servers import wait_until
from tests.transport.counting import PARTITIONS

ROOT = Path(__file__).parents[2]


class Worker:
    """One process of the counting app."""

    def __init__(self, redis_url: str, log: Path, **options: object) -> None:
        arguments = [f"{name}={value}" for name, value in options.items()]
        self.log = log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.transport.counting", redis_url, *arguments],
                stdout=output,
                stderr=output,
                cwd=ROOT,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process.poll() is None

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def terminate(self, deadline_seconds: float = 15) -> int:
        """SIGTERM, and its exit code."""
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        return self.process.wait(deadline_seconds)


class Workers:
    """Starts workers and leaves none behind."""

    def __init__(self, redis_url: str, folder: Path, **options: object) -> None:
        self._url = redis_url
        self._folder = folder
        self._options = {"lease_seconds": 1.0, "commit_interval_seconds": 0.02, "chunk_events": 50, **options}
        self.started: list[Worker] = []

    def start(self, **options: object) -> Worker:
        log = self._folder / f"worker-{len(self.started)}.log"
        worker = Worker(options.pop("url", self._url), log, **{**self._options, **options})
        self.started.append(worker)
        return worker

    def stop(self) -> None:
        for worker in self.started:
            if worker.alive:
                worker.signal(signal.SIGCONT)
                worker.kill()

    def logs(self) -> str:
        return "\n".join(worker.log.read_text() for worker in self.started)


@contextlib.contextmanager
def running(redis_url: str, folder: Path, **options: object) -> Iterator[Workers]:
    workers = Workers(redis_url, folder, **options)
    try:
        yield workers
    finally:
        workers.stop()


class Load:
    """Publishes ``<key> <number>`` payloads, packed at random, and knows what they must come to."""

    def __init__(self, client: redis.Redis, seed: int, *, keys: int = 40) -> None:
        self._client = client
        self._random = random.Random(seed)
        self._keys = keys
        self._number = 0
        self.counts: list[Counter[str]] = [Counter() for _ in range(PARTITIONS)]
        self.latest: list[dict[str, int]] = [{} for _ in range(PARTITIONS)]
        self.entries = [0] * PARTITIONS

    def publish(self, payloads: int) -> None:
        """About this many."""
        pipe = self._client.pipeline(transaction=False)
        while payloads > 0:
            partition = self._random.randrange(PARTITIONS)
            size = min(payloads, self._random.choice([1, 1, 1, 7, 30]))
            lines = [self._payload(partition) for _ in range(size)]
            fields = {"e": lines[0]} if size == 1 else {"b": "\n".join(lines)}
            pipe.xadd(f"{{ct:{partition}}}:events", fields)
            self.entries[partition] += 1
            payloads -= size
        pipe.execute()

    def _payload(self, partition: int) -> str:
        key = f"k{self._random.randrange(self._keys)}"
        self._number += 1
        self.counts[partition][key] += 1
        self.latest[partition][key] = self._number
        return f"{key} {self._number}"

    @property
    def total(self) -> int:
        return sum(map(sum, (counts.values() for counts in self.counts)))


def committed(client: redis.Redis) -> int:
    """Payloads committed so far."""
    return sum(int(client.hget(f"{{ct:{p}}}:offset", "positions") or 0) for p in range(PARTITIONS))


def owners(client: redis.Redis) -> list[bytes | None]:
    """Who owns each partition; None where its lease was given back."""
    return [client.hget(f"{{ct:{p}}}:owner", "owner") or None for p in range(PARTITIONS)]


def drained(client: redis.Redis, load: Load, deadline_seconds: float = 30) -> None:
    wait_until(
        lambda: committed(client) == load.total,
        deadline_seconds=deadline_seconds,
        what=f"the commit of all {load.total} payloads",
    )


def echoed(client: redis.Redis, partition: int) -> dict[str, int]:
    """What plain agents counted behind a second topic."""
    return {key.decode(): int(value) for key, value in client.hgetall(f"{{ct:{partition}}}:state:echoed").items()}


def check(client: redis.Redis, load: Load) -> None:
    """What was left is what one uninterrupted run leaves."""
    for partition in range(PARTITIONS):
        tag = f"{{ct:{partition}}}"
        offset = {name.decode(): value.decode() for name, value in client.hgetall(f"{tag}:offset").items()}
        stored = {key.decode(): int(value) for key, value in client.hgetall(f"{tag}:state:counts").items()}
        assert stored == dict(load.counts[partition])
        latest = {key.decode(): int(value) for key, value in client.hgetall(f"{tag}:state:latest").items()}
        assert latest == load.latest[partition]
        assert client.hget(f"{tag}:counters", "disorder") is None
        assert int(offset.get("entries", 0)) == load.entries[partition]
        results = [orjson.loads(fields[b"r"]) for _, fields in client.xrange(f"{tag}:results")]
        assert [result["commit"] for result in results] == list(range(1, int(offset.get("commit", 0)) + 1))
        summed: Counter[str] = Counter()
        after, position = "0-0", 0
        for result in results:
            assert (result["after"], result["position"]) == (after, position)
            assert sum(result["counted"].values()) == result["count"]
            after, position = result["last"], position + result["count"]
            summed.update(result["counted"])
        assert after == offset.get("last_id", "0-0")
        assert position == int(offset.get("positions", 0))
        assert summed == load.counts[partition]
