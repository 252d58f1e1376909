"""A dict-backed twin of the shell's keyed state, as strict as that: what was not fetched can't be read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from guildstream.events import Event
from processors.rules import TABLE_SPECS, Drained, Outcome, PartitionRules, RuleOptions, Tables, TableSpec


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

    def load(self, drained: Drained) -> None:
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
        apply = self.rules.apply
        self.outcomes += [apply(event) for event in events]

    def commit(self, *, early: bool = False) -> Drained:
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
