"""The processor as a component: runs the Faust app until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import tempfile
from typing import Final, cast

import faust

from guildstream import metrics
from guildstream.components import EXIT_CONFIG, EXIT_FAILURE, EXIT_OK
from guildstream.connections import connect_redis_async
from guildstream.deployment import ensure_deployment_async
from guildstream.errors import ConfigError, GuildstreamError, StreamDamaged
from guildstream.http import HealthServer
from guildstream.keys import Keys
from guildstream.settings import Settings
from processors.app import create_app
from processors.transport.consumer import Consumer

__all__ = ["run"]

logger = logging.getLogger("guildstream.processor")

_STOP_SECONDS: Final = 20.0


def run(settings: Settings) -> int:
    """Process events until SIGTERM or SIGINT.

    Returns:
        0 after a graceful stop, 1 if processing can't go on, 2 if starting again would not help.

    Raises:
        ConfigError: a setting, or what Redis holds, is not what it must be.
    """
    with tempfile.TemporaryDirectory(prefix="guildstream-faust-") as scratch:
        return asyncio.run(_serve(settings, scratch))


async def _serve(settings: Settings, scratch: str) -> int:
    _calm_garbage_collector()
    app = create_app(settings, scratch=scratch)
    await _prepare(settings)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    health = HealthServer(settings, "processor", lambda: _ready(app))
    await health.start()
    try:
        await app.start()
        await _until_stopped(app, stopped)
    finally:
        await _stop(app, health)
    if app.crashed:
        logger.error("the processor can't go on: %s", app.crash_reason)
        return EXIT_CONFIG if isinstance(app.crash_reason, StreamDamaged | ConfigError) else EXIT_FAILURE
    return EXIT_OK


def _calm_garbage_collector() -> None:
    """Look for cycles rarely: a chunk makes thousands of objects and no cycles, and state lives long."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


async def _prepare(settings: Settings) -> None:
    """Agree on the deployment, and have streams wait for the sink before it first runs."""
    keys = Keys(settings.prefix)
    client = connect_redis_async(str(settings.redis_url), name=f"{settings.prefix}-processor")
    try:
        await ensure_deployment_async(client, keys, settings.partitions)
        pipe = client.pipeline(transaction=False)
        for number in range(settings.partitions):
            pipe.hsetnx(keys.partition(number).consumers, "sink", "0-0")
        await pipe.execute()
    finally:
        await client.aclose()


async def _until_stopped(app: faust.App, stopped: asyncio.Event) -> None:
    waiting = asyncio.create_task(stopped.wait())
    while not app.crashed and not app.should_stop:
        done, _ = await asyncio.wait([waiting], timeout=0.5)
        if done:
            return
        _publish_metrics(_consumer(app))
    waiting.cancel()


def _publish_metrics(consumer: Consumer) -> None:
    metrics.PARTITIONS_OWNED.set(len(consumer.lanes))


async def _stop(app: faust.App, health: HealthServer) -> None:
    """One deadline for all of it: commit, give leases back, close."""
    try:
        async with asyncio.timeout(_STOP_SECONDS):
            await _consumer(app).stop_lanes()
            await app.stop()
            await health.stop()
    except TimeoutError as error:
        msg = (
            f"the processor did not stop within {_STOP_SECONDS:.0f} s; uncommitted work is done again at the next start"
        )
        raise GuildstreamError(msg) from error


def _consumer(app: faust.App) -> Consumer:
    return cast("Consumer", app.consumer)


def _ready(app: faust.App) -> bool:
    return bool(_consumer(app).healthy and _consumer(app).lanes)
