"""What the pipeline made of the events: counters, dead letters, and how far PostgreSQL has come."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

import psycopg
import redis

from guildstream.deployment import Deployment
from guildstream.keys import Keys
from guildstream.replay.writer import StreamId, parse_id
from sql import query

__all__ = ["LoadWatch", "count_reasons", "last_ids", "read_counters"]

_PAGE: Final = 100


def read_counters(client: redis.Redis, keys: Keys, partitions: int) -> Counter[str]:
    """Events by outcome over all partitions since the beginning."""
    pipe = client.pipeline(transaction=False)
    for partition in range(partitions):
        pipe.hgetall(keys.partition(partition).counters)
    totals: Counter[str] = Counter()
    for counters in cast("list[dict[bytes, bytes]]", pipe.execute()):
        totals.update({name.decode(): int(value) for name, value in counters.items()})
    return totals


def last_ids(client: redis.Redis, names: Mapping[int, str]) -> dict[int, StreamId]:
    """The last entry's id of one stream a partition; (0, 0) where it holds none."""
    pipe = client.pipeline(transaction=False)
    for name in names.values():
        pipe.xrevrange(name, count=1)
    replies = cast("list[list[tuple[bytes, Any]]]", pipe.execute())
    return {
        partition: parse_id(entries[0][0]) if entries else (0, 0)
        for partition, entries in zip(names, replies, strict=True)
    }


def count_reasons(client: redis.Redis, keys: Keys, after: Mapping[int, StreamId]) -> Counter[str]:
    """Dead letters by reason, of those after an id in each partition."""
    reasons: Counter[str] = Counter()
    for partition, (ms, number) in after.items():
        begin = f"({ms}-{number}"
        while entries := cast("list[Any]", client.xrange(keys.partition(partition).dead, min=begin, count=_PAGE)):
            reasons.update(fields.get(b"reason", b"unknown").decode(errors="replace") for _, fields in entries)
            begin = f"({entries[-1][0].decode()}"
    return reasons


class LoadWatch:
    """Watches how far the sink has come, on one connection that is made again when it breaks.

    Args:
        dsn: PostgreSQL.
        deployment: whose offsets.
    """

    def __init__(self, dsn: str, deployment: Deployment) -> None:
        self._dsn = dsn
        self._deployment = deployment
        self._connection: psycopg.Connection[Any] | None = None
        self.ids: dict[int, StreamId] = {}
        self.positions = 0

    def close(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def refresh(self) -> bool:
        """Read the offsets into ``ids`` and ``positions``; False while PostgreSQL can't be asked."""
        try:
            if self._connection is None:
                self._connection = psycopg.connect(self._dsn, autocommit=True, application_name="guildstream replay")
            scope = {"deployment": self._deployment.id, "generation": self._deployment.generation}
            rows = self._connection.execute(query("offsets_read"), scope).fetchall()
        except psycopg.OperationalError:
            self.close()
            return False
        self.ids = {partition: parse_id(events_id) for partition, _, _, events_id, _ in rows}
        self.positions = sum(row[-1] for row in rows)
        return True

    def has_loaded(self, targets: Mapping[int, StreamId]) -> bool:
        """Whether each partition's offset has reached its target, as of the last ``refresh``."""
        return all(self.ids.get(partition, (0, 0)) >= target for partition, target in targets.items())
