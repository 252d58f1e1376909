"""The Faust app: one chunked topic, one agent."""

from __future__ import annotations

import os
import tempfile
from typing import cast

import faust
from faust.types import StreamT

from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.errors import ConfigError
from guildstream.settings import Settings
from processors.activity import EVENTS, STATES, Activity
from processors.transport import Chunk, Transport, TransportOptions, chunked

__all__ = ["create_app", "transport_of"]


def create_app(settings: Settings, *, clock: Clock = SYSTEM_CLOCK, scratch: str | None = None) -> faust.App:
    """Build the app of a processor. Nothing is connected before it starts.

    Args:
        settings: the deployment's.
        clock: for real-time decisions: when to commit and to show early panes.
        scratch: where Faust may make its directories, which stay empty; the temporary directory if absent.

    Raises:
        ConfigError: there is no Redis URL.
    """
    if settings.redis_url is None:
        msg = "a processor needs GUILDSTREAM_REDIS_URL, or --data-dir with services running"
        raise ConfigError(msg)
    app = faust.App(
        "guildstream",
        broker="redis://",
        topic_partitions=settings.partitions,
        topic_disable_leader=True,
        web_enabled=False,
        stream_wait_empty=True,
        store="memory://",
        datadir=scratch or f"{tempfile.gettempdir()}/guildstream-faust-{os.geteuid()}",
    )
    transport = transport_of(app)
    transport.options = _options(settings, settings.redis_url)
    transport.keep(*STATES)
    activity = Activity(settings, clock)
    transport.commit_hooks.append(activity.before_commit)

    @app.agent(chunked(app, EVENTS), name="guildstream.activity")
    async def apply_rules(chunks: StreamT[Chunk]) -> None:
        async for chunk in chunks:
            try:
                await activity.process(chunk)
            except Exception as error:  # noqa: BLE001 - whatever it is, the transport finds the event to blame
                chunk.fail(error)

    return app


def transport_of(app: faust.App) -> Transport:
    """The app's transport, which Faust knows by its general interface only."""
    return cast("Transport", app.transport)


def _options(settings: Settings, redis_url: str) -> TransportOptions:
    # A cached value takes about a kilobyte, its key and its share of the dictionaries included.
    entries = settings.state_cache_mib * 1024 // (2 * settings.partitions)
    return TransportOptions(
        redis_url=redis_url,
        prefix=settings.prefix,
        partitions=settings.partitions,
        group="guildstream",
        primary_topic=EVENTS,
        chunk_events=settings.chunk_events,
        chunk_bytes=settings.chunk_bytes,
        commit_interval_seconds=settings.commit_interval_ms / 1000,
        commit_events=settings.commit_events,
        commit_bytes=settings.commit_bytes,
        lease_seconds=settings.lease_seconds,
        keep_seconds=settings.keep_events_seconds,
        retain_seconds=settings.retain_days * 86_400,
        retain_streams="dead notices",
        cache_entries=max(1_000, entries),
    )
