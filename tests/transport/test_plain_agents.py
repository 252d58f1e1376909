"""Unmodified Faust agents, message by message, get the same promises as chunked ones."""

from __future__ import annotations

from typing import Any

import faust
import pytest
import redis

from guildstream.connections import connect_redis
from guildstream.errors import ConfigError
from processors.transport import chunked, current_partition
from tests.transport.apps import SUMS, dead, plain_app, positions, started, stream, sums, until


@pytest.fixture
def client(redis_url: str) -> redis.Redis:
    return connect_redis(redis_url)


def publish(client: redis.Redis, topic: str, values: list[Any], partition: int = 0, *, pack: int = 1) -> None:
    pipe = client.pipeline(transaction=False)
    lines = [str(value) for value in values]
    for at in range(0, len(lines), pack):
        part = lines[at : at + pack]
        pipe.xadd(stream(topic, partition), {"e": part[0]} if len(part) == 1 else {"b": "\n".join(part)})
    pipe.execute()


async def add(key: str, amount: int) -> None:
    """What these agents do: keep a sum in keyed state."""
    partition = current_partition()
    await partition.prefetch({SUMS.name: [key]})
    table = partition.table(SUMS)
    table.put(key, (table.get(key) or 0) + amount)


async def test_an_agent_by_message(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(numbers) -> None:
        async for number in numbers:
            await add("sum", number)

    publish(client, "numbers", [1, 2, 3])
    publish(client, "numbers", range(100), pack=7)
    publish(client, "numbers", [5], partition=1)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 103 and positions(client, "numbers", 1) == 1)
    assert sums(client) == {"sum": 6 + 4950}
    assert sums(client, 1) == {"sum": 5}


async def test_an_event_on_which_an_agent_raises_leaves_nothing_but_a_dead_letter(
    redis_url: str, client: redis.Redis
) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(numbers) -> None:
        async for number in numbers:
            await add("sum", number)
            if number in (13, 40):
                msg = f"unlucky {number}"
                raise RuntimeError(msg)

    publish(client, "numbers", range(60), pack=7)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 60)
    assert sums(client) == {"sum": sum(range(60)) - 53}
    letters = dead(client)
    assert [letter["e"] for letter in letters] == ["13", "40"]
    assert {letter["reason"] for letter in letters} == {"processing_failed"}
    assert "RuntimeError: unlucky 13" in letters[0]["detail"]
    assert "test_plain_agents.py" in letters[0]["detail"]
    name, entry_id, index = letters[0]["origin"].split()
    assert (name, index) == (stream("numbers"), "6")
    assert client.xrange(stream("numbers"), entry_id, entry_id)[0][1][b"b"].split(b"\n")[6] == b"13"
    assert client.hgetall(stream("counters")) == {b"poison": b"2"}


async def test_a_chunked_agent_that_simply_raises(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(chunked(app, "numbers"))
    async def agent(chunks) -> None:
        async for chunk in chunks:
            for entry in chunk.entries:
                for index, payload in enumerate(entry.payloads()):
                    if index not in entry.skipped:
                        await add("sum", int(payload))

    publish(client, "numbers", [1, 2, "three", 4, "five", 6], pack=3)
    publish(client, "numbers", range(10))
    async with started(app):
        await until(lambda: positions(client, "numbers") == 16)
    assert sums(client) == {"sum": 13 + 45}
    assert [letter["e"] for letter in dead(client)] == ["three", "five"]
    assert "invalid literal for int()" in dead(client)[0]["detail"]


async def test_several_actors_of_an_agent(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int), concurrency=3)
    async def agent(numbers) -> None:
        async for number in numbers:
            await add(f"sum{number % 5}", number)
            if number == 30:
                raise RuntimeError(number)

    publish(client, "numbers", range(60), pack=20)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 60)
    assert sums(client) == {f"sum{n}": sum(range(n, 60, 5)) - (30 if n == 0 else 0) for n in range(5)}
    assert [letter["e"] for letter in dead(client)] == ["30"]


async def test_several_agents_on_a_topic_an_event_is_dead_for_all(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)
    topic = app.topic("numbers", value_type=int)

    @app.agent(topic, name="careful")
    async def careful(numbers) -> None:
        async for number in numbers:
            await add("careful", number)

    @app.agent(topic, name="hasty")
    async def hasty(numbers) -> None:
        async for number in numbers:
            await add("hasty", number)
            if number == 3:
                raise RuntimeError(number)

    publish(client, "numbers", range(10))
    async with started(app):
        await until(lambda: positions(client, "numbers") == 10)
    assert sums(client) == {"careful": 42, "hasty": 42}
    assert [letter["e"] for letter in dead(client)] == ["3"]


