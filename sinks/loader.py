"""Loads a batch in one transaction, exactly once."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

import psycopg

from guildstream import metrics
from guildstream.errors import GuildstreamError
from sinks.batch import Batch
from sinks.erasures import erase, erase_mentions
from sinks.offsets import Offset, OffsetTable
from sinks.partitions import Partitions
from sinks.rows import COPY_HEADER, COPY_TRAILER
from sql import QueryName, query

__all__ = ["Loader", "OffsetsMovedError"]

_TABLES: Mapping[str, str] = {
    "copy_events": "events",
    "copy_activity": "member_activity",
    "copy_awards": "xp_awards",
    "copy_commands": "command_usage",
    "copy_participants": "event_participants",
    "copy_flow": "member_flow",
    "copy_delta": "activity_delta",
    "stage_sessions": "voice_sessions",
    "stage_totals": "member_totals",
}


class OffsetsMovedError(GuildstreamError):
    """Another sink has loaded some of the batch meanwhile, or an earlier commit of ours did go through.

    Nothing was written; read the offsets and prepare the batch again.
    """


class Loader:
    """Writes batches over one connection.

    Args:
        connection: in autocommit mode; transactions are begun here.
        offsets: of the deployment.
    """

    def __init__(self, connection: psycopg.Connection, offsets: OffsetTable) -> None:
        self._connection = connection
        self._offsets = offsets
        self._partitions = Partitions()
        connection.execute(query("staging_create"))

    def make_partitions(self, needed: Mapping[str, set[int]]) -> None:
        """Make partitions of fact tables: table to first days, since 1970. Blocks."""
        self._partitions.ensure(self._connection, needed)

    def load(self, batch: Batch) -> None:
        """Load all of it or nothing. Blocks until it is durable.

        Raises:
            OffsetsMovedError: the offsets aren't those that the batch was prepared for.
            psycopg.Error: as the server says. After a lost connection it may have been loaded: the
                offsets tell, they are part of the same transaction.
        """
        began = time.monotonic()
        self.make_partitions(batch.partitions_needed())
        copies = batch.copies()
        with self._connection.transaction():
            self._lock(batch.before)
            if batch.erased:
                erase(self._connection, batch.erased)
            for name, rows in copies:
                self._copy(name, rows)
            self._upsert([name for name, _ in copies])
            if gaps := batch.gaps():
                self._connection.execute(query("gaps_upsert"), gaps)
            if settings := batch.settings():
                self._connection.execute(query("settings_upsert"), settings[:4])
                self._connection.execute(query("settings_record"), settings)
            batch.attributes.write(self._connection)
            erase_mentions(self._connection, batch.erased, batch.event_days)
            self._offsets.advance(self._connection, batch.after)
        metrics.SINK_LOAD_SECONDS.observe(time.monotonic() - began)
        metrics.SINK_BATCHES.inc()
        metrics.SINK_RESULTS.inc(batch.results)
        for name, rows in copies:
            metrics.SINK_ROWS.labels(table=_TABLES[name]).inc(len(rows))

    def _lock(self, expected: Mapping[int, Offset]) -> None:
        found = self._offsets.lock(self._connection, sorted(expected))
        if found != expected:
            moved = [partition for partition, offset in expected.items() if found.get(partition) != offset]
            raise OffsetsMovedError(f"partitions {moved} are no longer where the batch begins")

    def _copy(self, name: QueryName, rows: Sequence[bytes]) -> None:
        with self._connection.cursor() as cursor, cursor.copy(query(name)) as copy:
            copy.write(b"".join((COPY_HEADER, *rows, COPY_TRAILER)))

    def _upsert(self, staged: Sequence[str]) -> None:
        if "stage_totals" in staged:
            self._connection.execute(query("totals_upsert"))
        if "stage_sessions" in staged:
            self._connection.execute(query("sessions_upsert"))
