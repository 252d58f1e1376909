"""A dict-backed twin of the shell's keyed state, as strict as that: what was not fetched can't be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from guildstream.events import Erase, Event
from processors.erasure import erasures
from processors.rules import TABLE_SPECS, Drained, Outcome, PartitionRules, RuleOptions, Tables, TableSpec
from processors.rules.reaction_memory import names_anyone


class NotLoadedError(LookupError):
    pass


class DictTable:
    """One table: ``stored`` is what a commit wrote, ``cache`` what is in memory."""

    def __init__(self, spec: TableSpec, stored: dict[str, bytes]) -> None:
        self.spec = spec
        self.stored = stored
        self.cache: dict[str, Any] = {}
        self.loaded: set[str] = set()
        self.dirty: set[str] = set()
        self.deleted: set[str] = set()
        self.pinned: set[str] = set()
        if spec.preload:
            self.prefetch(stored)

    def prefetch(self, keys: Iterable[str]) -> None:
        for key in keys:
            if key not in self.loaded:
                self.loaded.add(key)
                if key in self.stored:
                    self.cache[key] = self.spec.decode(self.stored[key])

    def get(self, key: str) -> Any:
        if not self.spec.preload and key not in self.loaded:
            raise NotLoadedError(f"{self.spec.name} {key}")
        return self.cache.get(key)

    def put(self, key: str, value: Any) -> None:
        self.loaded.add(key)
        self.cache[key] = value
        self.dirty.add(key)
        self.deleted.discard(key)

    def delete(self, key: str) -> None:
        self.loaded.add(key)
        self.cache.pop(key, None)
        self.dirty.discard(key)
        self.deleted.add(key)

    def items(self) -> Iterable[tuple[str, Any]]:
        assert self.spec.preload
        return list(self.cache.items())

    def pin(self, key: str) -> None:
        self.pinned.add(key)

    def unpin(self, key: str) -> None:
        self.pinned.discard(key)

    def commit(self) -> None:
        for key in self.dirty:
            self.stored[key] = self.spec.encode(self.cache[key])
        for key in self.deleted:
            self.stored.pop(key, None)
        self.dirty.clear()
        self.deleted.clear()

    def evict(self) -> None:
        """Drop all that a cache under pressure may drop."""
        if not self.spec.preload:
            for key in self.loaded - self.pinned - self.dirty - self.deleted:
                self.loaded.discard(key)
                self.cache.pop(key, None)


@dataclass
class Sums:
    """What a sink would hold after loading every drain."""

    activity: dict[tuple[int, ...], list[int]] = field(default_factory=dict)
    bots: dict[tuple[int, int], set[bool]] = field(default_factory=dict)
    sessions: dict[bytes, list[Any]] = field(default_factory=dict)
    awards: dict[bytes, list[Any]] = field(default_factory=dict)
    totals: dict[tuple[int, int], list[Any]] = field(default_factory=dict)
    commands: dict[tuple[Any, ...], int] = field(default_factory=dict)
    boards: dict[tuple[int, str], dict[int, int]] = field(default_factory=dict)
    notices: dict[str, dict[str, Any]] = field(default_factory=dict)
    counters: Counter[str] = field(default_factory=Counter)

    flow: list[list[Any]] = field(default_factory=list)
    gaps: dict[tuple[Any, ...], list[Any]] = field(default_factory=dict)
    participants: dict[bytes, list[Any]] = field(default_factory=dict)
    erased: list[list[Any]] = field(default_factory=list)
    settings: list[list[Any]] = field(default_factory=list)

    def erase(self, guild: int, user: int | None) -> None:  # noqa: C901 - a step a kind of row
        """What a sink does with what it has loaded."""
        activity, self.activity = self.activity, {}
        for key, row in activity.items():
            if key[2] != guild or user is not None:
                who = 0 if (key[2], key[4]) == (guild, user) else key[4]
                nobodys = self.activity.setdefault((*key[:4], who), [0] * len(row))
                nobodys[:] = [a + b for a, b in zip(nobodys, row, strict=True)]
        for rows, place in ((self.sessions, (2, 4)), (self.awards, (4, 6))):
            for key, row in list(rows.items()):
                if row[place[0]] == guild and user is None:
                    del rows[key]
                elif (row[place[0]], row[place[1]]) == (guild, user):
                    row[place[1]] = 0
                    del row[14:]
                    if rows is self.awards:
                        row[13] = None
        self.totals = {who: row for who, row in self.totals.items() if who[0] != guild or user not in (None, who[1])}
        self.notices = {
            key: its
            for key, its in self.notices.items()
            if its["guild_id"] != guild or user not in (None, its["user_id"])
        }
        commands, self.commands = self.commands, {}
        for key, uses in commands.items():
            if key[1] != guild or user is not None:
                who = 0 if (key[1], key[3]) == (guild, user) else key[3]
                its = (*key[:3], who, *key[4:])
                self.commands[its] = self.commands.get(its, 0) + uses
        self.flow = [
            [at, its, 0 if (its, who) == (guild, user) else who, *rest]
            for at, its, who, *rest in self.flow
            if its != guild or user is not None
        ]
        for key, row in list(self.participants.items()):
            row[4] = [its for its in row[4] if (row[2], its) != (guild, user)]
            if row[2] == guild and user is None:
                del self.participants[key]
        if user is None:
            self.settings = [row for row in self.settings if row[0] != guild]
            self.gaps = {key: row for key, row in self.gaps.items() if row[3] != guild}
            self.boards = {board: scores for board, scores in self.boards.items() if board[0] != guild}

    def load(self, drained: Drained) -> None:  # noqa: C901 - a step a kind of row
        for guild, user, *_ in drained.erased:
            self.erase(guild, user)
        self.erased += drained.erased
        self.flow += drained.flow
        self.settings += drained.settings
        for row in drained.gaps:
            self.gaps[row[0], row[1], row[3], row[4]] = row
        for row in drained.participants:
            self.participants[row[0]] = row
        for bucket, day, guild, channel, user, _bot, measures in drained.activity:
            key = (bucket, day, guild, channel, user)
            old = self.activity.get(key)
            self.activity[key] = measures if old is None else [a + b for a, b in zip(old, measures, strict=True)]
        self.counters.update(drained.counters)
        for row in drained.sessions:
            self.sessions[row[0]] = row
        for row in drained.awards:
            assert row[0] not in self.awards, "an award came twice"
            self.awards[row[0]] = row
        for row in drained.totals:
            self.totals[row[0], row[1]] = row
        for *key, uses in drained.commands:
            self.commands[tuple(key)] = self.commands.get(tuple(key), 0) + uses
        for board, scores in drained.boards.items():
            self.boards.setdefault(board, {}).update(scores)
        for notice in drained.notices:
            assert notice["id"] not in self.notices, "a notice came twice"
            self.notices[str(notice["id"])] = notice


class Shell:
    """Runs rules the way the worker does; ``commit`` also rebuilds them where asked to."""

    def __init__(self, options: RuleOptions | None = None) -> None:
        self.options = options or RuleOptions()
        self.stored: dict[str, dict[str, bytes]] = {spec.name: {} for spec in TABLE_SPECS}
        self.sums = Sums()
        self.outcomes: list[Outcome] = []
        self.hand_over()

    def hand_over(self) -> None:
        """Forget everything but what was committed."""
        self.tables = {spec.name: DictTable(spec, self.stored[spec.name]) for spec in TABLE_SPECS}
        self.rules = PartitionRules(Tables(**self.tables), self.options)
        self._prefetch(self.rules.initial_keys())

    def chunk(self, events: Sequence[Event]) -> None:
        for keys in self.rules.rounds(events):
            self._prefetch(keys)
        for guild, users in erasures(events)[1].items():
            self._prefetch(self.rules.name_reactions(guild, self.buckets_of(guild, users)))
        self.purge()
        apply, removed = self.rules.apply, self.rules.removed
        for event in events:
            if event.guild_id in removed and self.rules.outlives(event):
                self._purge(event.guild_id)
            if event.__class__ is Erase and event.user_id is None:
                self.rules.name_guild_state(event.guild_id, self.guild_keys(str(event.guild_id)))
            outcome = apply(event)
            if outcome is Outcome.ERASURE:
                self.rules.place_erasure(0)
            self.outcomes.append(outcome)

    def purge(self) -> None:
        """Forget removed guilds whose time is over."""
        for guild in self.rules.purges():
            self._prefetch({"guilds": {str(guild)}})
            self._purge(guild)

    def _purge(self, guild: int) -> None:
        self.rules.name_guild_state(guild, self.guild_keys(str(guild)))
        self.rules.purge(guild)
        self.rules.place_erasure(0)

    def guild_keys(self, guild: str) -> dict[str, set[str]]:
        """What is stored of a guild, as a scan finds it."""
        return {name: {key for key in stored if key.startswith(f"{guild}:")} for name, stored in self.stored.items()}

    def buckets_of(self, guild: int, users: set[int]) -> set[str]:
        """Stored reactions that name somebody, as a scan finds them."""
        table = self.tables["reactions"]
        stored = {key: table.spec.decode(value) for key, value in table.stored.items() if key.startswith(f"{guild}:")}
        return {key for key, bucket in stored.items() if names_anyone(bucket, users)}

    def commit(self, *, early: bool = False) -> Drained:
        self.purge()
        drained = self.rules.drain(early=early)
        for table in self.tables.values():
            table.commit()
        self.sums.load(drained)
        return drained

    def evict(self) -> None:
        for table in self.tables.values():
            table.evict()

    def _prefetch(self, keys: dict[str, set[str]]) -> None:
        for name, wanted in keys.items():
            self.tables[name].prefetch(wanted)
