"""``guildstream explain`` and ``guildstream simulate``: the rules run again over stored events."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any, Final

import click
import msgspec
import psycopg

from guildstream.cli.database import reading
from guildstream.cli.decisions import GUILD_ID, USER_ID
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, json_option
from guildstream.cli.output import as_json_list, as_table
from guildstream.errors import ConfigError
from guildstream.guild_settings import change_settings
from guildstream.settings import Settings

__all__ = ["explain", "simulate"]

_EVENTS: Final = """
SELECT jsonb_strip_nulls(jsonb_build_object(
    'v', 1, 'type', type, 'ts', round(extract(epoch FROM occurred_at) * 1000)::bigint, 'session', session, 'seq', seq,
    'part', part, 'guild_id', guild_id, 'channel_id', channel_id, 'user_id', user_id, 'shard', shard,
    'replayed', replayed)) || jsonb_build_object('data', data)
FROM guildstream.events WHERE guild_id = %s ORDER BY position
"""
_EXPLAINED: Final = ("at", "what", "xp", "why")
_SIMULATED: Final = ("user_id", "xp", "simulated_xp", "difference", "level", "simulated_level")


@click.command()
@click.option("--guild", "guild_id", type=GUILD_ID, required=True)
@click.option("--member", "user_id", type=USER_ID, required=True)
@click.option("--at", "moment", required=True, help="A time such as 2026-03-01T12:00:00, UTC unless it says.")
@click.option("--minutes", type=click.IntRange(0, 10_080), default=10, show_default=True, help="Before and after.")
@json_option
@data_dir_option
@click.pass_obj
def explain(invocation: Invocation, guild_id: int, user_id: int, *, moment: str, minutes: int, as_json: bool) -> int:
    """Say what a member was awarded and refused around a time, and by which rule.

    Runs the rules again over the guild's stored events; nothing is changed.
    """
    at, around = _moment(moment), timedelta(minutes=minutes)
    with invocation.running_servers(redis=False) as settings, reading(database_dsn(settings)) as connection:
        rules: Any = import_module("processors.rerun")
        events = rules.read_events(_payloads(connection, guild_id))
        stretch = (_ms(at - around), _ms(at + around))
        found = rules.explain(events, _options(settings), user_id, *stretch)
    rows = [[datetime.fromtimestamp(its.ts_ms / 1000, UTC), its.kind, its.xp, its.why] for its in found]
    if as_json or rows:
        click.echo(as_json_list(_EXPLAINED, rows) if as_json else as_table(_EXPLAINED, rows))
    else:
        click.echo(f"nothing is stored of member {user_id} within {minutes} minutes of {at.isoformat()}")
    return 0


@click.command()
@click.option("--guild", "guild_id", type=GUILD_ID, required=True)
@click.option(
    "--settings",
    "path",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    required=True,
    help="JSON of what differs from the defaults.",
)
@json_option
@data_dir_option
@click.pass_obj
def simulate(invocation: Invocation, guild_id: int, *, path: Path, as_json: bool) -> int:
    """Compare members' totals with those under other settings, over the guild's stored events.

    The settings of the file hold from the first event on, in place of all that was ever set; both sides
    are computed the same way, voice included. Nothing is changed.
    """
    document = _document(path)
    with invocation.running_servers(redis=False) as settings, reading(database_dsn(settings)) as connection:
        rules: Any = import_module("processors.rerun")
        options = _options(settings)
        before = rules.totals_of(rules.read_events(_payloads(connection, guild_id)), options)
        after = rules.totals_of(rules.read_events(_payloads(connection, guild_id)), options, document)
    rows: list[list[int]] = []
    for user_id in sorted(before.keys() | after.keys()):
        (xp, level), (other_xp, other_level) = before.get(user_id, (0, 0)), after.get(user_id, (0, 0))
        rows.append([user_id, xp, other_xp, other_xp - xp, level, other_level])
    rows.sort(key=lambda row: -abs(row[3]))
    click.echo(as_json_list(_SIMULATED, rows) if as_json else as_table(_SIMULATED, rows))
    return 0


def _payloads(connection: psycopg.Connection[Any], guild_id: int) -> Iterator[bytes]:
    """The guild's events as JSON, a thousand at a time."""
    with connection.cursor(name="events") as cursor:
        cursor.itersize = 1000
        cursor.execute(_EVENTS, (guild_id,))
        for (event,) in cursor:
            yield msgspec.json.encode(event)


def _options(settings: Settings) -> Any:
    """What the deployment sets for the rules, as its processors have it."""
    return import_module("processors.activity").rule_options(settings)


def _document(path: Path) -> dict[str, Any]:
    try:
        document = msgspec.json.decode(path.read_bytes(), type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"{path} is not a JSON object: {error}") from error
    change_settings(b"", document)
    return document


def _moment(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.UsageError(f"--at: {text!r} is no time such as 2026-03-01T12:00:00") from error
    return at if at.tzinfo else at.replace(tzinfo=UTC)


def _ms(at: datetime) -> int:
    return int(at.timestamp() * 1000)
