"""Up to where a partition is loaded, and whether the next results continue exactly there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import psycopg

from guildstream.deployment import Deployment
from guildstream.errors import StreamDamaged
from guildstream.results import Results
from sql import query

__all__ = ["NOTHING_LOADED", "Offset", "OffsetTable", "check_continues", "check_not_rewound", "stream_id"]

_REPAIR = (
    "Nothing of it is loaded. Restore the Redis data that was lost; or begin a new deployment "
    "(another GUILDSTREAM_PREFIX, another database) and replay what the archive holds"
)


@dataclass(frozen=True, slots=True)
class Offset:
    """How far one partition is loaded.

    Attributes:
        results_id: stream id of the last results entry loaded.
        commit: its commit number; 0: none.
        events_id: stream id of the last events entry covered.
        position: position of the next event.
    """

    results_id: str = "0-0"
    commit: int = 0
    events_id: str = "0-0"
    position: int = 0

    def after(self, results_id: str, results: Results) -> Offset:
        """The offset once these results are loaded."""
        return Offset(results_id, results.commit, results.last_id, results.first_position + results.positions)


NOTHING_LOADED = Offset()


def stream_id(text: str) -> tuple[int, int]:
    """A stream id as numbers that compare in stream order."""
    milliseconds, _, sequence = text.partition("-")
    return int(milliseconds), int(sequence or 0)


def check_continues(partition: int, offset: Offset, results_id: str, results: Results) -> None:
    """Make sure that results begin exactly where the partition's loaded ones end.

    Raises:
        StreamDamaged: they don't; the message names both sides and the repair.
    """
    found = (results.partition, results.commit, results.after_id, results.first_position)
    expected = (partition, offset.commit + 1, offset.events_id, offset.position)
    if found == expected:
        return
    if results.commit <= offset.commit:
        what = "Redis has lost its tail and processed again what is already loaded"
    else:
        what = "results between the two are missing"
    raise StreamDamaged(
        f"partition {partition}: results {results_id} are commit {results.commit} of events after {results.after_id} "
        f"(position {results.first_position}), but PostgreSQL holds up to commit {offset.commit}, events "
        f"{offset.events_id} (position {offset.position}): {what}. {_REPAIR}"
    )


def check_not_rewound(partition: int, offset: Offset, commit: int) -> None:
    """Make sure that Redis still knows every commit that is loaded.

    Raises:
        StreamDamaged: it doesn't.
    """
    if commit < offset.commit:
        raise StreamDamaged(
            f"partition {partition}: Redis is at commit {commit}, but PostgreSQL holds up to commit {offset.commit}: "
            f"Redis has lost its tail. {_REPAIR}"
        )


class OffsetTable:
    """The rows of ``guildstream.sink_offsets`` of one deployment."""

    def __init__(self, deployment: Deployment) -> None:
        self._key = {"deployment": deployment.id, "generation": deployment.generation}
        self._partitions = list(range(deployment.partitions))

    def read(self, connection: psycopg.Connection) -> dict[int, Offset]:
        """All partitions' offsets; makes the rows where there are none yet."""
        connection.execute(query("offsets_create"), {**self._key, "partitions": self._partitions})
        return {row[0]: Offset(*row[1:]) for row in connection.execute(query("offsets_read"), self._key)}

    def lock(self, connection: psycopg.Connection, partitions: Sequence[int]) -> dict[int, Offset]:
        """These partitions' offsets, held until the transaction ends; waits for other sinks."""
        rows = connection.execute(query("offsets_lock"), {**self._key, "partitions": list(partitions)})
        return {row[0]: Offset(*row[1:]) for row in rows}

    def advance(self, connection: psycopg.Connection, offsets: Mapping[int, Offset]) -> None:
        """Write the offsets of locked partitions."""
        values = list(offsets.values())
        connection.execute(
            query("offsets_advance"),
            {
                **self._key,
                "partitions": list(offsets),
                "results_ids": [offset.results_id for offset in values],
                "commits": [offset.commit for offset in values],
                "events_ids": [offset.events_id for offset in values],
                "positions": [offset.position for offset in values],
            },
        )

    def other_deployments(self, connection: psycopg.Connection) -> list[str]:
        """Ids of other deployments whose results the same database holds."""
        return [row[0] for row in connection.execute(query("offsets_elsewhere"), self._key)]
