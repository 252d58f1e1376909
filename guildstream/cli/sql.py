"""``guildstream sql``: a query over both schemas."""

from __future__ import annotations

from typing import Any, LiteralString

import click

from guildstream.cli.database import reading
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, json_option
from guildstream.cli.output import as_csv, as_json_list, as_table

__all__ = ["sql"]


@click.command()
@click.argument("query")
@json_option
@click.option("--csv", "as_comma_separated", is_flag=True, help="Print CSV with a header.")
@data_dir_option
@click.pass_obj
def sql(invocation: Invocation, query: str, as_json: bool, as_comma_separated: bool) -> int:
    """Run one query in a read-only transaction; time zone UTC, at most 30 seconds.

    Names are looked up in the schemas analytics and guildstream. Servers of a data directory that
    are not running are started for the query and stopped after it.
    """
    if as_json and as_comma_separated:
        raise click.UsageError("--json and --csv exclude each other")
    with invocation.running_servers(redis=False) as settings, reading(database_dsn(settings)) as connection:
        # Prepared, so that it is one statement: a second one could leave the read-only transaction.
        cursor = connection.execute(_trusted(query), prepare=True)
        columns = [column.name for column in cursor.description or ()]
        rows = cursor.fetchall() if columns else []
    if as_json:
        click.echo(as_json_list(columns, rows))
    elif as_comma_separated:
        click.echo(as_csv(columns, rows))
    elif columns:
        click.echo(as_table(columns, rows))
        click.echo(f"({len(rows)} row{'' if len(rows) == 1 else 's'})")
    return 0


def _trusted(query: Any) -> LiteralString:
    """The operator's own query: psycopg's types want to know that no program put it together."""
    text: LiteralString = query
    return text
