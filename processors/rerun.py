"""The rules once more over a guild's stored events, touching nothing: to explain, and to try other settings.

Heartbeats are not stored, so voice advances by the guild's own events alone: time that nobody watched
begins at the event before it, a few seconds earlier than it did.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from guildstream.codec import EventReader
from guildstream.events import Erase, Event, Heartbeat, HeartbeatData, MessageCreate, SettingsChange, VoiceState
from processors.rules.explanation import describe_voice, why_nothing
from processors.rules.memory_tables import MemoryTable
from processors.rules.options import RuleOptions
from processors.rules.outbox import Drained
from processors.rules.partition import PartitionRules
from processors.rules.tables import TABLE_SPECS, Tables

__all__ = ["Explained", "explain", "read_events", "totals_of"]

_ANY_TIME_MS = 1 << 60
#: Guilds live in one partition, whichever it is.
_BATCH = 1000


@dataclass(frozen=True, slots=True)
class Explained:
    """What became of one event of a member.

    Attributes:
        ts_ms: when.
        kind: the event's type, or the reason of an award that has no event of its own.
        xp: points.
        why: the rule that refused points, or how they were made.
    """

    ts_ms: int
    kind: str
    xp: int
    why: str


def read_events(payloads: Iterable[bytes]) -> Iterable[Event]:
    """Events from their JSON, in the order of processing."""
    reader = EventReader()
    return (reader.read(payload, _ANY_TIME_MS) for payload in payloads)


def totals_of(
    events: Iterable[Event], options: RuleOptions, settings: Mapping[str, Any] | None = None
) -> dict[int, tuple[int, int]]:
    """XP and level of each member after all events.

    Args:
        events: of one guild, in order.
        options: of the deployment.
        settings: in force from the beginning instead of all that was ever set; None for what was.
    """
    run = _Run(options)
    for event in events:
        if settings is not None:
            run.begin_with(event, settings)
            if isinstance(event, SettingsChange):
                continue
        run.apply(event)
    run.finish()
    return run.totals


def explain(events: Iterable[Event], options: RuleOptions, user_id: int, from_ms: int, to_ms: int) -> list[Explained]:
    """What a member was awarded and refused in a stretch of time, by which rule.

    Args:
        events: of one guild, in order, from its first.
        options: of the deployment.
        user_id: the member.
        from_ms: beginning of the stretch.
        to_ms: its end, included.
    """
    run = _Run(options)
    found: list[Explained] = []
    for event in events:
        mine = event.user_id == user_id and from_ms <= event.ts <= to_ms
        why = run.why_nothing(event) if mine else None
        run.apply(event)
        state = run.voice_state(event, user_id) if mine else None
        if mine and why is not None:
            found.append(Explained(event.ts, event.type, 0, state or why))
    run.finish()
    for row in run.awards:
        if row[6] == user_id and row[1] <= to_ms and row[2] >= from_ms:
            times = f"{row[8]} times " if row[8] > 1 else ""
            note = f", {row[14]}" if len(row) > 14 and row[14] else ""
            made = f"{times}{row[9]} times {row[10] / 1000:g} under settings version {row[12]}{note}"
            found.append(Explained(row[1], row[7], row[11], made))
    return sorted(found, key=lambda its: its.ts_ms)


class _Run:
    """Rules over tables in memory."""

    def __init__(self, options: RuleOptions) -> None:
        self._tables = {spec.name: MemoryTable() for spec in TABLE_SPECS}
        self._rules = PartitionRules(Tables(**self._tables), options)
        self._last: dict[str, int] = {}
        self._count = 0
        self._begun = False
        self.awards: list[list[Any]] = []
        self.totals: dict[int, tuple[int, int]] = {}

    def begin_with(self, event: Event, settings: Mapping[str, Any]) -> None:
        """Put settings in force at the first event."""
        if not self._begun:
            self._begun = True
            change = SettingsChange(
                v=1, ts=event.ts, session="rerun", seq=0, guild_id=event.guild_id, data=dict(settings)
            )
            self.apply(change)

    def apply(self, event: Event) -> None:
        """Count an event; stored ones were accepted, so none is a duplicate."""
        for _ in self._rules.rounds([event]):
            pass
        if isinstance(event, Erase):
            self._name_erased(int(event.guild_id or 0), event.user_id)
        self._rules.apply(event, requeued=True)
        self._last[event.session] = max(self._last.get(event.session, 0), event.ts)
        self._count += 1
        if self._count % _BATCH == 0:
            self._take(self._rules.drain(early=True))

    def _name_erased(self, guild_id: int, user_id: int | str | None) -> None:
        """All events are of one guild, and so is all state."""
        if user_id is None:
            keys = {name: set(self._tables[name].values) for name in ("members", "reactions")}
            self._rules.name_guild_state(guild_id, keys)
        else:
            self._rules.name_reactions(guild_id, self._tables["reactions"].values)

    def finish(self) -> None:
        """Count what is open up to each source's last event."""
        for session, ts in self._last.items():
            self._rules.apply(Heartbeat(v=1, ts=ts, session=session, data=HeartbeatData(final=True)))
        self._take(self._rules.drain(early=True))

    def why_nothing(self, event: Event) -> str | None:
        """Which rule refuses points to the event that comes next."""
        voice = self._rules.voice_of(int(event.guild_id or 0))
        return why_nothing(voice, event)

    def voice_state(self, event: Event, user_id: int) -> str | None:
        """Of an event that may change somebody's voice, what holds of them then."""
        if isinstance(event, MessageCreate):
            return None
        described = describe_voice(self._rules.voice_of(int(event.guild_id or 0)), user_id)
        return "not in voice any more" if described is None and isinstance(event, VoiceState) else described

    def _take(self, drained: Drained) -> None:
        self.awards += drained.awards
        self.totals.update({row[1]: (row[3], row[4]) for row in drained.totals})
