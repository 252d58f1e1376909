"""The transport that Faust finds under the schemes of ``guildstream.connections``."""

from __future__ import annotations

import random
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import redis
from faust.transport.base import Transport as FaustTransport
from yarl import URL

from guildstream.connections import fails_over
from guildstream.errors import ConfigError
from processors.transport.consumer import Consumer
from processors.transport.lane import BeforeCommit
from processors.transport.options import TransportOptions
from processors.transport.producer import Producer
from processors.transport.state import KeyedState
from processors.transport.streams import LockStepStream
from processors.transport.tables import NoTables

__all__ = ["Transport"]


class Transport(FaustTransport):
    """Redis Streams as a broker: lock-step partitions, keyed state, one atomic commit.

    Configure it through the broker URL's query, or replace ``options`` before the app starts.

    Attributes:
        options: how to read, commit and own.
        states: keyed-state tables by name.
        commit_hooks: called before each commit of a partition.
    """

    Consumer = Consumer
    Producer = Producer
    default_port = 6379
    driver_version = f"redis={redis.__version__}"

    def __init__(self, url: list[URL], app: Any, loop: Any = None) -> None:
        super().__init__(url, app, loop)
        options = TransportOptions.from_url(url[-1], app_id=app.conf.id, partitions=app.conf.topic_partitions)
        self.options = replace(options, redis_url=_join([*url[:-1], URL(options.redis_url)]))
        self.states: dict[str, KeyedState[Any]] = {}
        self.commit_hooks: list[BeforeCommit] = []
        app.conf.Stream = LockStepStream
        app.conf.TableManager = NoTables
        # A stopping app hands its partitions back before its agents are cancelled.
        app.conf.stream_wait_empty = True

    def keep(self, *states: KeyedState[Any]) -> None:
        """Register keyed-state tables; do it before the app starts.

        Raises:
            ConfigError: two tables share a name.
        """
        for state in states:
            if self.states.setdefault(state.name, state) is not state:
                msg = f"two keyed-state tables are named {state.name!r}"
                raise ConfigError(msg)

    def partition_of_key(self, key: bytes | None) -> int:
        """A stable partition for a key (CRC-32), a random one without."""
        if key is None:
            return random.randrange(self.options.partitions)  # noqa: S311 - spreads load, hides nothing
        return zlib.crc32(key) % self.options.partitions


def _join(urls: Sequence[URL]) -> str:
    """One URL again: Faust makes several of one that names several hosts.

    Raises:
        ConfigError: several servers that are no Cluster.
    """
    last = urls[-1]
    if last.scheme == "unix":
        return f"unix://{str(last).removeprefix('unix:').removeprefix('//')}"
    if len(urls) > 1 and not fails_over(str(last)):
        msg = f"{last.scheme}:// means one server: use redis+cluster:// or redis+sentinel:// for several"
        raise ConfigError(msg)
    hosts = ",".join(url.raw_authority.rpartition("@")[2] for url in urls)
    user = next((f"{found}@" for url in urls if (found := url.raw_authority.rpartition("@")[0])), "")
    return f"{last.scheme}://{user}{hosts}{last.raw_path_qs}"
