"""How a worker reads, commits and owns; defaults are those of DESIGN §5.1."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

from yarl import URL

from guildstream.connections import fails_over
from guildstream.errors import ConfigError

__all__ = ["TransportOptions"]


@dataclass(frozen=True, slots=True)
class TransportOptions:
    """Settings of the transport.

    Attributes:
        redis_url: as ``guildstream.connections`` reads it.
        prefix: first part of every key.
        partitions: how many partitions every topic has.
        group: consumer group whose last-delivered id mirrors the committed offset.
        primary_topic: the topic whose offset fields carry no suffix; others carry ``:<topic>``.
        chunk_events: the most events of a chunk.
        chunk_bytes: the most bytes of the same; a single larger entry is a chunk of its own.
        commit_interval_seconds: a commit is due after this time, on ticks shared by all partitions.
        commit_events: or after this many events.
        commit_bytes: or after this many bytes of input.
        lease_seconds: how long a lease lives without renewal.
        cache_entries: how many values of a keyed-state table one partition may cache (up to twice that).
        trim_seconds: how often streams are trimmed below their slowest consumer.
        keep_seconds: replay horizon: entries so much older than the slowest consumer's last one are kept, too.
        retain_seconds: how long entries of streams without consumers are kept.
        retain_streams: those streams, separated by spaces.
        poison_in_a_row: an app whose agents raise on more events than this, one after the other, is stopped.
        lost_tail: what to do where Redis is behind what it has acknowledged: ``stop``, or ``resume`` from what it
            holds. By default a Cluster and Sentinels, whose replicas take over, are resumed.
    """

    redis_url: str
    prefix: str
    partitions: int = 8
    group: str = "faust"
    primary_topic: str | None = None
    chunk_events: int = 1_000
    chunk_bytes: int = 1024 * 1024
    commit_interval_seconds: float = 0.25
    commit_events: int = 10_000
    commit_bytes: int = 4 * 1024 * 1024
    lease_seconds: float = 5.0
    cache_entries: int = 10_000
    trim_seconds: float = 5.0
    keep_seconds: float = 0.0
    retain_seconds: float = 7 * 86_400.0
    retain_streams: str = "dead"
    poison_in_a_row: int = 200
    lost_tail: str = ""

    @classmethod
    def from_url(cls, url: URL, *, app_id: str, partitions: int) -> TransportOptions:
        """Options in the query of a broker URL, such as ``redis://host/0?prefix=shop&partitions=12``.

        Raises:
            ConfigError: a value can't be read.
        """
        known = {field.name: field.type for field in fields(cls) if field.name != "redis_url"}
        found: dict[str, Any] = {"prefix": app_id, "partitions": partitions, "group": app_id}
        for name, value in url.query.items():
            if name in known:
                found[name] = _parse(name, value, str(known[name]))
        rest = {name: value for name, value in url.query.items() if name not in known}
        return replace(cls(redis_url=str(url.with_query(rest)), prefix=app_id), **found)

    @property
    def resumes(self) -> bool:
        """Whether to go on from what Redis holds where that is less than it has acknowledged."""
        return self.lost_tail == "resume" if self.lost_tail else fails_over(self.redis_url)

    def offset_field(self, name: str, topic: str) -> str:
        """Field of the offset hash for one topic."""
        return name if topic == self.primary_topic else f"{name}:{topic}"


def _parse(name: str, value: str, kind: str) -> Any:
    try:
        if kind == "int":
            return int(value)
        return float(value) if kind == "float" else value
    except ValueError as error:
        msg = f"{name}={value} in the broker URL is not a number"
        raise ConfigError(msg) from error
