"""``guildstream consumers``: who reads the events streams, and who holds them back."""

from __future__ import annotations

from typing import Any, Final

import click

from guildstream.cli.invocation import Invocation, data_dir_option, json_option, redis_url_of
from guildstream.cli.output import as_json_list, as_json_object, as_table
from guildstream.cli.pipeline_state import existing_deployment, talking_to_redis
from guildstream.consumers import PROCESSOR, SINK, ConsumerPosition, consumer_positions
from guildstream.errors import ConfigError
from guildstream.keys import Keys

__all__ = ["consumers"]

_COLUMNS: Final = ("name", "partition", "position", "entries", "seconds", "held_entries")
_SHOWN: Final = ("name", "partitions", "entries behind", "seconds behind", "holds back alone")


@click.group()
@data_dir_option
def consumers() -> None:
    """Look at who reads the events, and drop those that are gone."""


@consumers.command("list")
@json_option
@data_dir_option
@click.pass_obj
def list_command(invocation: Invocation, *, as_json: bool) -> int:
    """List the consumers that trimming waits for, with what each is behind.

    Entries are counted up to 5,000 in each partition. JSON has a row for each consumer and partition.
    """
    with invocation.running_servers(database=False) as settings, talking_to_redis(redis_url_of(settings)) as client:
        keys = Keys(settings.prefix)
        deployment = existing_deployment(client, keys)
        found = consumer_positions(client, keys, deployment.partitions) if deployment else []
    if as_json:
        rows = [[getattr(position, name) for name in _COLUMNS] for position in found]
        click.echo(as_json_list(_COLUMNS, rows))
    else:
        click.echo(as_table(_SHOWN, _summed(found)) if found else "nothing was published here yet")
    return 0


@consumers.command("drop")
@click.argument("name")
@click.option("--yes", is_flag=True, help="Don't ask.")
@click.option("--force", is_flag=True, help="Drop the sink, though it still needs what is trimmed then.")
@json_option
@data_dir_option
@click.pass_obj
def drop_command(invocation: Invocation, *, name: str, yes: bool, force: bool, as_json: bool) -> int:
    """Forget a consumer: trimming no longer waits for it, in any partition.

    What it has not read may be gone from then on. Exits with 1 if there is no such consumer, or the answer is no.
    """
    _refuse(name, force=force)
    with invocation.running_servers(database=False) as settings, talking_to_redis(redis_url_of(settings)) as client:
        keys = Keys(settings.prefix)
        deployment = existing_deployment(client, keys)
        names = [keys.partition(number).consumers for number in range(deployment.partitions if deployment else 0)]
        registered = [hash_name for hash_name in names if client.hexists(hash_name, name)]
        if not registered:
            click.echo(f"guildstream: no consumer {name} is registered", err=True)
            return 1
        question = f"Stop keeping events for {name} in {len(registered)} partitions?"
        if not yes and not click.confirm(question, err=True):
            click.echo("nothing was dropped", err=True)
            return 1
        dropped: Any = sum(int(client.hdel(hash_name, name)) for hash_name in registered)
    click.echo(as_json_object({"name": name, "partitions": dropped}) if as_json else f"dropped {name}")
    return 0


def _refuse(name: str, *, force: bool) -> None:
    if name == PROCESSOR:
        raise ConfigError("the processor's own position always counts: it can't be dropped")
    if name == SINK and not force:
        raise ConfigError(
            "the sink needs events that it has not loaded: without its registration they may be trimmed, and its "
            "partitions stop then. It registers again when it starts. To drop it all the same: --force"
        )


def _summed(found: list[ConsumerPosition]) -> list[list[Any]]:
    rows: dict[str, list[Any]] = {}
    for position in found:
        row = rows.setdefault(position.name, [position.name, 0, 0, 0.0, 0])
        row[1] += 1
        row[2] += position.entries
        row[3] = max(row[3], round(position.seconds, 1))
        row[4] += position.held_entries
    return list(rows.values())
