"""A Redis that runs out of memory: publishers hold back before it does, and go on when it has room again."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import prometheus_client
import pytest

from guildstream.connections import connect_redis
from guildstream.keys import Keys
from guildstream.publisher import Outbox, Publisher, Spool
from tests.servers import PrivateServer, wait_until
from tests.transport.workers import Load, check, drained, running

KEYS = Keys()


def held() -> float | None:
    return prometheus_client.REGISTRY.get_sample_value("guildstream_publish_held")


@pytest.mark.parametrize("spooling", [True, False])
def test_sending_stops_before_redis_refuses_and_goes_on_by_itself(
    redis_server: PrivateServer, tmp_path: Path, spooling: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "guildstream.publisher")
    spool = Spool(tmp_path, max_bytes=10**7) if spooling else None
    with connect_redis(redis_server.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.95))
        outbox = Outbox(redis_server.url, keys=KEYS, partitions=1, spool=spool)
        outbox.start()
        for number in range(100):
            outbox.put(0, b"s", b"%d" % number)
        wait_until(lambda: held() == 2, what="the outbox noticing")
        if spooling:
            wait_until(lambda: outbox.counts.spooled == 100, what="the spool")
        assert client.xlen(KEYS.partition(0).events) == 0
        client.config_set("maxmemory", 0)
        wait_until(lambda: outbox.idle, what="an empty outbox")
        assert outbox.close()
        lines = [
            line for _, f in client.xrange(KEYS.partition(0).events) for v in f.values() for line in v.split(b"\n")
        ]
    assert lines == [b"%d" % number for number in range(100)]
    assert outbox.counts.errors == 0
    wait_until(lambda: held() == 0, what="the outbox letting go")
    assert any("no events are sent for now" in record.message for record in caplog.records)


def test_between_the_marks_it_is_slower(redis_server: PrivateServer) -> None:
    with connect_redis(redis_server.url) as client:
        client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.5))
        outbox = Outbox(redis_server.url, keys=KEYS, partitions=1, memory_slow=0.25, memory_stop=0.99, linger_seconds=0)
        outbox.start()
        began = time.monotonic()
        for number in range(3):
            outbox.put(0, b"s", b"%d" % number)
            wait_until(lambda sent=number + 1: outbox.counts.sent == sent, what="the event")
            wait_until(lambda: held() == 1, what="the outbox noticing")
        assert time.monotonic() - began > 0.4
        assert outbox.close()


def test_a_bot_never_notices(redis_server: PrivateServer) -> None:
    with connect_redis(redis_server.url) as client:
        client.config_set("maxmemory", 1)
        with Publisher(redis_server.url, session="bot", partitions=1) as publisher:
            for number in range(200):
                began = time.monotonic()
                event = {"type": "command", "ts": 1_760_000_000_000, "guild_id": 1 << 22, "user_id": 5}
                publisher.publish({**event, "data": {"interaction_id": number + 1, "name": "x"}})
                assert time.monotonic() - began < 5
            client.config_set("maxmemory", 0)
            wait_until(lambda: client.xlen(KEYS.partition(0).events) > 0, what="the events")


def test_workers_survive_a_full_redis(redis_server: PrivateServer, tmp_path: Path) -> None:
    client = connect_redis(redis_server.url)
    load = Load(client, seed=11)
    with running(redis_server.url, tmp_path) as workers:
        worker = workers.start()
        load.publish(2_000)
        drained(client, load, 60)
        load.publish(2_000)
        client.config_set("maxmemory", 1)
        wait_until(
            lambda: "Redis refuses a commit for now" in workers.logs() or "OOM" in workers.logs(),
            deadline_seconds=60,
            what="a refused commit",
        )
        client.config_set("maxmemory", 0)
        drained(client, load, 60)
        assert worker.terminate(30) == 0
    check(client, load)
