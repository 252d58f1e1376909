"""``guildstream replay``: files of events into the stream and, with ``--drain``, into PostgreSQL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import click
import redis

from guildstream.cli.drain import Drain, DrainOutcome
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, json_option, redis_url_of
from guildstream.cli.leases import others_work
from guildstream.cli.pipeline import log_dir, running_components
from guildstream.cli.pipeline_state import talking_to_redis
from guildstream.cli.replay_display import ReplayDisplay, Stage
from guildstream.cli.replay_summary import ReplaySummary
from guildstream.cli.signals import StopRequest, stop_on_signals
from guildstream.clock import SYSTEM_CLOCK
from guildstream.deployment import Deployment, ensure_deployment
from guildstream.keys import Keys
from guildstream.logs import configure_logging
from guildstream.migrations import migrate_up
from guildstream.replay.publication import Publication
from guildstream.replay.source import Source, open_source
from guildstream.settings import Settings

__all__ = ["replay", "run_replay"]

_MIB: Final = 1024 * 1024
#: What may wait in Redis: little when our own pipeline drains it, more when somebody else's will.
_DRAINING_BACKLOG: Final = 32 * _MIB
_PUBLISHING_BACKLOG: Final = 512 * _MIB


@click.command()
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--drain", is_flag=True, help="Run until all of it is in PostgreSQL and every window is closed.")
@json_option
@data_dir_option
@click.pass_obj
def replay(invocation: Invocation, files: tuple[str, ...], drain: bool, as_json: bool) -> int:
    """Publish events from JSON Lines files; `-` is standard input, .gz and .zst are decompressed.

    Lines keep their own session, seq and part, so a second time changes nothing. A line with neither
    session nor seq gets the file's SHA-256 and its line number. Bad lines go to the dead-letter stream
    and don't touch their neighbours; the exit code is then 3.

    With --drain the pipeline runs here for as long as it takes: embedded servers where no URLs are
    given, a processor and a sink. Without it, events go to servers that run already.
    """
    sources = [open_source(name) for name in files]
    with stop_on_signals() as stop, ExitStack() as stack:
        if drain:
            settings, _ = stack.enter_context(invocation.own_servers())
        else:
            settings = invocation.found_servers(database=False)
        configure_logging(settings, "replay")
        display = stack.enter_context(ReplayDisplay(sum(source.total_bytes or 0 for source in sources), drain=drain))
        summary = run_replay(settings, sources, stop, display, drain=drain)
    if stop:
        click.echo("stopped before the end; the same command again goes on where this left off", err=True)
        return stop.exit_code
    click.echo(summary.as_json() if as_json else summary.as_text())
    return summary.exit_code


def run_replay(
    settings: Settings, sources: Sequence[Source], stop: StopRequest, display: ReplayDisplay, *, drain: bool
) -> ReplaySummary:
    """Publish the sources and, with ``drain``, wait until all of it is in PostgreSQL."""
    started = SYSTEM_CLOCK.monotonic()
    keys = Keys(settings.prefix)
    with talking_to_redis(redis_url_of(settings)) as client, ExitStack() as stack:
        deployment = ensure_deployment(client, keys, settings.partitions)
        outcome = DrainOutcome()
        draining = (
            stack.enter_context(_draining(settings, client, keys, deployment, stop=stop, display=display))
            if drain
            else None
        )
        publication = Publication(
            redis_url_of(settings),
            keys,
            deployment.partitions,
            backlog_bytes=_DRAINING_BACKLOG if drain else _PUBLISHING_BACKLOG,
            pause=stop.wait,
            tick=lambda: _tick(display, publication, draining),
        )
        stack.callback(publication.close)
        published_at = SYSTEM_CLOCK.monotonic()
        if publication.publish(sources) and draining is not None:
            outcome = draining.finish(publication.targets, tick=lambda: _tick(display, publication, draining))
            _tick(display, publication, draining, last=True)
        ended = SYSTEM_CLOCK.monotonic()
    return ReplaySummary(
        counts=publication.counts,
        drained=outcome.drained,
        outcomes=outcome.outcomes,
        reasons=outcome.reasons if drain else Counter(publication.counts.bad),
        elapsed_seconds=ended - published_at,
        total_seconds=ended - started,
    )


def _tick(display: ReplayDisplay, publication: Publication, draining: Drain | None, *, last: bool = False) -> None:
    if not display.is_due(last=last):
        return
    progress = draining.progress() if draining is not None else None
    display.show(
        Stage(publication.counts.lines, publication.counts.events, publication.read_bytes),
        progress,
        waiting_bytes=publication.backlog_bytes if publication.waiting else None,
    )


@contextmanager
def _draining(
    settings: Settings,
    client: redis.Redis,
    keys: Keys,
    deployment: Deployment,
    *,
    stop: StopRequest,
    display: ReplayDisplay,
) -> Generator[Drain, None, None]:
    """A processor and a sink for the duration, unless others work on this deployment already."""
    migrate_up(database_dsn(settings))
    drain = Drain(client, keys, deployment, database_dsn(settings), pause=stop.wait)
    with ExitStack() as stack:
        stack.callback(drain.close)
        if others_work(client, keys, deployment.partitions, lease_seconds=settings.lease_seconds, pause=stop.wait):
            display.say("a processor is at work on this deployment already; using it")
        else:
            names = ["processor", "sink"]
            logs = log_dir(settings)
            drain.supervisor = stack.enter_context(
                running_components(names, settings, logs=logs, on_change=display.say)
            )
        drain.catch_up()
        yield drain
