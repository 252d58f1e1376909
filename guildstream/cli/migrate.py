"""``guildstream migrate``: the database schema, forwards and backwards."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

import click

from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn
from guildstream.cli.output import as_table
from guildstream.migrations import migrate_down, migrate_up, migration_plan, migration_status

__all__ = ["migrate"]


@click.group()
@data_dir_option
def migrate() -> None:
    """Change the schema of the database, or say what would change."""


@contextmanager
def _database(invocation: Invocation) -> Generator[str, None, None]:
    with invocation.running_servers(redis=False) as settings:
        yield database_dsn(settings)


@migrate.command()
@data_dir_option
@click.pass_obj
def up(invocation: Invocation) -> int:
    """Apply every migration that is not applied yet."""
    with _database(invocation) as dsn:
        applied = migrate_up(dsn)
    click.echo("\n".join(f"applied {name}" for name in applied) or "nothing to apply")
    return 0


@migrate.command()
@click.option("--to", type=click.IntRange(min=0), required=True, help="The last migration to keep; 0 drops all.")
@data_dir_option
@click.pass_obj
def down(invocation: Invocation, to: int) -> int:
    """Take migrations back, newest first. Drops data."""
    with _database(invocation) as dsn:
        taken_back = migrate_down(dsn, to)
    click.echo("\n".join(f"took back {name}" for name in taken_back) or "nothing to take back")
    return 0


@migrate.command()
@data_dir_option
@click.pass_obj
def status(invocation: Invocation) -> int:
    """Name each migration and when it was applied."""
    with _database(invocation) as dsn:
        known = migration_status(dsn)
    rows = [[each.name, each.phase, each.applied_at or "not applied"] for each in known]
    click.echo(as_table(("migration", "phase", "applied"), rows))
    return 0


@migrate.command()
@data_dir_option
@click.pass_obj
def plan(invocation: Invocation) -> int:
    """Print the statements that `migrate up` would run."""
    with _database(invocation) as dsn:
        steps = migration_plan(dsn)
    for step in steps:
        click.echo(f"-- {step.name} ({step.phase})\n{step.text.strip()}\n")
    if not steps:
        click.echo("-- nothing to apply")
    return 0
