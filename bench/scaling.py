"""How the transport scales: workers, partitions, the size of state, and idleness.

    python -m bench.scaling --part workers
    python -m bench.scaling --part partitions
    python -m bench.scaling --part handover --keys 10 --keys 5000000
    python -m bench.scaling --part idle

Streams are filled beforehand, so no generator runs while something is measured. Workers are processes of the
counting agent below; with ``--work N`` each event costs N rounds of SHA-256 more, so that the worker is the
bottleneck and not Redis. CPU is each process's own, from ``/proc``.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faust
import msgspec
import redis

from guildstream.codec import pack_events
from guildstream.connections import connect_redis
from guildstream.services import remove_services, start_services
from processors.transport import KeyedState, Transport, chunked

_decode = msgspec.json.Decoder(dict[str, Any]).decode
_PAUSE = threading.Event()
#: Seconds, by the prefix of each part: long where workers stand still while the streams are filled.
_LEASE = {"w": 60, "p": 2, "h": 2, "i": 2}


def fill(client: redis.Redis, prefix: str, partitions: int, count: int) -> None:
    """The same events whatever the partitions: entries of 100, about 250 bytes each."""
    lines: list[list[bytes]] = [[] for _ in range(partitions)]
    for number in range(count):
        # A key lives in one partition of 24, as a guild does: state is as large however many partitions there are.
        event = {"k": f"k{number // 100 % 24}-{number * 7919 % 208}", "pad": "x" * 220, "n": number}
        lines[number // 100 % partitions].append(msgspec.json.encode(event))
    for partition, payloads in enumerate(lines):
        pipe = client.pipeline(transaction=False)
        for begin in range(0, len(payloads), 100):
            for fields in pack_events(payloads[begin : begin + 100]):
                pipe.xadd(f"{{{prefix}:{partition}}}:events", dict(fields))
        pipe.execute()


def work(url: str, prefix: str, partitions: int, rounds: int) -> None:
    """One worker, until SIGTERM."""
    app = faust.App(
        prefix,
        broker=f"{url}?prefix={prefix}&partitions={partitions}&lease_seconds={_LEASE[prefix]}&primary_topic=events",
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        datadir=f"{tempfile.gettempdir()}/guildstream-bench",
    )
    counts: KeyedState[int] = KeyedState("counts", encode=lambda value: b"%d" % value, decode=int)
    transport: Transport = app.transport
    transport.keep(counts)

    @app.agent(chunked(app, "events"), name="count")
    async def count(chunks: Any) -> None:
        async for chunk in chunks:
            names = [_decode(line)["k"] for entry in chunk.entries for line in entry.payload.split(b"\n")]
            await chunk.partition.prefetch({"counts": set(names)})
            table = chunk.partition.table(counts)
            for name in names:
                table.put(name, (table.get(name) or 0) + 1)
                for _ in range(rounds):
                    hashlib.sha256(name.encode()).digest()

    asyncio.run(_until_told(app))


async def _until_told(app: faust.App) -> None:
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    await app.start()
    await stopped.wait()
    consumer: Any = app.consumer
    await consumer.stop_lanes()
    await app.stop()


class Bench:
    """A Redis of its own, and workers on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = connect_redis(url, timeout_seconds=120)
        self.redis_pid = int(self.client.info("server")["process_id"])

    @contextmanager
    def workers(
        self, prefix: str, partitions: int, rounds: int, cores: Sequence[int]
    ) -> Generator[list[int], None, None]:
        """One worker for each core named, pinned to it."""
        command = [sys.executable, "-m", "bench.scaling", "--worker", prefix, "--url", self.url]
        command += ["--partitions", str(partitions), "--work", str(rounds)]
        started = [subprocess.Popen(command) for _ in cores]
        try:
            for process, core in zip(started, cores, strict=True):
                os.sched_setaffinity(process.pid, {core})
            yield [process.pid for process in started]
        finally:
            for process in started:
                process.terminate()
            for process in started:
                process.wait(30)

    def done(self, prefix: str, partitions: int) -> int:
        """Payloads committed."""
        pipe = self.client.pipeline(transaction=False)
        for partition in range(partitions):
            pipe.hget(f"{{{prefix}:{partition}}}:offset", "positions")
        return sum(int(value or 0) for value in pipe.execute())

    def owners(self, prefix: str, partitions: int) -> list[bytes | None]:
        """Who has each partition."""
        return [self.client.hget(f"{{{prefix}:{partition}}}:owner", "owner") for partition in range(partitions)]  # type: ignore[misc]


def cpu_seconds(pid: int) -> float:
    """CPU that a process has used."""
    threads = Path(f"/proc/{pid}/task").glob("*/schedstat")
    return sum(int(thread.read_text().split()[0]) for thread in threads) / 1e9


def wait(condition: Any, seconds: float = 300.0) -> None:
    """Until the condition holds."""
    ends = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > ends:
            raise TimeoutError("the benchmark does not come to its end")
        _PAUSE.wait(0.005)


