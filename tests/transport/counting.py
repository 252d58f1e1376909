"""A small Faust app with nothing of Discord: counts events per key, and sends what it counted with each commit.

Run as ``python -m tests.transport.counting <redis url> [option=value…]``; stops at SIGTERM. Its payloads are
``<key> <number>``, and ``poison`` in one of them makes the agent raise. With ``agents=plain`` it works message
by message instead of by chunk, a second agent takes batches of the same topic and sends them on within the
partition, and a third counts what arrives there.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from collections import Counter
from collections.abc import Mapping, Sequence

import faust
import orjson

from processors.transport import Chunk, CommitRange, KeyedState, Partition, Transport, chunked, current_partition

PARTITIONS = 4
COUNTS = KeyedState("counts", encode=lambda value: b"%d" % value, decode=int)
#: The highest number seen of each key; read whole at hand-over.
LATEST = KeyedState("latest", encode=lambda value: b"%d" % value, decode=int, preload=True)
#: What came back through another topic of the same partition; plain agents only.
ECHOED = KeyedState("echoed", encode=lambda value: b"%d" % value, decode=int)


def _counted(_: Partition) -> Counter[str]:
    return Counter()


def create_app(redis_url: str, *, agents: str = "chunked", **options: object) -> faust.App:
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
    transport.keep(COUNTS, LATEST, ECHOED)
    transport.commit_hooks.append(send_counts)

    if agents == "plain":
        _declare_plain(app)
    else:
        _declare_chunked(app)
    return app


def _declare_chunked(app: faust.App) -> None:
    @app.agent(chunked(app, "events"), name="count")
    async def count(chunks) -> None:
        async for chunk in chunks:
            try:
                await count_chunk(chunk)
            except Exception as error:  # noqa: BLE001 - whatever it is, the transport finds the event to blame
                chunk.fail(error)


def _declare_plain(app: faust.App) -> None:
    events = app.topic("events", value_serializer="raw")
    echo = app.topic("echo", value_serializer="raw")

    @app.agent(events, name="count")
    async def count(payloads) -> None:
        async for payload in payloads:
            await count_payloads(current_partition(), [payload.decode()])

    @app.agent(events, name="forward")
    async def forward(payloads) -> None:
        async for batch in payloads.take(20, within=1):
            for payload in batch:
                await echo.send(value=payload)

    @app.agent(echo, name="echoed")
    async def echoed(payloads) -> None:
        async for payload in payloads:
            partition, key = current_partition(), payload.decode().split()[0]
            await partition.prefetch({ECHOED.name: [key]})
            table = partition.table(ECHOED)
            table.put(key, (table.get(key) or 0) + 1)


async def count_chunk(chunk: Chunk) -> None:
    payloads = [
        payload.decode()
        for entry in chunk.entries
        for index, payload in enumerate(entry.payloads())
        if index not in entry.skipped
    ]
    await count_payloads(chunk.partition, payloads)


async def count_payloads(partition: Partition, payloads: Sequence[str]) -> None:
    await partition.prefetch({COUNTS.name: {payload.split()[0] for payload in payloads}})
    table, latest, counted = partition.table(COUNTS), partition.table(LATEST), partition.local(_counted)
    for payload in payloads:
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


async def main(redis_url: str, options: dict[str, str]) -> int:
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
