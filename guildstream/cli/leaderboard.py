"""``guildstream leaderboard``: who leads in a guild."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click
import psycopg

from guildstream.cli.database import reading
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, json_option
from guildstream.cli.output import as_json_list, as_table
from guildstream.errors import ConfigError
from guildstream.measures import MEASURES
from guildstream.repositories import leaderboard as read_leaderboard

__all__ = ["leaderboard"]

_PERIODS = ("all", "day", "week", "month", "rolling_7d", "rolling_30d")
_COLUMNS = ("rank", "user_id", "display_name", "value", "level")
_BUSIEST = "SELECT guild_id FROM guildstream.member_totals GROUP BY guild_id ORDER BY sum(xp) DESC, guild_id LIMIT 1"


@click.command()
@click.argument("guild_id", type=click.IntRange(1, 2**63 - 1), required=False)
@click.option("--period", type=click.Choice(_PERIODS), default="all", show_default=True)
@click.option("--measure", type=click.Choice(MEASURES), default="xp", show_default=True, metavar="NAME")
@click.option("--at", type=click.DateTime(["%Y-%m-%d"]), help="A day within the period; today if absent.")
@click.option("--rows", type=click.IntRange(1, 1000), default=10, show_default=True)
@click.option("--skip", type=click.IntRange(0), default=0, show_default=True)
@json_option
@data_dir_option
@click.pass_obj
def leaderboard(
    invocation: Invocation,
    guild_id: int | None,
    *,
    period: str,
    measure: str,
    at: datetime | None,
    rows: int,
    skip: int,
    as_json: bool,
) -> int:
    """Show who leads in a guild; in the one with the most XP if none is named.

    Ties share a rank. Periods follow the guild's local days.
    """
    with invocation.running_servers(redis=False) as settings, reading(database_dsn(settings)) as connection:
        guild = guild_id or _busiest_guild(connection)
        day = at.replace(tzinfo=UTC).date() if at is not None else None
        found = read_leaderboard(connection, guild, period, measure=measure, at=day, max_rows=rows, skip=skip)
        board = [[getattr(row, column) for column in _COLUMNS] for row in found]
    if as_json:
        click.echo(as_json_list(_COLUMNS, board))
        return 0
    click.echo(f"guild {guild}, {measure}, {period}")
    click.echo(as_table(_COLUMNS, board))
    return 0


def _busiest_guild(connection: psycopg.Connection[Any]) -> int:
    row = connection.execute(_BUSIEST).fetchone()
    if row is None:
        raise ConfigError("no guild has any activity yet; name a guild id once one has")
    guild_id: int = row[0]
    return guild_id
