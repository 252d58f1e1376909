"""A small Faust app with nothing of Discord: counts events per key, and sends what it counted with each commit.

Run as ``python -m tests.transport.counting <redis url> [option=value…]``; stops at SIGTERM. Its payloads are
``<key> <number>``, and ``poison`` in one of them makes the agent raise.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import Mapping

import faust
import orjson

from processors.transport import Chunk, CommitRange, KeyedState, Partition, Transport, chunked

PARTITIONS = 4
COUNTS = KeyedState("counts", encode=lambda value: b"%d" % value, decode=int)
#: The highest number seen of each key; read whole at hand-over.
LATEST = KeyedState("latest", encode=lambda value: b"%d" % value, decode=int, preload=True)


def _counted(_: Partition) -> Counter[str]:
    return Counter()


def create_app(redis_url: str, **options: object) -> faust.App:
    query = "&".join(f"{name}={value}" for name, value in options.items())
    app = faust.App(
        "counting",
        broker=f"{redis_url}?prefix=ct&primary_topic=events&partitions={PARTITIONS}&{query}",
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
    )
    transport: Transport = app.transport
    transport.keep(COUNTS, LATEST)
    transport.commit_hooks.append(send_counts)

    @app.agent(chunked(app, "events"), name="count")
    async def count(chunks) -> None:
        async for chunk in chunks:
            try:
                await count_chunk(chunk)
            except Exception as error:  # noqa: BLE001 - whatever it is, the transport finds the event to blame
                chunk.fail(error)

    return app


async def count_chunk(chunk: Chunk) -> None:
    partition = chunk.partition
    payloads = [
        (entry, index, payload.decode())
        for entry in chunk.entries
        for index, payload in enumerate(entry.payloads())
        if index not in entry.skipped
    ]
    await partition.prefetch({COUNTS.name: {payload.split()[0] for _, _, payload in payloads}})
    table, latest, counted = partition.table(COUNTS), partition.table(LATEST), partition.local(_counted)
    for _, _, payload in payloads:
        key, number = payload.split()
        table.put(key, (table.get(key) or 0) + 1)
        counted[key] += 1
        if number.isdigit():
            if int(number) <= (latest.get(key) or 0):
                partition.count("disorder")
            latest.put(key, int(number))
        if "poison" in payload:
            raise ValueError(payload)


def send_counts(partition: Partition, ranges: Mapping[str, CommitRange]) -> None:
    counted = partition.made(_counted)
    covered = ranges["events"]
    result = {
        "commit": covered.commit,
        "after": covered.after_id,
        "last": covered.last_id,
        "position": covered.position,
        "count": covered.count,
        "counted": dict(counted or {}),
    }
    if counted is not None:
        counted.clear()
    partition.send("results", {b"r": orjson.dumps(result)}, record="results_id")


async def main(redis_url: str, options: Mapping[str, str]) -> int:
    app = create_app(redis_url, **options)
    stopped = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    await app.start()
    while not (stopped.is_set() or app.crashed or app.should_stop):
        await asyncio.wait([asyncio.ensure_future(stopped.wait())], timeout=0.2)
    await app.consumer.stop_lanes()
    await app.stop()
    return 3 if app.crashed else 0


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(process)d %(name)s %(message)s")
    logging.getLogger("faust").setLevel(logging.WARNING)
    sys.exit(asyncio.run(main(sys.argv[1], dict(argument.split("=", 1) for argument in sys.argv[2:]))))
