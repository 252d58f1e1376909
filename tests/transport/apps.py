"""Faust apps run inside a test."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

import faust
import redis

from processors.transport import KeyedState

PREFIX = "pl"
PARTITIONS = 2

SUMS = KeyedState("sums", encode=lambda value: b"%d" % value, decode=int)


def plain_app(redis_url: str, **options: object) -> faust.App:
    """An app with nothing declared yet but the table ``sums``."""
    query = "&".join(f"{name}={value}" for name, value in options.items())
    app = faust.App(
        "plain",
        broker=f"{redis_url}?prefix={PREFIX}&partitions={PARTITIONS}&lease_seconds=1&commit_interval_seconds=0.02&{query}",
        topic_partitions=PARTITIONS,
        topic_disable_leader=True,
        web_enabled=False,
        store="memory://",
    )
    app.transport.keep(SUMS)
    return app


@contextlib.asynccontextmanager
async def started(app: faust.App) -> AsyncIterator[faust.App]:
    app.finalize()
    await app.start()
    try:
        yield app
    finally:
        await app.stop()


async def until(condition: Callable[[], Any], *, deadline_seconds: float = 30.0, what: str = "the condition") -> None:
    """``wait_until`` for a test whose own loop runs the app."""
    try:
        async with asyncio.timeout(deadline_seconds):
            while not condition():
                await asyncio.sleep(0.01)
    except TimeoutError:
        msg = f"{what} did not come true within {deadline_seconds} s"
        raise AssertionError(msg) from None


def stream(topic: str, partition: int = 0) -> str:
    return f"{{{PREFIX}:{partition}}}:{topic}"


def positions(client: redis.Redis, topic: str, partition: int = 0) -> int:
    return int(client.hget(stream("offset", partition), f"positions:{topic}") or 0)


def dead(client: redis.Redis, partition: int = 0) -> list[dict[str, str]]:
    """Dead letters, fields as text."""
    return [
        {name.decode(): value.decode() for name, value in fields.items()}
        for _, fields in client.xrange(stream("dead", partition))
    ]


def sums(client: redis.Redis, partition: int = 0) -> dict[str, int]:
    return {key.decode(): int(value) for key, value in client.hgetall(stream("state:sums", partition)).items()}
