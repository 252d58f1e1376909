"""What one transaction loads: results and their events, ready for COPY, with their sums."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from operator import add
from typing import Any, Final
from uuid import UUID

from guildstream.errors import ConfigError, StreamDamaged
from guildstream.measures import M
from guildstream.results import ActivityRow, ErasedRow, Results
from sinks.attributes import Attributes
from sinks.erasures import remaining
from sinks.event_rows import EventRows, clean_json
from sinks.offsets import Offset, check_continues
from sinks.partitions import DAY_MS, month_of
from sinks.rows import (
    PARTICIPANT_GUILD,
    QUIET,
    QUIET_ZEROS,
    activity_row,
    award_row,
    clean_text,
    command_row,
    flow_row,
    participants_rows,
    session_row,
    totals_row,
)
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
        erased: who is to be forgotten before its rows are loaded.
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
        self._participants: list[bytes] = []
        self._flow: list[bytes] = []
        self._gaps: dict[tuple[Any, ...], Sequence[Any]] = {}
        self._settings: list[Sequence[Any]] = []
        self.erased: list[ErasedRow] = []
        self._days: dict[str, set[int]] = {
            "events": self._event_rows.days,
            "member_activity": set(),
            "xp_awards": set(),
            "command_usage": set(),
            "event_participants": set(),
            "member_flow": set(),
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
        if results.erased and partition in self.after:
            raise ConfigError("results with an erasure must be the first of their partition in a batch")
        runs = self._runs(partition, results, entries)
        if results.erased:
            runs = remaining(runs, results.erased)
            self.erased.extend(results.erased)
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
        flow = {month_of(day) for day in self._days["member_flow"]}
        return {**self._days, "command_usage": commands, "voice_sessions": sessions, "member_flow": flow}

    @property
    def event_days(self) -> set[int]:
        """The days of its events, since 1970."""
        return self._days["events"]

    def gaps(self) -> list[list[Any]]:
        """Gaps as columns for ``unnest``; empty where there are none."""
        rows = [
            (*row[:4], *(None if ms is None else datetime.fromtimestamp(ms / 1000, UTC) for ms in row[4:6]), row[6])
            for row in self._gaps.values()
        ]
        return [list(column) for column in zip(*rows, strict=True)]

    def settings(self) -> list[list[Any]]:
        """Changes of settings as columns for ``unnest``: guild, version, time, settings, patch, event."""
        rows = [
            (
                guild_id,
                version,
                datetime.fromtimestamp(ms / 1000, UTC),
                _clean(document),
                _clean(patch),
                UUID(bytes=event),
            )
            for guild_id, version, ms, document, patch, event in self._settings
        ]
        return [list(column) for column in zip(*rows, strict=True)]

    def copies(self) -> list[tuple[QueryName, Sequence[bytes]]]:
        """COPY statements in the order of loading, each with its rows; those without rows left out."""
        totals = [totals_row(row) for row in self._totals.values()]
        sessions = [session_row(row) for row in self._sessions.values()]
        copies: list[tuple[QueryName, Sequence[bytes]]] = [
            ("copy_events", self._event_rows.rows),
            ("copy_activity", self._activity),
            ("copy_awards", self._awards),
            ("copy_commands", self._commands),
            ("copy_participants", sorted(self._participants, key=PARTICIPANT_GUILD)),
            ("copy_flow", self._flow),
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
        self._settings.extend(results.settings)
        for row in results.participants:
            self._participants.extend(participants_rows(row))
            self._days["event_participants"].add(row[1] // DAY_MS)
        for row in results.flow:
            self._flow.append(flow_row(row))
            self._days["member_flow"].add(row[0] // DAY_MS)
        for session, shard, count, guild_id, started_ms, ended_ms, cause in results.gaps:
            key = (session, shard, guild_id, started_ms)
            former = self._gaps.get(key, (None,) * 7)
            row = [clean_text(session), shard, count or former[2], guild_id, started_ms]
            self._gaps[key] = [*row, former[5] if ended_ms is None else ended_ms, clean_text(cause)]
        for row in results.sessions:
            self._sessions[row[0]] = row
        for row in results.totals:
            self._totals[row[0], row[1]] = row

    def _delta_rows(self) -> list[bytes]:
        bots = self._bots
        return [activity_row((*key, key in bots, measures)) for key, measures in self._sums.items()]


def _clean(document: str) -> str:
    """JSON text that ``jsonb`` takes."""
    return clean_json(document.encode("utf-8", "replace")).decode()
