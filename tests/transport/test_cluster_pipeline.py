"""The rest of guildstream on a Cluster: gateway, publisher, processor, sink, status; and what is refused there."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from guildstream.cluster import slot_of
from guildstream.connections import connect_redis
from guildstream.keys import Keys
from guildstream.publisher import Publisher
from tests.gateway.harness import eventually, expected, published, running_gateway, simulated_discord
from tests.servers import wait_until
from tests.transport.cluster import Cluster

GUILDS = [number << 22 for number in range(1, 25)]
MESSAGES = 40


@pytest.fixture
def cluster_url(cluster: Cluster) -> str:
    with connect_redis(cluster.url, name="tests") as client:
        client.flushall()
    return cluster.url


def environment(redis_url: str, database_url: str = "postgresql://nobody@127.0.0.1:1/none") -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("GUILDSTREAM_")},
        "GUILDSTREAM_REDIS_URL": redis_url,
        "GUILDSTREAM_DATABASE_URL": database_url,
    }


@contextlib.contextmanager
def stages(variables: dict[str, str], *names: str) -> Iterator[None]:
    started = [
        subprocess.Popen([sys.executable, "-m", "guildstream", name], env=variables, stderr=subprocess.DEVNULL)
        for name in names
    ]
    try:
        yield
        for process in started:
            process.send_signal(signal.SIGTERM)
        assert [process.wait(60) for process in started] == [0] * len(started)
    finally:
        for process in started:
            if process.poll() is None:
                process.kill()
                process.wait()


def publish(redis_url: str) -> int:
    """Messages of all guilds; how many."""
    with Publisher(redis_url, session="shop") as publisher:
        for number in range(MESSAGES):
            for guild in GUILDS:
                data = {"message_id": (number + 1) << 22 | guild >> 22, "chars": 10}
                now_ms = time.time_ns() // 1_000_000
                event = {"type": "message_create", "ts": now_ms, "guild_id": guild, "channel_id": 5, "user_id": 9}
                assert publisher.publish({**event, "data": data})
    return MESSAGES * len(GUILDS)


def test_events_come_through_to_the_database(cluster: Cluster, cluster_url: str, database_url: str) -> None:
    """A slot moves meanwhile; a sink and a publisher follow it like a processor."""
    variables = environment(cluster_url, database_url)
    with psycopg.connect(database_url, autocommit=True) as database, stages(variables, "processor", "sink"):

        def counted() -> int:
            row = database.execute("SELECT coalesce(sum(messages), 0)::int FROM analytics.member_hourly").fetchone()
            assert row is not None
            return int(row[0])

        total = publish(cluster_url)
        wait_until(lambda: counted() == total, deadline_seconds=90, what="all messages in the database")
        key = Keys().partition(3).events
        holder = cluster.holder(key)
        cluster.move_slot(key, next(node for node in cluster.masters() if node is not holder))
        total += publish(cluster_url)
        wait_until(lambda: counted() == total, deadline_seconds=90, what="all messages in the database")
        said = subprocess.run(
            [sys.executable, "-m", "guildstream", "status", "--json"],
            env=variables,
            capture_output=True,
            check=True,
        )
        status = json.loads(said.stdout)
        assert len(status["partitions"]) == 24
    assert len({slot_of(Keys().partition(number).events) * 3 // 16_384 for number in range(24)}) == 3


async def test_the_gateway_publishes_and_keeps_its_session(cluster_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=800, guilds=6) as discord,
        running_gateway(cluster_url, discord, tmp_path, GUILDSTREAM_INTENTS="members, message_content") as gateway,
    ):
        await eventually(lambda: discord.counts()["dispatched"] >= 800, what="800 dispatches")
        await gateway.stop(signal.SIGKILL)
        gateway.start()
        await eventually(lambda: discord.counts()["dispatched"] >= 1_600, what="as many again")
        discord.pause()
        await eventually(lambda: discord.counts()["settled"], what="everything being sent")
        assert await gateway.stop() == 0
        found = published(cluster_url)
        assert without_member_updates(found.counts()) == without_member_updates(expected(discord))
        assert not found.of_type("gap")


def without_member_updates(counts: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    """A gateway that begins anew tells again what it finds of members."""
    return Counter({key: count for key, count in counts.items() if key[1] != "member_update"})


def test_a_replay_is_refused_with_what_to_do_instead(cluster_url: str, tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    event = {"v": 1, "type": "command", "ts": 1_760_000_000_000, "guild_id": GUILDS[0], "user_id": 9}
    identity = {"session": "file", "seq": 1, "data": {"interaction_id": 1, "name": "buy"}}
    source.write_text(json.dumps({**event, **identity}) + "\n")
    said = subprocess.run(
        [sys.executable, "-m", "guildstream", "replay", str(source)],
        env=environment(cluster_url),
        capture_output=True,
        text=True,
        check=False,
    )
    assert said.returncode == 2, said.stderr
    assert "can't write to a Redis Cluster" in said.stderr
    assert "GUILDSTREAM_REDIS_URL=redis://" in said.stderr