@contextmanager
def standing_still(pids: Sequence[int]) -> Generator[None, None, None]:
    """Processes do nothing meanwhile."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def bench_workers(bench: Bench, options: argparse.Namespace) -> None:
    """One worker and two, in turn, on the same streams: rate, and where the CPU went."""
    rates: dict[int, list[float]] = {1: [], 2: []}
    os.sched_setaffinity(bench.redis_pid, {0, 1})
    for _ in range(options.rounds):
        for number, found in rates.items():
            bench.client.flushdb()
            with bench.workers("w", 24, options.work, range(number)) as pids:
                wait(lambda need=number: sorted(Counter(bench.owners("w", 24)).values()) == [24 // need] * need)
                with standing_still(pids):
                    fill(bench.client, "w", 24, options.events)
                wait(lambda: bench.done("w", 24) > 0)
                before = cpu_seconds(bench.redis_pid)
                first, began, spent = bench.done("w", 24), time.monotonic(), [cpu_seconds(pid) for pid in pids]
                wait(lambda: bench.done("w", 24) >= 0.9 * options.events)
                took, last = time.monotonic() - began, bench.done("w", 24)
                redis_used = cpu_seconds(bench.redis_pid) - before
                used = [cpu_seconds(pid) - old for pid, old in zip(pids, spent, strict=True)]
            found.append((last - first) / took)
            shares = ", ".join(f"{share / took:.2f}" for share in used)
            print(
                f"{number} workers: {found[-1]:8.0f} events/s, cores of workers {shares}, "
                f"per CPU second of workers {(last - first) / sum(used):8.0f}, "
                f"Redis {redis_used / took:.2f} cores",
                flush=True,
            )
    ratios = [two / one for one, two in zip(rates[1], rates[2], strict=True)]
    print(f"two workers / one: median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")


def bench_partitions(bench: Bench, options: argparse.Namespace) -> None:
    """One partition and 24, in turn: CPU an event in the one worker, less what it takes to start."""
    costs: dict[int, list[float]] = {1: [], 24: []}
    for turn in range(options.rounds + 1):
        for partitions, found in costs.items():
            bench.client.flushdb()
            with bench.workers("p", partitions, options.work, [0]) as pids:
                wait(lambda many=partitions: None not in bench.owners("p", many))
                begun = cpu_seconds(pids[0])
            bench.client.flushdb()
            fill(bench.client, "p", partitions, options.events)
            with bench.workers("p", partitions, options.work, [0]) as pids:
                wait(lambda many=partitions: bench.done("p", many) >= options.events)
                cost = (cpu_seconds(pids[0]) - begun) / options.events * 1e6
            if turn:
                found.append(cost)
                print(f"{partitions:>2} partitions: {cost:6.2f} µs of CPU an event", flush=True)
    ratios = [many / one for one, many in zip(costs[1], costs[24], strict=True)]
    print(f"24 partitions / 1: median {statistics.median(ratios):.3f}, {min(ratios):.3f} to {max(ratios):.3f}")


def bench_handover(bench: Bench, options: argparse.Namespace) -> None:
    """How long no commit comes when a worker stops (SIGTERM) or dies (SIGKILL), by keys of state."""
    for keys in options.keys or [10, 5_000_000]:
        bench.client.flushdb()
        for begin in range(0, keys, 20_000):
            values: dict[Any, Any] = {f"s{number}": b"1" for number in range(begin, min(keys, begin + 20_000))}
            bench.client.hset("{h:0}:state:counts", mapping=values)
        for number in (signal.SIGTERM, signal.SIGKILL):
            times = sorted(_move(bench, number) for _ in range(options.rounds))
            name = "stops" if number == signal.SIGTERM else "dies (lease 2 s)"
            print(f"{keys:>9,} keys, a worker {name}: median {statistics.median(times):.3f} s, {times}", flush=True)


def _move(bench: Bench, number: int) -> float:
    """From the signal to the first commit of the next owner."""
    with bench.workers("h", 1, 0, [0]) as first:
        wait(lambda: _owner(bench) is not None)
        _add_and_wait(bench)
        before = _owner(bench)
        with bench.workers("h", 1, 0, [1]):
            _PAUSE.wait(2.5)
            done = bench.done("h", 1)
            os.kill(first[0], number)
            began = time.monotonic()
            wait(lambda: _owner(bench) not in {None, b"", before})
            bench.client.xadd("{h:0}:events", {"e": b'{"k": "s1"}'})
            wait(lambda: bench.done("h", 1) > done)
            return round(time.monotonic() - began, 3)


def _owner(bench: Bench) -> bytes | None:
    return bench.owners("h", 1)[0] or None


def _add_and_wait(bench: Bench) -> None:
    done = bench.done("h", 1)
    bench.client.xadd("{h:0}:events", {"e": b'{"k": "s1"}'})
    wait(lambda: bench.done("h", 1) > done)


def bench_idle(bench: Bench, options: argparse.Namespace) -> None:
    """CPU of a worker with nothing to do."""
    for partitions in (1, 24):
        bench.client.flushdb()
        with bench.workers("i", partitions, 0, [0]) as pids:
            wait(lambda many=partitions: None not in bench.owners("i", many))
            _PAUSE.wait(5)
            spent, began = cpu_seconds(pids[0]), time.monotonic()
            _PAUSE.wait(options.seconds)
            share = (cpu_seconds(pids[0]) - spent) / (time.monotonic() - began)
        print(f"idle with {partitions} partitions: {share * 100:.2f} % of a core", flush=True)


PARTS = {"workers": bench_workers, "partitions": bench_partitions, "handover": bench_handover, "idle": bench_idle}


def main() -> None:
    """Run one part on a Redis of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", choices=PARTS)
    parser.add_argument("--events", type=int, default=300_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=int, default=0, help="rounds of SHA-256 an event")
    parser.add_argument("--keys", type=int, action="append")
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--worker", help="prefix; what the benchmark starts")
    parser.add_argument("--url", default="")
    parser.add_argument("--partitions", type=int, default=24)
    options = parser.parse_args()
    if options.worker:
        work(options.url, options.worker, options.partitions, options.work)
        return
    with tempfile.TemporaryDirectory(prefix="gs-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        urls = start_services(Path(name), tied=True)
        try:
            PARTS[options.part](Bench(urls.redis), options)
        finally:
            remove_services(Path(name))


if __name__ == "__main__":
    main()
