"""The transport's cost in the worker, side by side in one run.

    python -m bench.transport --events 400000

Three ways over the same packed entries of one embedded Redis (append-only file, fsync always):

* reference: XREAD, decode, count in a dict; no Faust, no state kept.
* chunked: a Faust agent of a chunked topic, counting into keyed state, a results entry in every commit.
* by message: the same agent on a plain topic, counting into a dict, one Faust message per event.

Each runs in a process of its own; CPU is that process' own, from the first event to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import faust
import msgspec
import redis

from guildstream.codec import pack_events
from guildstream.connections import connect_redis
from guildstream.services import remove_services, start_services
from processors.transport import CommitRange, KeyedState, Partition, Transport, chunked

PARTITIONS = 4
KEYS = 5_000
_decode = msgspec.json.Decoder(dict[str, Any]).decode


def fill(client: redis.Redis, count: int) -> None:
    """Entries of 100 events, about 250 bytes each, spread over the partitions."""
    lines: list[list[bytes]] = [[] for _ in range(PARTITIONS)]
    for number in range(count):
        event = {"k": f"k{number * 7919 % KEYS}", "pad": "x" * 220, "n": number}
        lines[number // 100 % PARTITIONS].append(msgspec.json.encode(event))
    for partition, payloads in enumerate(lines):
        pipe = client.pipeline(transaction=False)
        for fields in pack_events(payloads):
            pipe.xadd(f"{{bench:{partition}}}:events", dict(fields))
        pipe.execute()


class Meter:
    """CPU from the first event on."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._seen = 0
        self._skipped = 0
        self._begun: float | None = None
        self.done = asyncio.Event()

    def add(self, count: int) -> None:
        """Events processed."""
        self._seen += count
        if self._begun is None:
            self._begun, self._skipped = _cpu(), self._seen
        if self._seen >= self._total:
            self.done.set()

    def report(self) -> None:
        """Print microseconds an event."""
        used = _cpu() - (self._begun or 0.0)
        print(json.dumps({"us": used / (self._seen - self._skipped) * 1e6}))


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def run_reference(url: str, total: int) -> None:
    """Read, decode, count."""
    client = connect_redis(url)
    counts: dict[str, int] = {}
    meter = Meter(total)
    ids = {f"{{bench:{partition}}}:events": b"0-0" for partition in range(PARTITIONS)}
    while not meter.done.is_set():
        for key, entries in client.xread(dict(ids), count=10):
            for entry_id, fields in entries:
                lines = fields[b"b"].split(b"\n")
                for line in lines:
                    name = _decode(line)["k"]
                    counts[name] = counts.get(name, 0) + 1
                meter.add(len(lines))
                ids[key.decode()] = entry_id
    meter.report()


def _app(url: str) -> faust.App:
    broker = f"{url}?prefix=bench&partitions={PARTITIONS}&trim_seconds=3600"
    return faust.App(
        "bench",
        broker=broker,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
        datadir=f"{tempfile.gettempdir()}/guildstream-bench",
    )


def run_chunked(url: str, total: int) -> None:
    """A chunked agent with keyed state and results."""
    app = _app(url)
    meter = Meter(total)
    counts: KeyedState[int] = KeyedState("counts", encode=lambda value: b"%d" % value, decode=int)
    transport: Transport = app.transport
    transport.keep(counts)

    def results(partition: Partition, ranges: Mapping[str, CommitRange]) -> None:
        changed = partition.table(counts)
        partition.send("results", {b"r": b"%d %d" % (ranges["events"].count, len(changed))})

    transport.commit_hooks.append(results)

    @app.agent(chunked(app, "events"), name="count")
    async def count(chunks: Any) -> None:
        async for chunk in chunks:
            names = [_decode(line)["k"] for entry in chunk.entries for line in entry.payload.split(b"\n")]
            await chunk.partition.prefetch({"counts": set(names)})
            table = chunk.partition.table(counts)
            for name in names:
                table.put(name, (table.get(name) or 0) + 1)
            meter.add(chunk.count)

    asyncio.run(_until_done(app, meter))


def run_by_message(url: str, total: int) -> None:
    """The same, message by message."""
    app = _app(url)
    meter = Meter(total)
    counts: dict[str, int] = {}

    @app.agent(app.topic("events", value_type=bytes, value_serializer="raw"), name="count")
    async def count(values: Any) -> None:
        async for value in values:
            name = _decode(value)["k"]
            counts[name] = counts.get(name, 0) + 1
            meter.add(1)

    asyncio.run(_until_done(app, meter))


async def _until_done(app: faust.App, meter: Meter) -> None:
    await app.start()
    await meter.done.wait()
    meter.report()
    await app.stop()


MODES: dict[str, Callable[[str, int], None]] = {
    "reference": run_reference,
    "chunked": run_chunked,
    "by message": run_by_message,
}


def main() -> None:
    """Fill Redis once and run the three over it in turn, ``--rounds`` times."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=400_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--mode", choices=MODES)
    parser.add_argument("--url")
    options = parser.parse_args()
    if options.mode:
        MODES[options.mode](options.url, options.events)
        return
    with tempfile.TemporaryDirectory(prefix="gs-bench-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)
        urls = start_services(Path(name), tied=True)
        try:
            _compare(urls.redis, options.events, options.rounds)
        finally:
            remove_services(Path(name))


def _compare(url: str, events: int, rounds: int) -> None:
    client = connect_redis(url)
    fill(client, events)
    found: dict[str, list[float]] = {mode: [] for mode in MODES}
    for _ in range(rounds):
        for mode in MODES:
            for partition in range(PARTITIONS):
                tag = f"{{bench:{partition}}}"
                client.delete(*(f"{tag}:{name}" for name in ("offset", "owner", "results", "state:counts")))
            command = [sys.executable, "-m", "bench.transport", "--mode", mode, "--url", url, "--events", str(events)]
            output = subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout
            found[mode].append(json.loads(output)["us"])
            print(f"{mode:<11} {found[mode][-1]:8.2f} µs of CPU an event", flush=True)
    medians = {mode: sorted(values)[len(values) // 2] for mode, values in found.items()}
    print("medians: " + ", ".join(f"{mode} {value:.2f}" for mode, value in medians.items()))
    print(f"by message / chunked: {medians['by message'] / medians['chunked']:.1f}")


if __name__ == "__main__":
    main()
