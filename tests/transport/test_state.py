"""A table in memory over a Redis hash behaves as one dictionary, whatever the cache forgets."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from processors.transport import KeyedState, NotLoaded, PartitionTable

KEYS = st.sampled_from([f"k{n}" for n in range(9)])
VALUES = st.integers(0, 99)


def spec(*, preload: bool = False) -> KeyedState[list[int]]:
    """Values are lists, so that they can be changed in place."""
    return KeyedState(
        "table",
        encode=lambda value: b",".join(b"%d" % number for number in value),
        decode=lambda raw: [int(number) for number in raw.split(b",")],
        preload=preload,
    )


class TableAgainstDictionary(RuleBasedStateMachine):
    """``stored`` is the hash in Redis, ``committed`` and ``expected`` are plain dictionaries."""

    preload = False

    def __init__(self) -> None:
        super().__init__()
        self.table = PartitionTable(spec(preload=self.preload), limit=3)
        self.stored: dict[bytes, bytes] = {}
        self.committed: dict[str, list[int]] = {}
        self.expected: dict[str, list[int]] = {}
        self.pinned: dict[str, list[int]] = {}

    def fetch(self, *keys: str) -> None:
        missing = self.table.missing(keys)
        self.table.fill(missing, [self.stored.get(key.encode()) for key in missing])

    @rule(key=KEYS)
    def get(self, key: str) -> None:
        self.fetch(key)
        assert self.table.get(key) == self.expected.get(key)
        assert self.table.get(key) is self.table.get(key)

    @rule(key=KEYS, value=VALUES)
    def put(self, key: str, value: int) -> None:
        self.table.put(key, [value])
        self.expected[key] = [value]
        self.pinned.pop(key, None)

    @rule(key=KEYS, value=VALUES)
    def change_in_place(self, key: str, value: int) -> None:
        self.fetch(key)
        found = self.table.get(key)
        if found is not None:
            found.append(value)
            self.table.put(key, found)
            self.expected[key] = [*self.expected[key], value]

    @rule(key=KEYS)
    def delete(self, key: str) -> None:
        self.table.delete(key)
        self.expected.pop(key, None)
        self.pinned.pop(key, None)

    @rule(key=KEYS, value=VALUES)
    def put_while_another_agent_prefetches(self, key: str, value: int) -> None:
        missing = self.table.missing([key])
        answer = [self.stored.get(found.encode()) for found in missing]
        self.put(key, value)
        self.table.fill(missing, answer)

    @rule(key=KEYS)
    def pin(self, key: str) -> None:
        self.fetch(key)
        self.table.pin(key)
        found = self.table.get(key)
        if found is not None:
            self.pinned[key] = found

    @rule(key=KEYS)
    def unpin(self, key: str) -> None:
        self.table.unpin(key)
        self.pinned.pop(key, None)

    @rule()
    def commit_and_shrink(self) -> None:
        stored, deleted = self.table.take_changes()
        self.stored.update(zip(stored[::2], stored[1::2], strict=True))
        for key in deleted:
            self.stored.pop(key, None)
        self.committed = {key: list(value) for key, value in self.expected.items()}
        assert {key.decode(): spec().decode(raw) for key, raw in self.stored.items()} == self.committed
        assert self.table.take_changes() == ([], [])
        self.table.shrink()

    @rule()
    def roll_back(self) -> None:
        self.table.reset()
        self.pinned.clear()
        self.expected = {key: list(value) for key, value in self.committed.items()}
        if self.preload:
            self.table.fill([key.decode() for key in self.stored], self.stored.values())

    @invariant()
    def pinned_values_stay_the_same_objects(self) -> None:
        for key, value in self.pinned.items():
            assert self.table.get(key) is value

    @precondition(lambda self: not self.preload)
    @invariant()
    def memory_is_bounded(self) -> None:
        # Two generations, what was used since the last commit, and what is pinned.
        assert len(self.table) <= 2 * 9


class PreloadedTableAgainstDictionary(TableAgainstDictionary):
    preload = True

    @invariant()
    def all_of_it_is_there(self) -> None:
        assert dict(self.table.items()) == self.expected


TestTable = TableAgainstDictionary.TestCase
TestTable.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestPreloadedTable = PreloadedTableAgainstDictionary.TestCase
TestPreloadedTable.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)


def test_a_key_that_nobody_prefetched_is_an_error_and_not_absence() -> None:
    table = PartitionTable(spec(), limit=3)
    with pytest.raises(NotLoaded, match="'other' of table table"):
        table.get("other")
    with pytest.raises(NotLoaded, match="not preloaded"):
        table.items()


def test_what_is_not_used_is_forgotten() -> None:
    table = PartitionTable(spec(), limit=10)
    for round_ in range(50):
        for number in range(12):
            table.put(f"k{round_}-{number}", [number])
        table.take_changes()
        table.shrink()
    assert len(table) <= 3 * 12
    assert table.missing(["k0-0", "k49-0"]) == ["k0-0"]
