"""Fixtures for everybody: see ``tests/servers.py`` for what is behind them."""

from __future__ import annotations

import os
from collections.abc import Iterator

import hypothesis
import pytest

from guildstream.connections import connect_redis
from guildstream.services import ServiceUrls
from guildstream.services.postgres import PostgresServer
from guildstream.services.redis_server import RedisServer
from tests.servers import Databases, PrivateServer, private_server, temporary_servers

# A run repeats another: the same code passes or fails everywhere. `HYPOTHESIS_PROFILE=explore` looks further.
hypothesis.settings.register_profile("repeatable", derandomize=True, deadline=None)
hypothesis.settings.register_profile("explore", derandomize=False, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


@pytest.fixture(scope="session")
def servers() -> Iterator[ServiceUrls]:
    """PostgreSQL and Redis shared by the whole session, without fsync. Prefer the fixtures below."""
    with temporary_servers() as urls:
        yield urls


@pytest.fixture(scope="session")
def databases(servers: ServiceUrls) -> Databases:
    """What makes databases on the session's PostgreSQL."""
    return Databases(servers.database)


@pytest.fixture
def redis_url(servers: ServiceUrls) -> str:
    """The session's Redis, emptied for this test."""
    with connect_redis(servers.redis, name="tests") as client:
        client.flushall()
        client.script_flush()
    return servers.redis


@pytest.fixture
def database_url(databases: Databases) -> Iterator[str]:
    """A database of this test's own, with all migrations applied."""
    with databases.migrated() as dsn:
        yield dsn


@pytest.fixture
def empty_database_url(databases: Databases) -> Iterator[str]:
    """A database of this test's own, with nothing in it."""
    with databases.empty() as dsn:
        yield dsn


@pytest.fixture
def redis_server() -> Iterator[PrivateServer]:
    """A durable redis-server that this test alone uses, and may kill, pause and restart."""
    with private_server(RedisServer) as server:
        yield server


@pytest.fixture
def postgres_server() -> Iterator[PrivateServer]:
    """A durable PostgreSQL that this test alone uses, and may kill, pause and restart. Takes a second to make."""
    with private_server(PostgresServer) as server:
        yield server
