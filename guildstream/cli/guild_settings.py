"""``guildstream settings``: what a guild has set, and since when."""

from __future__ import annotations

from typing import Any, Final

import click
import msgspec
import psycopg

from guildstream.cli.database import reading
from guildstream.cli.decisions import GUILD_ID, decide_on
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, json_option
from guildstream.cli.output import as_json_list, as_table
from guildstream.errors import ConfigError
from guildstream.guild_settings import change_settings, read_settings
from guildstream.logs import configure_logging
from guildstream.migrations import migrate_up
from guildstream.settings import Settings

__all__ = ["settings"]

_STORED: Final = "SELECT settings, settings_version FROM guildstream.guild_settings WHERE guild_id = %s"
_HISTORY: Final = """
SELECT settings_version, changed_at, patch FROM guildstream.settings_history
WHERE guild_id = %s ORDER BY settings_version
"""
_COLUMNS: Final = ("version", "changed_at", "patch")


@click.group()
@data_dir_option
def settings() -> None:
    """Show and change what a guild has set."""


@settings.command()
@click.argument("guild_id", type=GUILD_ID)
@json_option
@data_dir_option
@click.pass_obj
def show(invocation: Invocation, guild_id: int, *, as_json: bool) -> int:
    """Print all settings of a guild, defaults filled in, as JSON."""
    with invocation.running_servers(redis=False) as servers, reading(database_dsn(servers)) as connection:
        stored, version = _stored(connection, guild_id)
    document = msgspec.json.encode(read_settings(stored))
    click.echo(document.decode() if as_json else msgspec.json.format(document, indent=2).decode())
    if not as_json:
        click.echo(f"version {version}" if version else "nothing is set: these are the defaults", err=True)
    return 0


@settings.command("set")
@click.argument("guild_id", type=GUILD_ID)
@click.argument("changes", nargs=-1, required=True, metavar="NAME=VALUE...")
@data_dir_option
@click.pass_obj
def set_command(invocation: Invocation, guild_id: int, changes: tuple[str, ...]) -> int:
    """Change settings and wait until they are in force.

    NAME is a dotted path such as xp.message.min, VALUE is JSON or else taken as text:
    `xp.daily_cap=500`, `timezone=Europe/Berlin`, `xp.voice.require='["not_afk"]'`. A single argument that
    is a JSON object is taken as a merge patch.
    """
    if len(changes) == 1 and changes[0].lstrip().startswith("{"):
        return _change(invocation, guild_id, _object(changes[0]))
    patch: dict[str, Any] = {}
    for change in changes:
        name, given, value = change.partition("=")
        if not given:
            raise click.UsageError(f"{change!r} is not NAME=VALUE")
        _put(patch, name, _value(value))
    return _change(invocation, guild_id, patch)


@settings.command()
@click.argument("guild_id", type=GUILD_ID)
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@data_dir_option
@click.pass_obj
def unset(invocation: Invocation, guild_id: int, names: tuple[str, ...]) -> int:
    """Put settings back to their defaults and wait until that is in force."""
    patch: dict[str, Any] = {}
    for name in names:
        _put(patch, name, None)
    return _change(invocation, guild_id, patch)


@settings.command()
@click.argument("guild_id", type=GUILD_ID)
@json_option
@data_dir_option
@click.pass_obj
def history(invocation: Invocation, guild_id: int, *, as_json: bool) -> int:
    """List the changes of a guild's settings, with when each took effect."""
    with invocation.running_servers(redis=False) as servers, reading(database_dsn(servers)) as connection:
        rows = connection.execute(_HISTORY, (guild_id,)).fetchall()
    if as_json or rows:
        click.echo(as_json_list(_COLUMNS, rows) if as_json else as_table(_COLUMNS, rows))
    else:
        click.echo("nothing was ever set")
    return 0


def _change(invocation: Invocation, guild_id: int, patch: dict[str, Any]) -> int:
    with invocation.own_servers() as (servers, _):
        configure_logging(servers, "cli")
        _check(servers, guild_id, patch)
        decide_on(servers, "settings", guild_id, patch)
        with reading(database_dsn(servers)) as connection:
            _, version = _stored(connection, guild_id)
    click.echo(f"in force as version {version} of guild {guild_id}")
    return 0


def _check(servers: Settings, guild_id: int, patch: dict[str, Any]) -> None:
    """Say what is wrong with a change before it is published.

    Raises:
        ConfigError: the outcome is not valid; the message names the field.
    """
    migrate_up(database_dsn(servers))
    with reading(database_dsn(servers)) as connection:
        stored, _ = _stored(connection, guild_id)
    change_settings(stored, patch)


def _stored(connection: psycopg.Connection[Any], guild_id: int) -> tuple[bytes, int]:
    """What differs from the defaults, and how often it was changed."""
    row = connection.execute(_STORED, (guild_id,)).fetchone()
    return (b"", 0) if row is None else (msgspec.json.encode(row[0]), int(row[1]))


def _put(patch: dict[str, Any], name: str, value: Any) -> None:
    *parents, last = name.split(".")
    for parent in parents:
        inner = patch.setdefault(parent, {})
        if not isinstance(inner, dict):
            raise click.UsageError(f"{name}: {parent} is set as a whole already")
        patch = inner
    patch[last] = value


def _value(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError:
        return text


def _object(text: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except msgspec.MsgspecError as error:
        raise ConfigError(f"the patch is not a JSON object: {error}") from error
