"""``guildstream up``: all components under one supervisor."""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, redis_url_of
from guildstream.cli.leases import others_work
from guildstream.cli.pipeline_state import talking_to_redis
from guildstream.cli.signals import StopRequest, stop_on_signals
from guildstream.deployment import ensure_deployment
from guildstream.errors import ConfigError
from guildstream.keys import Keys
from guildstream.logs import configure_logging
from guildstream.migrations import migrate_up
from guildstream.settings import Settings, default_data_dir
from guildstream.supervisor import Child, Supervisor, child_environment, component_command

__all__ = ["log_dir", "running_components", "up"]

#: Where each component listens when ``http_port`` is a number: that port plus this.
_PORT_OFFSETS: Final = {"gateway": 0, "processor": 1, "sink": 2, "simulator": 3}


def log_dir(settings: Settings) -> Path:
    """Where components write their logs when a display has the terminal."""
    return (settings.data_dir or default_data_dir()) / "logs"


def _children(names: Sequence[str], settings: Settings, logs: Path | None) -> list[Child]:
    children: list[Child] = []
    for name in names:
        port = settings.http_port and settings.http_port + _PORT_OFFSETS.get(name, 0)
        own = settings.model_copy(update={"http_port": port})
        log_path = None if logs is None else logs / f"{name}.log"
        children.append(Child(name, component_command(name), child_environment(own), log_path))
    return children


@contextmanager
def running_components(
    names: Sequence[str],
    settings: Settings,
    *,
    logs: Path | None = None,
    on_change: Callable[[str], None] | None = None,
) -> Generator[Supervisor, None, None]:
    """Run components under a supervisor within the block; at its end all of them have stopped.

    Args:
        names: the components.
        settings: what they are to see, with the URLs of servers that run.
        logs: a folder for their logs; this process's stderr if None.
        on_change: told of deaths and restarts, one sentence each.
    """
    if logs is not None:
        _make_folder(logs)
    supervisor = Supervisor(_children(names, settings, logs), on_change=on_change)
    supervisor.start()
    try:
        yield supervisor
    finally:
        supervisor.stop()


@click.command()
@data_dir_option
@click.pass_obj
def up(invocation: Invocation) -> int:
    """Run the whole pipeline on this machine until it is told to stop.

    Redis and PostgreSQL are the servers that the environment's URLs name, or embedded ones under the
    data directory. Without GUILDSTREAM_DISCORD_TOKEN the gateway is left out: events come from a
    Publisher or from replays.
    """
    with stop_on_signals() as stop, invocation.own_servers() as (settings, _started):
        configure_logging(settings, "up")
        _check_alone(settings, stop)
        for name in migrate_up(database_dsn(settings)):
            click.echo(f"applied migration {name}", err=True)
        names = ["processor", "sink"]
        if settings.discord_token is None:
            click.echo("GUILDSTREAM_DISCORD_TOKEN is not set: running without the gateway", err=True)
        else:
            names.insert(0, "gateway")
        with running_components(names, settings) as supervisor:
            click.echo(f"running {', '.join(names)}; data in {settings.data_dir}; Ctrl-C stops", err=True)
            while not stop.wait(0.5):
                supervisor.check()
    # Being told to stop is how this command ends well; Ctrl-C keeps its usual code.
    return stop.exit_code if stop.exit_code == 130 else 0


def _check_alone(settings: Settings, stop: StopRequest) -> None:
    """Refuse to run beside another pipeline on the same deployment.

    Raises:
        ConfigError: a processor is at work there.
    """
    keys = Keys(settings.prefix)
    with talking_to_redis(redis_url_of(settings)) as client:
        partitions = ensure_deployment(client, keys, settings.partitions).partitions
        if others_work(client, keys, partitions, lease_seconds=settings.lease_seconds, pause=stop.wait):
            raise ConfigError(
                "a processor is at work on this deployment already: is `guildstream up` running elsewhere?"
            )


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"logs can't be written to {folder}: {error.strerror}; name another --data-dir") from error
