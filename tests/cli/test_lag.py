"""Lag and consumers, as the program tells them, against what Redis holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from guildstream.connections import connect_redis
from guildstream.consumers import EntriesTrimmed, EventsConsumer, consumer_positions
from guildstream.deployment import ensure_deployment
from guildstream.keys import Keys
from tests.cli.processes import environment, popen, run
from tests.servers import PrivateServer, wait_until

KEYS = Keys()
NO_DATABASE = "postgresql://nobody@127.0.0.1:1/none"
HEARTBEAT = '{"v":1,"type":"heartbeat","ts":1760000000000,"session":"s"}'


@pytest.fixture
def env(redis_url: str) -> dict[str, str]:
    with connect_redis(redis_url) as client:
        ensure_deployment(client, KEYS, 2)
    return environment(redis_url=redis_url, database_url=NO_DATABASE, partitions="2")


def test_lag_is_counted_from_the_commits(redis_url: str, env: dict[str, str], tmp_path: Path) -> None:
    names = KEYS.partition(1)
    with connect_redis(redis_url) as client:
        ids = [client.xadd(names.events, {"e": HEARTBEAT}).decode() for _ in range(250)]
        client.hset(names.offset, mapping={"last_id": ids[99], "entries": 100, "commit": 1})
        client.hset(names.owner, mapping={"owner": "w", "epoch": 7, "until_ms": 4_000_000_000_000})
        client.hset(names.consumers, "sink", ids[49])
        client.xadd(names.results, {"r": "x"})
    shown = json.loads(run("lag", "--json", env=env, cwd=tmp_path))
    idle, busy = shown["partitions"]
    assert (idle["processor_entries"], idle["processor_seconds"], idle["owner"]) == (0, 0.0, None)
    assert (busy["processor_entries"], busy["sink_entries"], busy["owner"], busy["epoch"]) == (150, 1, "w", 7)
    assert busy["sink_seconds"] >= busy["processor_seconds"] > 0
    assert shown["totals"]["processor_entries"] == 150
    assert "nobody" in run("lag", env=env, cwd=tmp_path)


def test_lag_is_what_the_consumer_group_says(redis_server: PrivateServer, tmp_path: Path) -> None:
    """From Redis 7 on the group tells its lag; before that it tells its position, behind which entries are counted."""
    env = environment(redis_url=redis_server.url, database_url=NO_DATABASE, partitions="2", lease_seconds="1")
    with connect_redis(redis_server.url) as client:
        ensure_deployment(client, KEYS, 2)
        events = KEYS.partition(0).events
        for _ in range(300):
            client.xadd(events, {"e": HEARTBEAT})
        with popen("processor", env=env, cwd=tmp_path) as worker:
            wait_until(
                lambda: int(client.hget(KEYS.partition(0).offset, "entries") or 0) == 300,
                deadline_seconds=60,
                what="the commit",
            )
            worker.kill()
            worker.communicate()
        for _ in range(40):
            client.xadd(events, {"e": HEARTBEAT})
        (group,) = client.xinfo_groups(events)
        lag = group.get("lag")
        if lag is None:
            lag = len(client.xrange(events, min=f"({group['last-delivered-id'].decode()}"))
    shown = json.loads(run("lag", "--json", env=env, cwd=tmp_path))
    assert shown["partitions"][0]["processor_entries"] == lag == 40


def test_consumers_are_listed_with_what_they_hold_and_dropped(
    redis_url: str, env: dict[str, str], tmp_path: Path
) -> None:
    names = KEYS.partition(1)
    with connect_redis(redis_url) as client:
        ids = [client.xadd(names.events, {"e": HEARTBEAT}).decode() for _ in range(100)]
        client.hset(names.offset, mapping={"last_id": ids[89], "entries": 90})
        client.hset(names.consumers, mapping={"sink": ids[79], "old-bot": ids[9]})
    rows = json.loads(run("consumers", "list", "--json", env=env, cwd=tmp_path))
    found = {row["name"]: (row["entries"], row["held_entries"]) for row in rows if row["partition"] == 1}
    assert found == {"processor": (10, 0), "sink": (20, 0), "old-bot": (90, 70)}
    assert "holds back alone" in run("consumers", "list", env=env, cwd=tmp_path)

    for refused in (("sink",), ("processor", "--force", "--yes")):
        run("consumers", "drop", *refused, env=env, cwd=tmp_path, expect=2)
    run("consumers", "drop", "nobody", "--yes", env=env, cwd=tmp_path, expect=1)
    dropped = json.loads(run("consumers", "drop", "old-bot", "--yes", "--json", env=env, cwd=tmp_path))
    assert dropped == {"name": "old-bot", "partitions": 1}
    run("consumers", "drop", "sink", "--force", "--yes", env=env, cwd=tmp_path)
    with connect_redis(redis_url) as client:
        assert {position.name for position in consumer_positions(client, KEYS, 2)} == {"processor"}


@pytest.mark.parametrize("after", ["0-0", "middle"])
def test_who_asks_for_trimmed_entries_is_told_so(redis_url: str, after: str) -> None:
    names = KEYS.partition(0)
    with connect_redis(redis_url) as client:
        ids = [client.xadd(names.events, {"e": HEARTBEAT}).decode() for _ in range(50)]
        client.hset(names.offset, mapping={"last_id": ids[39], "entries": 40})
        consumer = EventsConsumer(client, KEYS, "a-bot")
        position = "0-0" if after == "0-0" else ids[9]
        assert consumer.register(0, position) == position
        assert len(consumer.read(0, position)) == (50 if after == "0-0" else 40)
        client.xtrim(names.events, minid=ids[20], approximate=False)
        with pytest.raises(EntriesTrimmed, match="guildstream consumers list"):
            consumer.read(0, position)
        consumer.done(0, ids[20])
        assert consumer.register(0) == ids[20]
        assert [entry_id for entry_id, _ in consumer.read(0, ids[20], count=2)] == ids[21:23]


def test_a_processor_whose_stream_was_deleted_ends_for_good(redis_server: PrivateServer, tmp_path: Path) -> None:
    env = environment(redis_url=redis_server.url, database_url=NO_DATABASE, partitions="2", lease_seconds="1")
    with connect_redis(redis_server.url) as client:
        ensure_deployment(client, KEYS, 2)
        names = KEYS.partition(0)
        client.hset(names.offset, mapping={"last_id": "1760000000000-0", "entries": 5, "commit": 1})
    with popen("processor", env=env, cwd=tmp_path) as worker:
        _, said = worker.communicate(timeout=90)
    assert worker.returncode == 2
    assert "does not hold 1760000000000-0" in said
    assert "docs/transport.md" in said
