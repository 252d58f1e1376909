"""Folds the delta log into the aggregates."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg

from guildstream import metrics
from sql import query

__all__ = ["refresh"]

_MEMORY = "SET LOCAL work_mem = '64MB'"
#: Folded rows after which the log's space is worth being made free for new ones at once.
_VACUUM_ROWS = 10_000


def refresh(connection: psycopg.Connection) -> int:
    """Fold everything that is loaded into every level at once. Blocks; several callers take turns.

    One transaction: after a crash the log is folded either wholly or not at all, and readers, who add the
    log to the aggregates, see the same sums before and after.

    Args:
        connection: in autocommit mode, outside a transaction.

    Returns:
        How many rows of the log it folded.

    Raises:
        psycopg.Error: as the server says; ``guildstream.refresh_state`` then holds the reason, if it can.
    """
    began = time.monotonic()
    try:
        with connection.transaction():
            connection.execute(query("fold_lock"))
            connection.execute(_MEMORY)
            row = connection.execute(query("fold")).fetchone()
            folded = int(row[0]) if row else 0
            done = {"duration_ms": (time.monotonic() - began) * 1000, "folded_rows": folded}
            connection.execute(query("fold_done"), done)
    except psycopg.Error as error:
        with suppress(psycopg.Error):
            connection.execute(query("fold_failed"), {"error": str(error)})
        raise
    if folded >= _VACUUM_ROWS:
        # Readers scan the log; autovacuum comes once a minute, which is a long time for a log.
        connection.execute("VACUUM (SKIP_LOCKED) guildstream.activity_delta")
    metrics.FOLD_ROWS.inc(folded)
    metrics.FOLD_SECONDS.observe(time.monotonic() - began)
    return folded
