"""The sink as a component: ``run`` blocks until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import threading
from typing import Final

from guildstream.http import HealthServer
from guildstream.logs import configure_logging
from guildstream.settings import Settings
from sinks.sink import Sink

__all__ = ["run"]

#: From the signal to the end: the batch at hand and one fold, with room for a slow disk.
_SHUTDOWN_SECONDS: Final = 20.0

_log = logging.getLogger("guildstream.sink")


def run(settings: Settings) -> int:
    """Load results into PostgreSQL until SIGTERM or SIGINT.

    Returns:
        0 after a clean end; 1 if the end took longer than the deadline (nothing is lost: what was not
        committed is loaded again).

    Raises:
        ConfigError: a URL is missing, or the schema is older than this release.
        GuildstreamError: something that retrying can't change.
    """
    configure_logging(settings, "sink")
    # Batches are millions of short-lived lists without cycles: looking for some costs a third of the time.
    gc.freeze()
    gc.set_threshold(100_000, 20, 1000)
    return asyncio.run(_serve(settings, Sink(settings)))


async def _serve(settings: Settings, sink: Sink) -> int:
    loop = asyncio.get_running_loop()
    stop, asked, ended = threading.Event(), asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, asked.set)
    errors: list[BaseException] = []
    # A daemon: a server that never answers must not keep the process from ending.
    work = threading.Thread(target=_work, args=(sink, stop, errors), name="sink", daemon=True)
    waiter = threading.Thread(target=_tell, args=(work, loop, asked, ended), name="sink-end", daemon=True)
    health = HealthServer(settings, "sink", lambda: sink.ready)
    await health.start()
    try:
        work.start()
        waiter.start()
        await asked.wait()
        stop.set()
        await asyncio.wait_for(ended.wait(), _SHUTDOWN_SECONDS)
    except TimeoutError:
        _log.error("the sink did not end within %.0f s; what is not committed will be loaded again", _SHUTDOWN_SECONDS)
        return 1
    finally:
        await health.stop()
    if errors:
        raise errors[0]
    return 0


def _work(sink: Sink, stop: threading.Event, errors: list[BaseException]) -> None:
    try:
        sink.run(stop)
    except BaseException as error:  # noqa: BLE001 - raised again by the main thread
        errors.append(error)


def _tell(work: threading.Thread, loop: asyncio.AbstractEventLoop, *events: asyncio.Event) -> None:
    work.join()
    for event in events:
        loop.call_soon_threadsafe(event.set)
