"""Connections of the sink, and which errors mean that a server is away for now."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import psycopg
import redis
from redis.exceptions import OutOfMemoryError, ReadOnlyError

from guildstream.errors import DatabaseUnavailable, RedisUnavailable

__all__ = ["connect_postgres", "database_errors", "redis_errors"]

#: Refusals that pass by themselves, beside lost connections.
_BUSY = (OutOfMemoryError, ReadOnlyError)


def connect_postgres(dsn: str, *, name: str) -> psycopg.Connection:
    """A connection in autocommit mode, UTC, on which a dead server is noticed. Blocks.

    Raises:
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    with database_errors():
        connection = psycopg.connect(
            dsn,
            autocommit=True,
            application_name=name,
            connect_timeout=10,
            keepalives_idle=10,
            keepalives_interval=5,
            keepalives_count=3,
        )
        connection.execute("SET TIME ZONE 'UTC'")
        return connection


@contextmanager
def database_errors() -> Generator[None]:
    """Turn what will pass into ``DatabaseUnavailable``; rows that PostgreSQL refuses stay what they are."""
    try:
        yield
    except (psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex):
        raise
    except (psycopg.OperationalError, psycopg.InterfaceError) as error:
        raise DatabaseUnavailable(f"PostgreSQL is away or busy: {error}") from error


@contextmanager
def redis_errors() -> Generator[None]:
    """Turn what will pass into ``RedisUnavailable``."""
    try:
        yield
    except (redis.ConnectionError, redis.TimeoutError, *_BUSY) as error:
        raise RedisUnavailable(f"Redis is away or busy: {error}") from error
