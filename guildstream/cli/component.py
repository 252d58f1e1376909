"""Each component as a command, for deployments that run them one by one."""

from __future__ import annotations

import click

from guildstream.cli.invocation import Invocation, data_dir_option
from guildstream.components import run_component

__all__ = ["gateway", "processor", "simulator", "sink"]


def _run(invocation: Invocation, name: str) -> int:
    return run_component(name, invocation.found_servers(database=name == "sink"))


@click.command()
@data_dir_option
@click.pass_obj
def gateway(invocation: Invocation) -> int:
    """Run the gateway: Discord to Redis. Needs GUILDSTREAM_DISCORD_TOKEN."""
    return _run(invocation, "gateway")


@click.command()
@data_dir_option
@click.pass_obj
def processor(invocation: Invocation) -> int:
    """Run a processor: a Faust worker from Redis to Redis."""
    return _run(invocation, "processor")


@click.command()
@data_dir_option
@click.pass_obj
def sink(invocation: Invocation) -> int:
    """Run the sink: Redis to PostgreSQL."""
    return _run(invocation, "sink")


@click.command()
@data_dir_option
@click.pass_obj
def simulator(invocation: Invocation) -> int:
    """Run the simulated Discord that the demo talks to."""
    return run_component("simulator", invocation.settings())
