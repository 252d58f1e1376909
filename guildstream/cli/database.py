"""One read-only conversation with PostgreSQL for a command."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import psycopg

from guildstream.errors import DatabaseUnavailable, GuildstreamError

__all__ = ["QueryFailed", "reading"]

_LIMITS = """
SELECT set_config('search_path', 'analytics, guildstream', true),
       set_config('timezone', 'UTC', true),
       set_config('statement_timeout', '30s', true)
"""


class QueryFailed(GuildstreamError):
    """PostgreSQL refused a query; the message is its own."""


@contextmanager
def reading(dsn: str) -> Generator[psycopg.Connection[Any], None, None]:
    """A connection in a read-only transaction over both schemas, time zone UTC, 30 seconds at most a query.

    Raises:
        DatabaseUnavailable: PostgreSQL can't be reached.
        QueryFailed: it refused what was asked within the block.
    """
    try:
        connection = psycopg.connect(dsn, connect_timeout=10, application_name="guildstream cli")
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL can't be reached: {error}") from error
    with connection:
        connection.read_only = True
        try:
            connection.execute(_LIMITS)
            yield connection
        except psycopg.Error as error:
            raise QueryFailed(str(error).strip()) from error
        finally:
            connection.rollback()
