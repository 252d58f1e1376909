"""The schema's steps, taken forward and back under one lock, with checksums.

Every function connects by itself (blocking, psycopg) and leaves the schema either as it was or as
asked: all steps of one call are one transaction. A crash in the middle changes nothing.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import psycopg
import psycopg.sql

from guildstream.errors import ConfigError, DatabaseUnavailable
from sql import Migration, load_migrations, load_scripts

__all__ = [
    "AppliedMigration",
    "PlannedStep",
    "check_schema",
    "migrate_down",
    "migrate_up",
    "migration_plan",
    "migration_status",
]

_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('guildstream.migrations', 0))"
_CREATE_ACCOUNTS = """
CREATE SCHEMA IF NOT EXISTS guildstream;
CREATE TABLE IF NOT EXISTS guildstream.migrations (
    number integer PRIMARY KEY,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE guildstream.migrations IS 'Steps of the schema that are in force.';
CREATE TABLE IF NOT EXISTS guildstream.scripts (
    name text PRIMARY KEY,
    checksum text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
COMMENT ON TABLE guildstream.scripts IS 'Functions and grants in force; applied again whenever their file changes.';
"""
_DROP_ACCOUNTS = "DROP TABLE guildstream.migrations, guildstream.scripts; DROP SCHEMA guildstream"
_APPLIED = "SELECT number, name, checksum, applied_at FROM guildstream.migrations ORDER BY number"
_MIGRATED = "INSERT INTO guildstream.migrations (number, name, checksum) VALUES (%s, %s, %s)"
_SCRIPTED = """
INSERT INTO guildstream.scripts (name, checksum) VALUES (%s, %s)
ON CONFLICT (name) DO UPDATE SET checksum = excluded.checksum, applied_at = clock_timestamp()
"""


@dataclass(frozen=True, slots=True)
class AppliedMigration:
    """One known migration and whether it is in force.

    Attributes:
        number: its place, from 1.
        name: ``NNNN_name``.
        phase: ``before`` or ``after`` a deploy.
        applied_at: when it was applied; None: it is not.
    """

    number: int
    name: str
    phase: str
    applied_at: datetime | None


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One thing that ``migrate_up`` would do.

    Attributes:
        name: of the migration or script.
        phase: ``before``, ``after``, or ``script``.
        text: the SQL.
    """

    name: str
    phase: str
    text: str


def migrate_up(dsn: str) -> list[str]:
    """Take every step that is missing; several callers may race. Idempotent.

    Returns:
        Names of the migrations and scripts that it applied, in order.

    Raises:
        ConfigError: the schema was made by a newer release, or a step in force differs from its file.
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    with _transaction(dsn) as connection:
        connection.execute(_CREATE_ACCOUNTS)
        missing = _missing(connection)
        for migration in missing:
            connection.execute(migration.up)
            connection.execute(_MIGRATED, (migration.number, migration.name, migration.checksum))
        return [migration.name for migration in missing] + _apply_scripts(connection, everything=bool(missing))


def migrate_down(dsn: str, to: int) -> list[str]:
    """Take back every step above ``to``; 0 leaves nothing of ours in the database.

    Functions and grants go with any step: they fit one schema only, and the next ``migrate_up`` (of the
    release that fits) puts its own in place.

    Returns:
        Names of the migrations taken back, in order.

    Raises:
        ConfigError: a step in force is not known to this release.
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    with _transaction(dsn) as connection:
        if not _has_accounts(connection):
            return []
        numbers = _checked_numbers(connection)
        leaving = [
            migration
            for migration in reversed(load_migrations())
            if to < migration.number and migration.number in numbers
        ]
        if leaving:
            _drop_functions(connection)
        for migration in leaving:
            connection.execute(migration.down)
            connection.execute("DELETE FROM guildstream.migrations WHERE number = %s", (migration.number,))
        if to <= 0:
            connection.execute(_DROP_ACCOUNTS)
        return [migration.name for migration in leaving]


def migration_status(dsn: str) -> list[AppliedMigration]:
    """Every known migration and whether it is in force.

    Raises:
        ConfigError: the schema was made by a newer release, or a step in force differs from its file.
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    with _transaction(dsn) as connection:
        applied: dict[int, datetime] = {}
        if _has_accounts(connection):
            _checked_numbers(connection)
            applied = {number: at for number, _, _, at in connection.execute(_APPLIED)}
        return [AppliedMigration(m.number, m.name, m.phase, applied.get(m.number)) for m in load_migrations()]


def migration_plan(dsn: str) -> list[PlannedStep]:
    """What ``migrate_up`` would do, without doing it.

    Raises:
        ConfigError: the schema was made by a newer release, or a step in force differs from its file.
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    with _transaction(dsn) as connection:
        known = _has_accounts(connection)
        missing = _missing(connection) if known else list(load_migrations())
        checksums = _script_checksums(connection) if known else {}
        steps = [PlannedStep(m.name, m.phase, m.up) for m in missing]
        scripts = (s for s in load_scripts() if missing or checksums.get(s.name) != s.checksum)
        return steps + [PlannedStep(s.name, "script", s.text) for s in scripts]


def check_schema(dsn: str) -> None:
    """Make sure that the schema is the one this release writes.

    Raises:
        ConfigError: it is not; the message says what to do.
        DatabaseUnavailable: PostgreSQL can't be reached.
    """
    if missing := [step.name for step in migration_plan(dsn)]:
        msg = (
            f"the database's schema is older than this release: {', '.join(missing)} missing; "
            "run `guildstream migrate up` first"
        )
        raise ConfigError(msg)


@contextmanager
def _transaction(dsn: str) -> Generator[psycopg.Connection]:
    try:
        with psycopg.connect(dsn, application_name="guildstream migrate") as connection:
            connection.execute(_LOCK)
            yield connection
    except psycopg.OperationalError as error:
        raise DatabaseUnavailable(f"PostgreSQL is away or busy: {error}") from error


def _has_accounts(connection: psycopg.Connection) -> bool:
    row = connection.execute("SELECT to_regclass('guildstream.scripts') IS NOT NULL").fetchone()
    return row is not None and bool(row[0])


def _missing(connection: psycopg.Connection) -> list[Migration]:
    numbers = _checked_numbers(connection)
    return [migration for migration in load_migrations() if migration.number not in numbers]


def _checked_numbers(connection: psycopg.Connection) -> set[int]:
    """Numbers of the steps in force, after comparing each with its file."""
    known = {migration.number: migration for migration in load_migrations()}
    applied = connection.execute(_APPLIED).fetchall()
    for number, name, checksum, _ in applied:
        if number not in known:
            msg = f"the database has migration {name}, which this release doesn't know: use the release that made it"
            raise ConfigError(msg)
        if checksum != known[number].checksum:
            msg = (
                f"migration {name} was changed after it was applied (checksum {checksum[:12]}… in the database, "
                f"{known[number].checksum[:12]}… in this release): restore the file and add a new migration instead"
            )
            raise ConfigError(msg)
    return {row[0] for row in applied}


def _script_checksums(connection: psycopg.Connection) -> dict[str, str]:
    return dict(connection.execute("SELECT name, checksum FROM guildstream.scripts").fetchall())


def _apply_scripts(connection: psycopg.Connection, *, everything: bool) -> list[str]:
    """Apply changed scripts; grants, too, whenever there is a new relation."""
    checksums = _script_checksums(connection)
    scripts = [s for s in load_scripts() if everything or checksums.get(s.name) != s.checksum]
    for script in scripts:
        connection.execute(script.text)
        connection.execute(_SCRIPTED, (script.name, script.checksum))
    return [script.name for script in scripts]


def _drop_functions(connection: psycopg.Connection) -> None:
    for script in load_scripts():
        if script.is_function:
            schema, name = script.name.split(".")
            connection.execute(
                psycopg.sql.SQL("DROP ROUTINE IF EXISTS {}").format(psycopg.sql.Identifier(schema, name))
            )
    connection.execute("DELETE FROM guildstream.scripts")
