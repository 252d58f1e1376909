"""``guildstream services``: the embedded Redis and PostgreSQL alone."""

from __future__ import annotations

from typing import Literal

import click

from guildstream.cli.invocation import Invocation, data_dir_option
from guildstream.errors import ConfigError
from guildstream.services import find_services, remove_services, start_services, stop_services
from guildstream.settings import default_data_dir

__all__ = ["services"]


@click.group()
@data_dir_option
def services() -> None:
    """Start, stop and find the embedded Redis and PostgreSQL."""


@services.command()
@data_dir_option
@click.pass_obj
def start(invocation: Invocation) -> int:
    """Start both; returns when they are ready. May be repeated."""
    urls = start_services(invocation.settings().data_dir or default_data_dir())
    click.echo(f"redis     {urls.redis}\npostgres  {urls.database}")
    return 0


@services.command()
@data_dir_option
@click.pass_obj
def stop(invocation: Invocation) -> int:
    """Stop both cleanly. May be repeated."""
    stop_services(invocation.settings().data_dir or default_data_dir())
    return 0


@services.command()
@data_dir_option
@click.argument("server", type=click.Choice(["redis", "postgres"]))
@click.pass_obj
def url(invocation: Invocation, server: Literal["redis", "postgres"]) -> int:
    """Print the URL of one running server, password included."""
    data_dir = invocation.settings().data_dir or default_data_dir()
    urls = find_services(data_dir)
    if urls is None:
        raise ConfigError(f"no servers run under {data_dir}: `guildstream services start --data-dir {data_dir}`")
    click.echo(urls.redis if server == "redis" else urls.database)
    return 0


@services.command()
@click.option("--yes", is_flag=True, help="Don't ask.")
@data_dir_option
@click.pass_obj
def remove(invocation: Invocation, yes: bool) -> int:
    """Stop both and delete all of their data. What is gone is gone."""
    data_dir = invocation.settings().data_dir or default_data_dir()
    if not yes:
        click.confirm(f"delete the databases of {data_dir} for good?", abort=True)
    remove_services(data_dir)
    return 0
