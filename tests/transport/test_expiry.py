"""Values that end in event time: what is seen depends on the order of events, and on nothing else."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildstream.connections import connect_redis
from guildstream.errors import ConfigError
from processors.transport import KeyedState, Partition, current_partition
from processors.transport.expiry import CLOCK_MEMBER, ExpiringTable, make_table
from tests.transport.apps import plain_app, positions, started, stream, until

LIFE_MS = 1_000
#: A value is how often its key was seen in a row, and when last; it ends a second later.
SPEC: KeyedState[tuple[int, int]] = KeyedState(
    "seen",
    encode=lambda value: b"%d %d" % value,
    decode=lambda raw: tuple(map(int, raw.split())),  # type: ignore[arg-type, return-value]
    expires_ms=lambda value: value[1] + LIFE_MS if value[0] != 3 else None,
)

EVENTS = st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4_000)), max_size=60)


class Stored:
    """The hash and the sorted set, as commits leave them, without a server."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.ends: dict[bytes, int] = {}

    def prefetch(self, table: ExpiringTable[tuple[int, int]], key: str) -> None:
        missing, limit = table.missing([key]), table.sweep_limit
        ended = sorted((end, member) for member, end in self.ends.items() if end <= table.clock_ms)[:limit]
        table.fill(missing, [self.values.get(found.encode()) for found in missing])
        if limit:
            table.restore(self.ends.get(CLOCK_MEMBER))
            table.sweep([member for _, member in ended], limit)

    def commit(self, table: ExpiringTable[tuple[int, int]]) -> None:
        ends, endless = table.take_ends()
        stored, deleted = table.take_changes()
        self.values |= dict(zip(stored[::2], stored[1::2], strict=True))
        self.ends |= {member: int(end) for end, member in zip(ends[::2], ends[1::2], strict=True)}
        for key in deleted:
            self.values.pop(key, None)
        for key in endless:
            self.ends.pop(key, None)
        table.shrink()


def apply(stored: Stored, table: ExpiringTable[tuple[int, int]], number: int, ms: int) -> int:
    """Count an event; how often its key was seen before, in a row."""
    key = f"k{number}"
    stored.prefetch(table, key)
    table.advance(ms)
    before = table.get(key)
    table.put(key, ((before[0] if before else 0) + 1, ms))
    return before[0] if before else 0


def uninterrupted(events: list[tuple[int, int]]) -> list[int]:
    """The same by the definition."""
    clock, values, seen = 0, {}, []
    for number, ms in events:
        clock = max(clock, ms)
        count, last_ms = values.get(number, (0, 0))
        if count != 3 and last_ms + LIFE_MS <= clock:
            count = 0
        seen.append(count)
        values[number] = (count + 1, ms)
    return seen


@given(EVENTS, st.lists(st.sampled_from(["go on", "commit", "hand over"]), min_size=60, max_size=60))
def test_neither_commits_nor_hand_overs_change_what_is_seen(events: list[tuple[int, int]], steps: list[str]) -> None:
    stored, table, seen = Stored(), make_table(SPEC, 2), []
    assert isinstance(table, ExpiringTable)
    for (number, ms), step in zip(events, steps, strict=False):
        seen.append(apply(stored, table, number, ms))
        if step != "go on":
            stored.commit(table)
        if step == "hand over":
            table = make_table(SPEC, 2)
            assert isinstance(table, ExpiringTable)
    assert seen == uninterrupted(events)


@given(st.integers(1, 3_000))
def test_what_has_ended_does_not_pile_up(keys: int) -> None:
    stored, table = Stored(), make_table(SPEC, 100)
    assert isinstance(table, ExpiringTable)
    for number in range(keys):
        apply(stored, table, number, number * 100)
        if number % 50 == 49:
            stored.commit(table)
    assert len(stored.values) <= 120


def test_a_value_that_counts_as_false_is_no_missing_one() -> None:
    spec: KeyedState[int] = KeyedState("n", encode=lambda n: b"%d" % n, decode=int, expires_ms=lambda _: 2_000)
    table = make_table(spec, 10)
    assert isinstance(table, ExpiringTable)
    table.advance(1_000)
    table.put("zero", 0)
    table.sweep([b"zero"], 10)
    assert table.get("zero") == 0


def test_it_is_refused_where_it_makes_no_sense() -> None:
    with pytest.raises(ConfigError, match="preloaded"):
        dataclasses.replace(SPEC, preload=True)
    with pytest.raises(ConfigError, match="expires_ms"):
        make_table(KeyedState("plain", encode=bytes, decode=bytes), 10).advance(1)


async def test_an_app_forgets_in_redis_too(redis_url: str) -> None:
    client = connect_redis(redis_url)
    app = plain_app(redis_url)
    app.transport.keep(SPEC)

    @app.agent(app.topic("events", value_serializer="raw"))
    async def count(payloads) -> None:
        async for payload in payloads:
            key, ms = payload.decode().split()
            partition: Partition = current_partition()
            await partition.prefetch({SPEC.name: [key]})
            table = partition.table(SPEC)
            table.advance(int(ms))
            before = table.get(key)
            table.put(key, ((before[0] if before else 0) + 1, int(ms)))

    def state() -> dict[bytes, bytes]:
        return client.hgetall(stream("state:seen"))

    async with started(app):
        for payload in ("a 1000", "b 1500", "a 1900"):
            client.xadd(stream("events"), {"e": payload})
        await until(lambda: positions(client, "events") == 3)
        assert state() == {b"a": b"2 1900", b"b": b"1 1500"}
        for payload in ("c 9000", "a 1950", "c 9001"):
            client.xadd(stream("events"), {"e": payload})
        await until(lambda: positions(client, "events") == 6)
        client.xadd(stream("events"), {"e": "d 20000"})
        client.xadd(stream("events"), {"e": "e 20001"})
        await until(lambda: positions(client, "events") == 8)
    again = plain_app(redis_url)
    again.transport.keep(SPEC)

    @again.agent(again.topic("events", value_serializer="raw"))
    async def look(payloads) -> None:
        async for payload in payloads:
            key, ms = payload.decode().split()
            partition = current_partition()
            await partition.prefetch({SPEC.name: [key]})
            partition.table(SPEC).advance(int(ms))
            assert partition.table(SPEC).get("c") is None

    async with started(again):
        client.xadd(stream("events"), {"e": "c 1"})
        client.xadd(stream("events"), {"e": "c 1"})
        await until(lambda: positions(client, "events") == 10)
        await until(lambda: set(state()) == {b"d", b"e"})
    assert client.xlen(stream("dead")) == 0
