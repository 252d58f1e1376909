"""``guildstream demo``: the whole pipeline against a simulated Discord, with live numbers."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import click
from pydantic import SecretStr
from rich.console import Console

from guildstream.cli.demo_comparison import compare, settled
from guildstream.cli.demo_display import DemoDisplay
from guildstream.cli.demo_numbers import DemoNumbers
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, redis_url_of
from guildstream.cli.pipeline import log_dir, running_components
from guildstream.cli.signals import StopRequest, stop_on_signals
from guildstream.cli.simulated_discord import DiscordControl
from guildstream.clock import SYSTEM_CLOCK
from guildstream.errors import ConfigError
from guildstream.migrations import migrate_up
from guildstream.services import remove_services
from guildstream.settings import Settings
from guildstream.supervisor import Supervisor

__all__ = ["demo"]

_COMPONENTS: Final = ("simulator", "gateway", "processor", "sink")
#: What the simulated Discord takes for a token; a real one must never reach it.
_TOKEN: Final = "MTEwMDAwMDAwMDAwMDAwMDAwMQ.simulated.discord"  # noqa: S105 - opens nothing but the demo
_INTERVAL_SECONDS: Final = 1.0


@click.command()
@click.option("--seconds", type=click.FloatRange(min=1), help="Stop after this time and compare, to the event.")
@click.option("--keep", is_flag=True, help="Keep the data of a temporary data directory.")
@data_dir_option
@click.pass_obj
def demo(invocation: Invocation, seconds: float | None, keep: bool) -> int:
    """Run the whole pipeline on this machine against a simulated Discord, and watch it.

    A real hikari bot listens to it. Data goes to a new temporary directory, removed at the end unless
    --keep or --data-dir says otherwise. URLs and tokens of the environment are never used.

    With --seconds the traffic ends after that time, and what the simulated Discord sent is compared
    with what PostgreSQL holds: exit code 0 if they are equal to the event, else 1.
    """
    began = SYSTEM_CLOCK.monotonic()
    console = Console()
    with stop_on_signals() as stop, ExitStack() as stack:
        if invocation.data_dir is None:
            invocation.data_dir = stack.enter_context(_temporary_data_dir(keep=keep))
        console.print("starting Redis and PostgreSQL …", highlight=False)
        settings, started = stack.enter_context(invocation.own_servers(ignore_urls=True))
        if not started:
            raise ConfigError(f"servers run under {settings.data_dir} already: give the demo a --data-dir of its own")
        settings = _demo_settings(settings)
        migrate_up(database_dsn(settings))
        _say_where(console, settings)
        display = stack.enter_context(DemoDisplay(console))
        supervisor = stack.enter_context(
            running_components(_COMPONENTS, settings, logs=log_dir(settings), on_change=display.say)
        )
        discord = DiscordControl(f"http://127.0.0.1:{settings.simulator_port}")
        numbers = stack.enter_context(DemoNumbers(settings, discord))
        _watch(numbers, display, supervisor, stop, began=began, seconds=seconds)
        if seconds is None or stop:
            return stop.exit_code
        return _finish(settings, discord, display, supervisor, stop)
    return 1


def _demo_settings(settings: Settings) -> Settings:
    """The settings with the simulated Discord in the place of the real one."""
    port = _free_port()
    return settings.model_copy(
        update={
            "discord_token": SecretStr(_TOKEN),
            "discord_rest_url": f"http://127.0.0.1:{port}/api/v10",
            "simulator_port": port,
            "intents": "members,message_content",
            "shard_count": None,
            "shard_ids": "",
            "http_port": 0,
        }
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def _temporary_data_dir(*, keep: bool) -> Generator[Path, None, None]:
    data_dir = Path(tempfile.mkdtemp(prefix="guildstream-demo-"))
    data_dir.chmod(0o711)  # the account that root starts servers as must get through it; nobody can list it
    try:
        yield data_dir
    finally:
        if keep:
            click.echo(f"the data stays in {data_dir}: `guildstream sql … --data-dir {data_dir}` still works")
        else:
            remove_services(data_dir)
            shutil.rmtree(data_dir, ignore_errors=True)


def _say_where(console: Console, settings: Settings) -> None:
    lines = (
        f"data        {settings.data_dir}   logs in {log_dir(settings)}",
        f"redis       {redis_url_of(settings)}",
        f"postgres    {database_dsn(settings)}",
        f"look        guildstream leaderboard --data-dir {settings.data_dir}",
        f"            guildstream status --data-dir {settings.data_dir}",
        f"            guildstream sql 'table guild_hourly' --data-dir {settings.data_dir}",
    )
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True, markup=False)


def _watch(
    numbers: DemoNumbers,
    display: DemoDisplay,
    supervisor: Supervisor,
    stop: StopRequest,
    *,
    began: float,
    seconds: float | None,
) -> None:
    """Show numbers until asked to stop, or until traffic has run for so many seconds."""
    traffic_began: float | None = None
    first_row = False
    while not stop:
        supervisor.check()
        sample = numbers.read()
        now = SYSTEM_CLOCK.monotonic()
        if traffic_began is None and sample.sent:
            traffic_began = now
        if not first_row and sample.rows:
            first_row = True
            display.say(f"first row in PostgreSQL {now - began:.1f} s after the start")
        if traffic_began is not None:
            display.show(sample, now - traffic_began)
            if seconds is not None and now - traffic_began >= seconds:
                return
        stop.wait(_INTERVAL_SECONDS if first_row else 0.2)


def _finish(
    settings: Settings, discord: DiscordControl, display: DemoDisplay, supervisor: Supervisor, stop: StopRequest
) -> int:
    """End the traffic, wait until all of it has arrived, and compare."""
    display.say("traffic ends; waiting until everything has arrived …")
    discord.pause()
    dsn = database_dsn(settings)
    for comparison in settled(discord, dsn, pause=stop.wait):
        supervisor.check()
        if comparison.is_equal:
            break
    if stop:
        return stop.exit_code
    comparison = compare(discord, dsn)
    display.close()
    click.echo(comparison.as_text())
    if not comparison.is_equal:
        click.echo(f"logs: {os.fspath(log_dir(settings))}", err=True)
    return 0 if comparison.is_equal else 1
