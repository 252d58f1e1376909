"""The program itself: finding commands without importing all of them, and turning errors into exit codes."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Final

import click

from guildstream import __version__
from guildstream.cli.invocation import Invocation
from guildstream.components import follow_lifeline
from guildstream.errors import ConfigError, GuildstreamError

__all__ = ["EXIT_BAD_INPUT", "EXIT_CONFIG", "EXIT_FAILURE", "EXIT_INTERRUPTED", "EXIT_OK", "cli", "main"]

EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2
EXIT_BAD_INPUT: Final = 3
EXIT_INTERRUPTED: Final = 130

#: Command → the module that defines it, and what the list of commands says of it. A component's process
#: imports its own module and nothing else, and the list needs no module at all.
_COMMANDS: Final = {
    "demo": ("demo", "Run the whole pipeline against a simulated Discord and watch it."),
    "up": ("pipeline", "Run the whole pipeline on this machine."),
    "gateway": ("component", "Run the gateway: Discord to Redis."),
    "processor": ("component", "Run a processor: a Faust worker from Redis to Redis."),
    "sink": ("component", "Run the sink: Redis to PostgreSQL."),
    "simulator": ("component", "Run the simulated Discord that the demo talks to."),
    "services": ("services", "Start, stop and find the embedded Redis and PostgreSQL."),
    "migrate": ("migrate", "Change the schema of the database, or say what would change."),
    "replay": ("replay", "Publish events from files and, with --drain, see them into PostgreSQL."),
    "lag": ("lag", "Show how far processor and sink are behind, partition by partition."),
    "consumers": ("consumers", "Look at who reads the events, and drop those that are gone."),
    "dead": ("dead", "Look at events that could not be processed, and try them again."),
    "settings": ("guild_settings", "Show and change what a guild has set."),
    "adjust": ("adjust", "Give or take points, messages or voice time."),
    "erase": ("erase", "Forget a member, or a guild."),
    "explain": ("rerun", "Say why a member has, or has not, got points."),
    "simulate": ("rerun", "Compare totals with those under other settings."),
    "sql": ("sql", "Run one read-only query."),
    "status": ("status", "Show where the pipeline stands."),
    "leaderboard": ("leaderboard", "Show who leads in a guild."),
}


class _Program(click.Group):
    """Loads a command's module when the command is used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of the documentation."""
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """The command of that name."""
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, _ = _COMMANDS[cmd_name]
        try:
            loaded = import_module(f"guildstream.cli.{module}")
        except ModuleNotFoundError as error:
            if (error.name or "").startswith("guildstream"):
                raise
            raise ConfigError(
                f"`guildstream {cmd_name}` needs {error.name!r}, which is not installed: pip install 'guildstream[all]'"
            ) from error
        command: click.Command = getattr(loaded, cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without loading them."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, purpose) for name, (_, purpose) in _COMMANDS.items()])


@click.command(cls=_Program, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="guildstream")
@click.option(
    "--data-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where embedded servers keep their data; wins over URLs in the environment.",
)
@click.option("--lifeline", type=int, hidden=True, help="Stop when this pipe closes; passed by a supervisor.")
@click.pass_context
def cli(ctx: click.Context, data_dir: Path | None, lifeline: int | None) -> None:
    """Exactly-once stream processing of Discord activity.

    Settings come from GUILDSTREAM_* in the environment (docs/settings.md). --data-dir wins over URLs
    in the environment and may stand before or after the command.

    Exit codes: 0 done, 1 failed, 2 usage or configuration, 3 done but some input was bad, 130 Ctrl-C.
    """
    ctx.obj = Invocation(data_dir)
    if lifeline is not None:
        follow_lifeline(lifeline)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: the command line without the program's name; the process's own if absent.

    Returns:
        The exit code. Errors that were raised on purpose are printed as one line on stderr; anything
        else is a defect of ours and keeps its traceback.
    """
    try:
        code = cli.main(
            args=None if arguments is None else list(arguments), prog_name="guildstream", standalone_mode=False
        )
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        click.echo("interrupted", err=True)
        return EXIT_INTERRUPTED
    except GuildstreamError as error:
        click.echo(f"guildstream: {error}", err=True)
        return EXIT_CONFIG if isinstance(error, ConfigError) else EXIT_FAILURE
    except BrokenPipeError:
        # `guildstream sql … | head`: the reader has seen enough.
        sys.stderr.close()
        return EXIT_OK
    return code if isinstance(code, int) else EXIT_OK
