"""A thread that loads one batch at a time, and one that folds now and then."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from queue import SimpleQueue
from typing import Final, Self

import psycopg

from guildstream.errors import DatabaseUnavailable
from sinks.connections import connect_postgres, database_errors
from sinks.refresh import refresh

__all__ = ["FoldThread", "LoadThread"]

#: A fold rests this many times as long as it took, so that loading keeps most of the machine.
_REST: Final = 4
_MAX_BACKOFF_SECONDS: Final = 30.0

_log = logging.getLogger("guildstream.sink")


class LoadThread:
    """Runs one call at a time in a thread of its own, while its user prepares the next.

    The thread is a daemon: a server that never answers can't keep the process from ending, and a
    transaction cut off so is rolled back.
    """

    def __init__(self) -> None:
        self._calls: SimpleQueue[tuple[Callable[[], None], Future[None]] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sink-load", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._calls.put(None)
        self._thread.join()

    def submit(self, call: Callable[[], None]) -> Future[None]:
        """Run the call after those before it; the future has its outcome."""
        future: Future[None] = Future()
        self._calls.put((call, future))
        return future

    def _run(self) -> None:
        while (item := self._calls.get()) is not None:
            call, future = item
            try:
                call()
            except BaseException as error:  # noqa: BLE001 - whoever waits for the future raises it
                future.set_exception(error)
            else:
                future.set_result(None)


class FoldThread:
    """Folds the delta log every so often until it is told to stop.

    Args:
        dsn: PostgreSQL.
        interval_seconds: pause between folds; longer where a fold itself takes long.
    """

    def __init__(self, dsn: str, interval_seconds: float) -> None:
        self._dsn = dsn
        self._interval = interval_seconds
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sink-fold", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                with closing(connect_postgres(self._dsn, name="guildstream fold")) as connection:
                    self._fold_on(connection)
            except (DatabaseUnavailable, psycopg.Error) as error:
                failures += 1
                _log.warning("the fold failed and will be tried again: %s", error)
                backoff = min(_MAX_BACKOFF_SECONDS, 0.2 * 2.0**failures)
                self._stop.wait(backoff * random.uniform(0.5, 1.5))  # noqa: S311 - jitter, not a secret

    def _fold_on(self, connection: psycopg.Connection) -> None:
        pause = self._interval
        while not self._stop.wait(pause):
            began = time.monotonic()
            with database_errors():
                refresh(connection)
            pause = max(self._interval, _REST * (time.monotonic() - began))
