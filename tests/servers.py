"""Real servers for tests: shared ones for the session, private ones that a test may kill.

Import from test modules as ``from tests.servers import wait_until``.
"""

from __future__ import annotations

import itertools
import os
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

from guildstream.services import ServiceUrls, remove_services, start_services
from guildstream.services.guardian import Tie, release_tie, tie_to_this_process
from guildstream.services.passwords import make_passwords
from guildstream.services.placement import make_place, services_dir
from guildstream.services.postgres import PostgresServer
from guildstream.services.probes import port_is_free
from guildstream.services.programs import find_programs, reachable_programs
from guildstream.services.redis_server import RedisServer
from guildstream.services.server import Record, Server

__all__ = ["Databases", "PrivateServer", "open_temp_dir", "private_server", "temporary_servers", "wait_until"]


def wait_until(condition: Callable[[], bool], *, deadline_seconds: float = 30.0, what: str = "the condition") -> None:
    """Poll until the condition holds; fail the test with ``what`` if it doesn't within the deadline."""
    ends = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= ends:
            msg = f"{what} did not come true within {deadline_seconds} s"
            raise AssertionError(msg)
        pause.wait(0.01)


@contextmanager
def open_temp_dir(prefix: str = "gs-test-") -> Iterator[Path]:
    """A temporary directory that the servers' account may pass through, so that root's data stays inside it."""
    with tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        yield directory


@contextmanager
def temporary_servers(*, durable: bool = False) -> Iterator[ServiceUrls]:
    """PostgreSQL and Redis of a temporary directory; stopped at the end, also if this process is killed."""
    with open_temp_dir() as data_dir:
        try:
            yield start_services(data_dir, tied=True, durable=durable)
        finally:
            remove_services(data_dir)


class PrivateServer:
    """One server, durable, that belongs to one test: it may be killed, paused, stopped and started again.

    Attributes:
        url: how to reach it; the same after every start.
    """

    def __init__(self, server: Server, tie: Tie) -> None:
        self._server = server
        self._tie = tie
        self._record = self._begin()
        self.url = server.url(self._record.port)

    @property
    def pid(self) -> int:
        """Its process id; fails if it doesn't run."""
        pid = self._server.pid(self._record)
        assert pid is not None, f"{self._server.name} is not running"
        return pid

    def kill(self) -> None:
        """SIGKILL, and wait until all of its processes are gone."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: not self._server.is_alive(), what=f"the end of {self._server.name}")

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """A clean stop; nothing if it doesn't run."""
        if self._server.pid(self._record) is not None:
            self.resume()
        self._server.stop()

    def start(self) -> None:
        """Start it again, on the same port and data; returns when it answers."""
        # A client that tries to connect meanwhile may be given this very port for its own end, and meet itself.
        port = self._record.port
        wait_until(lambda: port_is_free(port), deadline_seconds=60, what=f"that port {port} is free again")
        self._record = self._begin()
        assert self._server.url(self._record.port) == self.url, "somebody took the port meanwhile"

    def _begin(self) -> Record:
        begun = self._server.begin(partial(self._tie.hold, self._server.name), deadline_seconds=30)
        return self._server.finish(begun, deadline_seconds=30)


@contextmanager
def private_server(kind: type[RedisServer | PostgresServer]) -> Iterator[PrivateServer]:
    """A server of this kind in a temporary directory; stopped at the end, also if this process is killed."""
    with open_temp_dir() as data_dir:
        ours = services_dir(data_dir)
        ours.mkdir(mode=0o711)
        place = make_place(data_dir)
        passwords = make_passwords(place)
        programs = reachable_programs(find_programs(), place.user, place.programs)
        if kind is RedisServer:
            server: Server = RedisServer(place, password=passwords.redis, programs=programs)
        else:
            server = PostgresServer(place, passwords=passwords, programs=programs)
        tie = tie_to_this_process(data_dir, ours, place.logs / "guardian.log")
        try:
            running = PrivateServer(server, tie)
            tie.confirm()
            yield running
            running.stop()
        finally:
            release_tie(ours)
            remove_services(data_dir)


class Databases:
    """Databases of one server, made quickly from a template and dropped after their test.

    Args:
        dsn: of a database whose role may create others.
    """

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._numbers = itertools.count(1)
        self._migrated: str | None = None

    @contextmanager
    def empty(self) -> Iterator[str]:
        """The DSN of a database with nothing in it."""
        with self._database("template0") as name:
            yield self._dsn_of(name)

    @contextmanager
    def migrated(self) -> Iterator[str]:
        """The DSN of a database with all migrations applied; they run once a session."""
        if self._migrated is None:
            from guildstream.migrations import migrate_up

            name = "migrated_template"
            self._execute(sql.SQL("DROP DATABASE IF EXISTS {}"), name)
            self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0"), name)
            migrate_up(self._dsn_of(name))
            self._migrated = name
        with self._database(self._migrated) as name:
            yield self._dsn_of(name)

    @contextmanager
    def _database(self, template: str) -> Iterator[str]:
        name = f"test_{next(self._numbers)}"
        self._execute(sql.SQL("CREATE DATABASE {} TEMPLATE {}"), name, template)
        try:
            yield name
        finally:
            wait_until(lambda: self._dropped(name), what=f"the end of database {name}")

    def _dropped(self, name: str) -> bool:
        """Drop a database; False while autovacuum, which only a superuser may interrupt, is in it."""
        try:
            self._execute(sql.SQL("DROP DATABASE {} WITH (FORCE)"), name)
        except psycopg.errors.InsufficientPrivilege:
            return False
        return True

    def _dsn_of(self, name: str) -> str:
        return urlsplit(self._dsn)._replace(path=f"/{name}").geturl()

    def _execute(self, statement: sql.SQL, *names: str) -> None:
        with psycopg.connect(self._dsn, autocommit=True) as connection:
            connection.execute(statement.format(*map(sql.Identifier, names)))
