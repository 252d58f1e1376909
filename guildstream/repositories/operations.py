"""What operators ask: how far the sink is, and how the folds are doing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import class_row

from guildstream.deployment import Deployment
from sql import query

__all__ = ["LoadedOffset", "RefreshStatus", "loaded_offsets", "refresh_status"]


@dataclass(frozen=True, slots=True)
class LoadedOffset:
    """How far a partition is loaded.

    Attributes:
        partition: its number.
        results_id: stream id of the last results entry loaded.
        commit: number of its commit; 0: none.
        events_id: stream id of the last events entry covered.
        position: how many payloads that are.
    """

    partition: int
    results_id: str
    commit: int
    events_id: str
    position: int


@dataclass(frozen=True, slots=True)
class RefreshStatus:
    """How a policy of the sink is doing.

    Attributes:
        name: ``fold``.
        last_run_at: when it last ran; None: never.
        duration_ms: how long that took, milliseconds.
        folded_rows: how many rows it moved.
        backlog_rows: how many were waiting after it.
        error: why it failed; None: it did not.
    """

    name: str
    last_run_at: datetime | None
    duration_ms: float | None
    folded_rows: int
    backlog_rows: int
    error: str | None


def loaded_offsets(connection: psycopg.Connection[Any], deployment: Deployment) -> dict[int, LoadedOffset]:
    """How far each partition that the sink has seen is loaded."""
    key = {"deployment": deployment.id, "generation": deployment.generation}
    with connection.cursor(row_factory=class_row(LoadedOffset)) as cursor:
        return {row.partition: row for row in cursor.execute(query("offsets_read"), key)}


def refresh_status(connection: psycopg.Connection[Any]) -> list[RefreshStatus]:
    """All policies, by name."""
    with connection.cursor(row_factory=class_row(RefreshStatus)) as cursor:
        return cursor.execute(query("refresh_status")).fetchall()
