"""The schema goes up and down, is what its files say, and explains itself."""

from __future__ import annotations

import os
import re
import subprocess
import threading
from typing import get_args

import psycopg
import pytest

from guildstream.errors import ConfigError, DatabaseUnavailable
from guildstream.measures import MEASURES, VOICE_MEASURES
from guildstream.migrations import check_schema, migrate_down, migrate_up, migration_plan, migration_status
from guildstream.services.programs import find_programs
from sql import QueryName, load_migrations, load_queries, load_scripts

NAMES = [migration.name for migration in load_migrations()]
SCRIPTS = [script.name for script in load_scripts()]


def schema_of(dsn: str) -> str:
    """The schema as pg_dump writes it, without what differs between runs of pg_dump."""
    command = [find_programs().postgres_bin / "pg_dump", "--schema-only", "--no-password", dsn]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, "LC_ALL": "C"})
    return re.sub(r"^\\(un)?restrict .*$", "", dumped.stdout, flags=re.MULTILINE)


def test_up_down_up_ends_in_the_same_schema(empty_database_url: str) -> None:
    empty = schema_of(empty_database_url)
    assert migrate_up(empty_database_url) == [*NAMES, *SCRIPTS]
    whole = schema_of(empty_database_url)
    assert migrate_up(empty_database_url) == []
    assert migrate_down(empty_database_url, 0) == NAMES[::-1]
    assert schema_of(empty_database_url) == empty
    assert migrate_down(empty_database_url, 0) == []
    migrate_up(empty_database_url)
    assert schema_of(empty_database_url) == whole
    for number in range(len(NAMES) - 1, 0, -1):
        assert migrate_down(empty_database_url, number) == NAMES[number:][::-1]
        migrate_up(empty_database_url)
        assert schema_of(empty_database_url) == whole


def test_down_takes_partitions_and_rows_with_it(empty_database_url: str) -> None:
    empty = schema_of(empty_database_url)
    migrate_up(empty_database_url)
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("SELECT guildstream.make_partitions('events', 'day', ARRAY['2026-01-01'::date])")
    migrate_down(empty_database_url, 0)
    assert schema_of(empty_database_url) == empty


def test_plan_and_status_tell_without_doing(empty_database_url: str) -> None:
    assert [step.name for step in migration_plan(empty_database_url)] == [*NAMES, *SCRIPTS]
    assert all(status.applied_at is None for status in migration_status(empty_database_url))
    with pytest.raises(ConfigError, match="guildstream migrate up"):
        check_schema(empty_database_url)
    migrate_up(empty_database_url)
    assert migration_plan(empty_database_url) == []
    assert all(status.applied_at for status in migration_status(empty_database_url))
    check_schema(empty_database_url)


def test_callers_that_race_migrate_once(empty_database_url: str) -> None:
    applied: list[list[str]] = []
    threads = [threading.Thread(target=lambda: applied.append(migrate_up(empty_database_url))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(map(len, applied)) == [0, 0, 0, len(NAMES) + len(SCRIPTS)]


def test_a_changed_migration_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE guildstream.migrations SET checksum = 'other' WHERE number = 2")
    for call in (migrate_up, migration_status, migration_plan, lambda dsn: migrate_down(dsn, 0)):
        with pytest.raises(ConfigError, match="0002_attributes was changed after it was applied"):
            call(database_url)


def test_a_newer_schema_is_refused(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("INSERT INTO guildstream.migrations VALUES (9999, '9999_future', 'x')")
    with pytest.raises(ConfigError, match="9999_future"):
        check_schema(database_url)


def test_a_changed_function_is_applied_again(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE guildstream.scripts SET checksum = 'other' WHERE name = 'analytics.leaderboard'")
    assert migrate_up(database_url) == ["analytics.leaderboard"]


def test_a_server_that_is_away_is_a_transient_error() -> None:
    with pytest.raises(DatabaseUnavailable):
        migrate_up("postgresql://nobody@127.0.0.1:1/nothing")


def test_everything_has_a_comment(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT guildstream.make_partitions('events', 'day', ARRAY['2026-01-01'::date])")
        silent = connection.execute(
            "SELECT relname, attname FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid "
            "WHERE relnamespace IN ('guildstream'::regnamespace, 'analytics'::regnamespace) "
            "AND relkind IN ('r', 'p', 'v', 'm') AND attnum > 0 AND NOT attisdropped "
            "AND (col_description(pg_class.oid, attnum) IS NULL OR obj_description(pg_class.oid, 'pg_class') IS NULL) "
            "UNION ALL SELECT proname, NULL FROM pg_proc "
            "WHERE pronamespace IN ('guildstream'::regnamespace, 'analytics'::regnamespace) "
            "AND obj_description(pg_proc.oid, 'pg_proc') IS NULL"
        ).fetchall()
    assert silent == []


def test_relations_carry_every_measure_as_bigint(database_url: str) -> None:
    with psycopg.connect(database_url) as connection:
        for relation, measures in {
            "guildstream.member_activity": MEASURES,
            "guildstream.activity_delta": MEASURES,
            "guildstream.activity_hourly": MEASURES,
            "guildstream.activity_daily": MEASURES,
            "guildstream.voice_sessions": VOICE_MEASURES,
            **{f"analytics.{level}_{unit}": MEASURES for level in ("guild", "member") for unit in
               ("hourly", "daily", "weekly", "monthly")},
            "analytics.channel_hourly": MEASURES,
            "analytics.channel_daily": MEASURES,
            "analytics.member_channel_daily": MEASURES,
        }.items():  # fmt: skip
            columns = connection.execute(
                "SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 "
                "AND atttypid = 'bigint'::regtype AND attname NOT LIKE '%%\\_id' AND attname <> 'active_members' "
                "ORDER BY attnum",
                (relation,),
            ).fetchall()
            assert tuple(name for (name,) in columns) == measures, relation


def test_the_analyst_reads_analytics_and_nothing_else(database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("GRANT guildstream_analyst TO CURRENT_USER")
        connection.execute("SET ROLE guildstream_analyst")
        for (name,) in connection.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'analytics'::regnamespace AND relkind = 'v'"
        ).fetchall():
            connection.execute(psycopg.sql.SQL("SELECT * FROM analytics.{}").format(psycopg.sql.Identifier(name)))
        connection.execute("SELECT * FROM analytics.leaderboard(1, 'all')")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT * FROM guildstream.member_totals")


def test_query_names_are_those_of_the_files() -> None:
    assert set(get_args(QueryName)) == set(load_queries())
