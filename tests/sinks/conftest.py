"""A sink that runs in a thread or a process of its own, on the session's servers."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import psycopg
import pytest

from guildstream.connections import connect_redis
from guildstream.settings import Settings, load_settings
from sinks.sink import Sink
from tests.servers import wait_until
from tests.sinks.production import Production

PARTITIONS = 4


@dataclass
class Stage:
    """Redis with a production, PostgreSQL, and sinks between them."""

    redis_url: str
    database_url: str
    production: Production
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def settings(self) -> Settings:
        options = {"refresh_seconds": 0.2, **self.options}
        return load_settings(
            {}, redis_url=self.redis_url, database_url=self.database_url, partitions=PARTITIONS, **options
        )

    @contextmanager
    def sink(self) -> Iterator[Sink]:
        """A sink in a thread; what it raises is raised at the end."""
        sink, stop, errors = Sink(self.settings), threading.Event(), []

        def work() -> None:
            try:
                sink.run(stop)
            except Exception as error:  # noqa: BLE001 - raised again by the test
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield sink
        finally:
            stop.set()
            thread.join(30)
            assert not thread.is_alive(), "the sink does not end"
        if errors:
            raise errors[0]

    def process(self) -> subprocess.Popen[bytes]:
        """A sink in a process of its own."""
        code = "import sys; from guildstream.settings import load_settings; from sinks.component import run; "
        variables = {
            "GUILDSTREAM_REDIS_URL": self.redis_url,
            "GUILDSTREAM_DATABASE_URL": self.database_url,
            "GUILDSTREAM_PARTITIONS": str(PARTITIONS),
            "GUILDSTREAM_REFRESH_SECONDS": "0.1",
            **{f"GUILDSTREAM_{name.upper()}": str(value) for name, value in self.options.items()},
        }
        return subprocess.Popen(
            [sys.executable, "-c", code + "sys.exit(run(load_settings()))"],
            env={**os.environ, **variables},
            stderr=subprocess.DEVNULL,
        )

    def query(self, statement: str, *arguments: Any) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.database_url) as connection:
            return connection.execute(statement, arguments or None).fetchall()

    def loaded(self) -> int:
        """How many positions are loaded."""
        return int(self.query("SELECT coalesce(sum(position), 0) FROM guildstream.sink_offsets")[0][0])

    def committed(self) -> int:
        return sum(self.production.position(partition) for partition in range(PARTITIONS))

    def wait_loaded(self, deadline_seconds: float = 15.0) -> None:
        wait_until(
            lambda: self.loaded() == self.committed(), deadline_seconds=deadline_seconds, what="loading everything"
        )

    def load(self) -> None:
        """Run a sink until everything is loaded and folded."""
        with self.sink():
            self.wait_loaded()


@pytest.fixture
def stage(redis_url: str, database_url: str) -> Iterator[Stage]:
    with connect_redis(redis_url, name="production") as client:
        yield Stage(redis_url, database_url, Production(client, partitions=PARTITIONS))


@pytest.fixture
def stage_on(redis_url: str) -> Iterator[Callable[[str], Stage]]:
    """Stages on another PostgreSQL."""
    with connect_redis(redis_url, name="production") as client:
        yield lambda database_url: Stage(redis_url, database_url, Production(client, partitions=PARTITIONS))
