"""What tools and dashboards see of the transport is true within a commit interval."""

from __future__ import annotations

from prometheus_client import REGISTRY

from guildstream.connections import connect_redis
from tests.transport.apps import started, until
from tests.transport.counting import create_app
from tests.transport.workers import Load, committed


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


async def test_the_group_mirrors_the_committed_position(redis_url: str) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=12)
    load.publish(1_000)
    async with started(create_app(redis_url, commit_interval_seconds=0.02)):
        await until(lambda: committed(client) == load.total)
        load.publish(1_000)
        await until(lambda: committed(client) == load.total)
    last_id = client.hget("{ct:2}:offset", "last_id")
    (group,) = client.xinfo_groups("{ct:2}:events")
    assert group["name"] == b"counting"
    assert group["last-delivered-id"] == last_id
    assert group["pending"] == 0
    if int(client.info("server")["redis_version"].split(".")[0]) >= 7:
        assert group["lag"] == 0
        client.xadd("{ct:2}:events", {"e": "k 1"})
        assert client.xinfo_groups("{ct:2}:events")[0]["lag"] == 1


async def test_metrics_tell_what_was_done(redis_url: str) -> None:
    client = connect_redis(redis_url)
    names = {
        "chunks": "guildstream_processor_chunks_total",
        "commits": "guildstream_processor_commits_total",
        "bytes": "guildstream_processor_commit_bytes_total",
        "seconds": "guildstream_processor_commit_seconds_count",
        "rollbacks": "guildstream_processor_rollbacks_total",
        "reads": "guildstream_processor_state_reads_total",
    }
    before = {short: sample(name) for short, name in names.items()}
    dead = sample("guildstream_processor_dead_letters_total", reason="processing_failed")
    poison = sample("guildstream_processor_events_total", outcome="poison")
    load = Load(client, seed=13)
    load.publish(500)
    client.xadd("{ct:0}:events", {"e": "k poison"})
    async with started(create_app(redis_url, commit_interval_seconds=0.02, trim_seconds=0.05)) as app:
        await until(lambda: committed(client) == load.total + 1)
        assert sample("guildstream_processor_partitions") == 4
        await until(lambda: sample("guildstream_processor_lag_entries", partition="0") == 0)
        await until(
            lambda: sample("guildstream_processor_commits_total") - before["commits"] == app.consumer.committer.commits
        )
    grown = {short: sample(name) - before[short] for short, name in names.items()}
    assert grown["rollbacks"] in {1, 2}
    assert grown["chunks"] >= 4
    assert grown["commits"] >= 4
    assert 0 < grown["seconds"] <= grown["commits"]
    assert grown["bytes"] > 1_000
    assert grown["reads"] >= 40
    assert sample("guildstream_processor_dead_letters_total", reason="processing_failed") == dead + 1
    assert sample("guildstream_processor_events_total", outcome="poison") == poison + 1
    assert sample("guildstream_processor_partitions") == 0


async def test_streams_are_trimmed_below_the_slowest_consumer(redis_url: str) -> None:
    client = connect_redis(redis_url)
    load = Load(client, seed=14)
    client.hset("{ct:0}:consumers", "sink", "0-0")
    async with started(create_app(redis_url, commit_interval_seconds=0.02, trim_seconds=0.05)):
        load.publish(20_000)
        await until(lambda: committed(client) == load.total)
        # Whole nodes of a stream go at once: some hundred entries stay.
        await until(lambda: client.xlen("{ct:1}:events") < load.entries[1] / 2)
        assert client.xlen("{ct:0}:events") == load.entries[0]
        client.hset("{ct:0}:consumers", "sink", client.hget("{ct:0}:offset", "last_id") or b"")
        await until(lambda: client.xlen("{ct:0}:events") < load.entries[0] / 2)
        last = client.hget("{ct:0}:offset", "last_id") or b""
        assert client.xrange("{ct:0}:events", last, last)
