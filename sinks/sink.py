"""The sink's loop: one batch is prepared while another loads; what is loaded is trimmed."""

from __future__ import annotations

import logging
import random
import threading
from contextlib import closing
from typing import Final

import psycopg
import redis

from guildstream import metrics
from guildstream.connections import connect_redis
from guildstream.deployment import Deployment, ensure_deployment
from guildstream.errors import ConfigError, DatabaseUnavailable, StreamDamaged, TransientError
from guildstream.keys import Keys
from guildstream.migrations import check_schema
from guildstream.settings import Settings
from sinks.background import FoldThread
from sinks.connections import connect_postgres, database_errors, redis_errors
from sinks.loader import Loader, OffsetsMovedError
from sinks.offsets import OffsetTable
from sinks.preparation import Preparation, StoppedPartitions
from sinks.reader import ResultsStreams
from sinks.refresh import refresh
from sinks.session import Care, RowsRefusedError, Session

__all__ = ["Sink"]

_MAX_BACKOFF_SECONDS: Final = 10.0

_log = logging.getLogger("guildstream.sink")


class Sink:
    """Loads all partitions' results until it is told to stop.

    Several may run on the same deployment: rows are loaded once all the same, since each batch holds the
    offsets of its partitions.

    Args:
        settings: both URLs are needed.

    Raises:
        ConfigError: a URL is missing.
    """

    def __init__(self, settings: Settings) -> None:
        if settings.redis_url is None or settings.database_url is None:
            raise ConfigError("the sink needs GUILDSTREAM_REDIS_URL and GUILDSTREAM_DATABASE_URL")
        self._settings = settings
        self._redis_url = settings.redis_url
        self._dsn = settings.database_url.get_secret_value()
        self._keys = Keys(settings.prefix)
        self._deployment: Deployment | None = None
        self._failures = 0
        self._connected = False
        self._schema_checked = False
        self.stopped = StoppedPartitions()
        self._care = Care(self.stopped)

    @property
    def ready(self) -> bool:
        """Whether it is connected and no partition is stopped."""
        return self._connected and not self.stopped.reasons

    def run(self, stop: threading.Event) -> None:
        """Load until ``stop`` is set, then finish the batch at hand and fold. Blocks.

        Servers that are away are waited for. What is loaded and what isn't is in PostgreSQL alone, so a
        kill at any instant costs nothing.

        Raises:
            ConfigError: the deployment or the results are not this release's or these settings'.
            StreamDamaged: Redis holds another deployment than when the sink began.
            psycopg.Error: PostgreSQL refuses what is not a row: a missing table, a missing right.
        """
        with FoldThread(self._dsn, self._settings.refresh_seconds):
            while not stop.is_set():
                try:
                    self._work(stop)
                except (OffsetsMovedError, RowsRefusedError) as error:
                    _log.warning("%s; reading the offsets again", error)
                    metrics.SINK_RETRIES.labels(cause=type(error).__name__).inc()
                except (TransientError, psycopg.errors.CheckViolation) as error:
                    self._back_off(stop, error)
                finally:
                    self._connected = False

    def _back_off(self, stop: threading.Event, error: Exception) -> None:
        self._failures += 1
        cause = "database" if isinstance(error, DatabaseUnavailable | psycopg.Error) else "redis"
        metrics.SINK_RETRIES.labels(cause=cause).inc()
        limit = min(_MAX_BACKOFF_SECONDS, 0.1 * 2.0**self._failures)
        delay = limit * random.uniform(0.5, 1.0)  # noqa: S311 - jitter, not a secret
        _log.warning("%s; trying again in %.1f s", error, delay)
        stop.wait(delay)

    def _work(self, stop: threading.Event) -> None:
        """One pair of connections, until one of them fails or ``stop`` is set."""
        if not self._schema_checked:
            check_schema(self._dsn)
            self._schema_checked = True
        with (
            closing(connect_redis(self._redis_url, name="guildstream-sink")) as client,
            closing(connect_postgres(self._dsn, name="guildstream sink")) as connection,
        ):
            session = self._begin(client, connection)
            self._connected = True
            with database_errors():
                session.work(stop, on_progress=self._progress)
                refresh(connection)

    def _begin(self, client: redis.Redis, connection: psycopg.Connection) -> Session:
        with redis_errors():
            table = OffsetTable(self._same_deployment(client))
            streams = ResultsStreams(client, self._keys, self._settings.partitions)
        with database_errors():
            offsets = table.read(connection)
            loader = Loader(connection, table)
            if others := table.other_deployments(connection):
                _log.warning("the database also holds results of other deployments: %s", ", ".join(others))
        streams.register(offsets)
        preparation = Preparation(
            streams,
            offsets,
            self.stopped,
            batch_events=self._settings.sink_batch_events,
            store_events=self._settings.store_events,
        )

        def check_redis() -> None:
            with redis_errors():
                self._same_deployment(client)
            preparation.check_commits(streams.commits())

        check_redis()
        # Whatever ended the last session may have come between a load and its trimming.
        streams.done({p: offset for p, offset in offsets.items() if offset.commit and p not in self.stopped})
        return Session(streams, loader, preparation, self._care, check_redis)

    def _same_deployment(self, client: redis.Redis) -> Deployment:
        found = ensure_deployment(client, self._keys, self._settings.partitions)
        if self._deployment is not None and found.id != self._deployment.id:
            raise StreamDamaged(
                f"{self._keys.meta} was deployment {self._deployment.id} when the sink began and is {found.id} now: "
                "Redis has lost everything. Restore it, or start the sink again to go on with the new deployment"
            )
        self._deployment = found
        return found

    def _progress(self) -> None:
        self._failures = 0
