"""What one transaction loads: results and their events, ready for COPY, with their sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import add
from typing import Any, Final

from guildstream.errors import StreamDamaged
from guildstream.measures import M
from guildstream.results import ActivityRow, Results
from sinks.attributes import Attributes
from sinks.event_rows import EventRows
from sinks.offsets import Offset, check_continues
from sinks.partitions import DAY_MS, month_of
from sinks.rows import QUIET, QUIET_ZEROS, activity_row, award_row, command_row, session_row, totals_row
from sinks.stored_events import Entry, StoredEvent, accepted_runs
from sql import QueryName

__all__ = ["Batch"]

_HOUR_MS: Final = 3_600_000


class Batch:
    """Collects results entries of any number of partitions, each partition's in order.

    Attributes:
        before: the offset that each of its partitions must have for it to be loaded.
        after: the offset that each of them has then.
        events: how many events it covers, dropped ones included.
        results: how many results entries it holds.
        careful: whether each event's ``data`` was rewritten so that PostgreSQL takes it.
        attributes: what its events say about guilds, channels, roles, users and members.
    """

    def __init__(self, *, store_events: bool, careful: bool = False) -> None:
        self.before: dict[int, Offset] = {}
        self.after: dict[int, Offset] = {}
        self.events = 0
        self.results = 0
        self.attributes = Attributes()
        self.careful = careful
        self._store_events = store_events
        self._event_rows = EventRows(careful=careful)
        self._activity: list[bytes] = []
        self._awards: list[bytes] = []
        self._commands: list[bytes] = []
        self._sessions: dict[bytes, Sequence[Any]] = {}
        self._totals: dict[tuple[int, int], Sequence[Any]] = {}
        self._sums: dict[tuple[int, int, int, int, int], list[int]] = {}
        self._bots: set[tuple[int, int, int, int, int]] = set()
        self._days: dict[str, set[int]] = {
            "events": self._event_rows.days,
            "member_activity": set(),
            "xp_awards": set(),
            "command_usage": set(),
        }

    def add(
        self, partition: int, offset: Offset, results_id: str, results: Results, entries: Iterable[Entry]
    ) -> Offset:
        """Add the next results of a partition.

        Args:
            partition: the partition's number.
            offset: up to where it is loaded, or in this batch already.
            results_id: stream id of the results entry.
            results: what it holds; its lists are the batch's from now on.
            entries: the events entries that it covers.

        Returns:
            The partition's offset after it.

        Raises:
            StreamDamaged: the results don't continue at ``offset``, or the entries don't hold what they
                should; the batch is as it was before.
        """
        check_continues(partition, offset, results_id, results)
        runs = self._runs(partition, results, entries)
        for position, events, suspicious in runs:
            self.attributes.add_all(events)
            if self._store_events:
                self._event_rows.add(partition, results.first_position + position, events, suspicious=suspicious)
        self._add_activity(results.activity)
        self._add_others(results)
        self.before.setdefault(partition, offset)
        self.after[partition] = offset = offset.after(results_id, results)
        self.events += results.positions
        self.results += 1
        return offset

    def _runs(
        self, partition: int, results: Results, entries: Iterable[Entry]
    ) -> list[tuple[int, list[StoredEvent], bool]]:
        """Accepted events; where raw events aren't kept, missing ones are only missing names."""
        try:
            return list(accepted_runs(partition, entries, results.positions, results.dropped))
        except StreamDamaged:
            if self._store_events:
                raise
            return []

    @property
    def cleaned(self) -> int:
        """Events whose ``data`` held what ``jsonb`` refuses and was replaced."""
        return self._event_rows.cleaned

    def partitions_needed(self) -> dict[str, set[int]]:
        """The partitions of fact tables that its rows belong to: table to first days, since 1970."""
        sessions = {month_of(row[5] // DAY_MS) for row in self._sessions.values()}
        commands = {month_of(day) for day in self._days["command_usage"]}
        return {**self._days, "command_usage": commands, "voice_sessions": sessions}

    def copies(self) -> list[tuple[QueryName, Sequence[bytes]]]:
        """COPY statements in the order of loading, each with its rows; those without rows left out."""
        totals = [totals_row(row) for row in self._totals.values()]
        sessions = [session_row(row) for row in self._sessions.values()]
        copies: list[tuple[QueryName, Sequence[bytes]]] = [
            ("copy_events", self._event_rows.rows),
            ("copy_activity", self._activity),
            ("copy_awards", self._awards),
            ("copy_commands", self._commands),
            ("copy_delta", self._delta_rows()),
            ("stage_sessions", sessions),
            ("stage_totals", totals),
        ]
        return [(name, rows) for name, rows in copies if rows]

    def _add_activity(self, rows: Iterable[ActivityRow]) -> None:
        append, sums, days = self._activity.append, self._sums, self._days["member_activity"]
        for row in rows:
            bucket_ms, local_day, guild_id, channel_id, user_id, bot, measures = row
            append(activity_row(row))
            days.add(bucket_ms // DAY_MS)
            key = (bucket_ms - bucket_ms % _HOUR_MS, local_day, guild_id, channel_id, user_id)
            known = sums.get(key)
            if known is None:
                sums[key] = measures
            elif measures[QUIET] == QUIET_ZEROS:
                known[M.MESSAGES] += measures[M.MESSAGES]
                known[M.SIZED] += measures[M.SIZED]
                known[M.CHARS] += measures[M.CHARS]
                known[M.XP] += measures[M.XP]
            else:
                known[:] = map(add, known, measures)
            if bot:
                self._bots.add(key)

    def _add_others(self, results: Results) -> None:
        self._awards.extend(map(award_row, results.awards))
        self._days["xp_awards"].update(row[1] // DAY_MS for row in results.awards)
        self._commands.extend(map(command_row, results.commands))
        self._days["command_usage"].update(row[0] // DAY_MS for row in results.commands)
        for row in results.sessions:
            self._sessions[row[0]] = row
        for row in results.totals:
            self._totals[row[0], row[1]] = row

    def _delta_rows(self) -> list[bytes]:
        bots = self._bots
        return [activity_row((*key, key in bots, measures)) for key, measures in self._sums.items()]