async def test_a_message_that_can_not_be_decoded_is_a_dead_letter(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(numbers) -> None:
        async for number in numbers:
            await add("sum", number)

    publish(client, "numbers", [1, "{nonsense", 2, "also [nonsense", 3])
    async with started(app):
        await until(lambda: positions(client, "numbers") == 5)
    assert sums(client) == {"sum": 6}
    assert [letter["e"] for letter in dead(client)] == ["{nonsense", "also [nonsense"]
    assert "ValueDecodeError" in dead(client)[0]["detail"]


async def test_take_gives_what_there_is_at_the_end_of_a_chunk(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)
    batches: list[list[int]] = []

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(numbers) -> None:
        # Were "within" waited for, this test would take a minute.
        async for batch in numbers.take(10, within=60):
            batches.append(list(batch))
            await add("sum", sum(batch))

    publish(client, "numbers", range(25), pack=25)
    publish(client, "numbers", range(100, 104), partition=1, pack=4)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 25 and positions(client, "numbers", 1) == 4)
        publish(client, "numbers", [7])
        await until(lambda: positions(client, "numbers") == 26)
    assert sorted(map(len, batches)) == [1, 4, 5, 10, 10]
    assert all(len({number // 100 for number in batch}) == 1 for batch in batches)
    assert sums(client) == {"sum": 307}


async def test_an_agent_that_raises_on_a_batch(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(numbers) -> None:
        async for batch in numbers.take(10, within=1):
            await add("sum", sum(batch))
            if 13 in batch:
                raise RuntimeError(batch)

    publish(client, "numbers", range(40), pack=40)
    publish(client, "numbers", range(40), partition=1, pack=4)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 40 and positions(client, "numbers", 1) == 40)
    for partition in (0, 1):
        assert sums(client, partition) == {"sum": sum(range(40)) - 13}
        assert [letter["e"] for letter in dead(client, partition)] == ["13"]


def hasty_app(redis_url: str) -> faust.App:
    """One agent raises on some numbers, another that takes batches on others; a third counts what that one sends."""
    app = plain_app(redis_url)
    topic, echo = app.topic("numbers", value_type=int), app.topic("echo", value_type=int)

    @app.agent(topic, name="single")
    async def single(numbers) -> None:
        async for number in numbers:
            await add("single", number)
            if number % 17 == 3:
                raise RuntimeError(number)

    @app.agent(topic, name="batches")
    async def batches(numbers) -> None:
        async for batch in numbers.take(7, within=1):
            for number in batch:
                await echo.send(value=number)
            await add("batches", sum(batch))
            if any(number % 29 == 5 for number in batch):
                raise RuntimeError(batch)

    @app.agent(echo, name="echoed")
    async def echoed(numbers) -> None:
        async for number in numbers:
            await add("echoed", number)

    return app


async def test_much_poison_for_agents_of_both_kinds(redis_url: str, client: redis.Redis) -> None:
    app = hasty_app(redis_url)
    publish(client, "numbers", range(150), pack=11)
    publish(client, "numbers", range(150), pack=40, partition=1)
    bad = [number for number in range(150) if number % 17 == 3 or number % 29 == 5]
    good = sum(range(150)) - sum(bad)
    async with started(app):
        for partition in (0, 1):
            await until(lambda p=partition: positions(client, "numbers", p) == 150, deadline_seconds=30)
            await until(lambda p=partition: positions(client, "echo", p) == 150 - len(bad), deadline_seconds=30)
    for partition in (0, 1):
        assert sums(client, partition) == {"single": good, "batches": good, "echoed": good}
        assert [int(letter["e"]) for letter in dead(client, partition)] == bad


async def test_take_behind_a_filter(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(numbers) -> None:
        async for batch in numbers.filter(lambda number: number < 20).take(10, within=0.05):
            await add("sum", sum(batch))

    publish(client, "numbers", range(30), pack=30)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 30)
    assert sums(client) == {"sum": sum(range(20))}


async def test_what_an_agent_sends_within_its_partition_is_part_of_the_commit(
    redis_url: str, client: redis.Redis
) -> None:
    app = plain_app(redis_url)
    numbers, squares = app.topic("numbers", value_type=int), app.topic("squares", value_type=int)

    @app.agent(numbers, name="square")
    async def square(stream_) -> None:
        async for number in stream_:
            await squares.send(value=number * number)
            if number == 5:
                raise RuntimeError(number)

    @app.agent(squares, name="add")
    async def add_up(stream_) -> None:
        async for number in stream_:
            await add("squares", number)

    publish(client, "numbers", range(10), pack=5)
    expected = [number * number for number in range(10) if number != 5]
    async with started(app):
        await until(lambda: positions(client, "squares") == len(expected))
        await until(lambda: positions(client, "numbers") == 10)
    assert [int(fields[b"e"]) for _, fields in client.xrange(stream("squares"))] == expected
    assert sums(client) == {"squares": sum(expected)}


async def test_what_is_sent_elsewhere_says_where_it_came_from(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)
    seen: list[tuple[int, str]] = []

    @app.agent(app.topic("numbers", value_type=int), name="forward")
    async def forward(stream_) -> None:
        async for number in stream_:
            await app.topic("far", value_type=int).send(value=number, partition=1)
            if number == 2:
                raise RuntimeError(number)

    @app.agent(app.topic("far", value_type=int), name="far")
    async def far(stream_) -> None:
        async for event in stream_.events():
            seen.append((event.value, event.headers["gs-from"].decode()))  # noqa: PERF401 - an agent never ends

    publish(client, "numbers", range(4), pack=4)
    async with started(app):
        await until(lambda: positions(client, "numbers") == 4)
        await until(lambda: {number for number, _ in seen} >= {0, 1, 3})
    # At least once: the rollback sent some again, under the same names.
    assert len(set(seen)) == len({number for number, _ in seen})
    assert (1, "numbers 0 1 0") in seen


async def test_keys_and_headers_arrive(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)
    topic = app.topic("named", key_type=str, value_type=int)
    seen: list[Any] = []

    @app.agent(topic)
    async def agent(stream_) -> None:
        async for event in stream_.events():
            seen.append((event.key, event.value, event.headers.get("h")))  # noqa: PERF401

    async with started(app):
        await topic.send(key="a", value=1, headers={"h": b"\xff"})
        await topic.send(key="b", value=2)
        await until(lambda: len(seen) == 2)
    assert sorted(seen) == [("a", 1, b"\xff"), ("b", 2, None)]


async def test_cast_works_and_ask_is_refused(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(app.topic("numbers", value_type=int), name="adder")
    async def adder(stream_) -> Any:
        async for number in stream_:
            await add("sum", number)
            yield number

    async with started(app):
        await until(lambda: app.consumer.lanes)
        await adder.cast(3)
        await adder.cast(4, partition=0)
        await until(lambda: positions(client, "numbers") + positions(client, "numbers", 1) == 2)
        with pytest.raises(ConfigError, match=r"agent\.ask is not supported"):
            await adder.ask(5)


async def test_timers_run(redis_url: str) -> None:
    app = plain_app(redis_url)
    ticks: list[int] = []

    @app.timer(0.05)
    async def tick() -> None:
        ticks.append(1)

    @app.agent(app.topic("numbers"))
    async def agent(stream_) -> None:
        async for _ in stream_:
            pass

    async with started(app):
        await until(lambda: len(ticks) > 2)


async def test_faust_tables_are_refused(redis_url: str) -> None:
    app = plain_app(redis_url)
    table = app.Table("faust-table", default=int)

    @app.agent(app.topic("numbers", value_type=int))
    async def agent(stream_) -> None:
        async for number in stream_:
            table["sum"] += number

    async with started(app):
        await until(lambda: app.crashed)
        assert "faust-table" in str(app.crash_reason)
        assert "KeyedState" in str(app.crash_reason)


async def test_a_topic_is_chunked_for_all_or_for_none(redis_url: str, client: redis.Redis) -> None:
    app = plain_app(redis_url)

    @app.agent(chunked(app, "numbers"), name="chunks")
    async def chunks(stream_) -> None:
        async for _ in stream_:
            pass

    @app.agent(app.topic("numbers"), name="messages")
    async def messages(stream_) -> None:
        async for _ in stream_:
            pass

    publish(client, "numbers", [1])
    async with started(app):
        await until(lambda: app.crashed)
        assert "declared chunked by one agent" in str(app.crash_reason)
