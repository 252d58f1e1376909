"""Writing entries to a real Redis: order, ids, refusals, and a connection that breaks."""

from __future__ import annotations

import threading

import pytest
import redis

from guildstream.connections import connect_redis
from guildstream.errors import ConfigError, RedisUnavailable
from guildstream.keys import Keys
from guildstream.replay.backlog import Backlog, PartitionProgress, read_progress, redis_is_full
from guildstream.replay.entries import Entry
from guildstream.replay.writer import EntryWriter, Written, parse_id
from tests.servers import PrivateServer

KEYS = Keys("t")
EVENTS = [KEYS.partition(number).events for number in range(3)]


def entries(partition: int, *numbers: int, size: int = 1) -> list[Entry]:
    return [Entry(partition, b"e", b"%d" % number * size, 1) for number in numbers]


def written_to(client: redis.Redis, partition: int) -> list[bytes]:
    return [fields[b"e"] for _, fields in client.xrange(EVENTS[partition])]


def pause(seconds: float) -> bool:
    return threading.Event().wait(seconds)


def test_batches_arrive_whole_and_in_order(redis_url: str) -> None:
    writer = EntryWriter(redis_url, KEYS, pause=pause)
    assert writer.send(entries(0, 1, 2) + entries(2, 3)) == []
    first = writer.send(entries(0, 4))
    second = writer.settle()
    writer.close()
    with connect_redis(redis_url) as client:
        assert written_to(client, 0) == [b"1", b"2", b"4"]
        assert written_to(client, 2) == [b"3"]
        last = client.xinfo_stream(EVENTS[0])["last-generated-id"]
    assert [(batch.partition, batch.size_bytes) for batch in first] == [(0, 2), (2, 1)]
    assert [batch.last_id for batch in second] == [parse_id(last)]


def test_what_redis_refuses_for_want_of_memory_is_written_in_order_later(redis_server: PrivateServer) -> None:
    with connect_redis(redis_server.url) as client:
        client.config_set("maxmemory", 1)
        pauses: list[float] = []

        def make_room(seconds: float) -> bool:
            pauses.append(seconds)
            if len(pauses) == 2:
                client.config_set("maxmemory", 0)
            return pause(seconds / 10)

        writer = EntryWriter(redis_server.url, KEYS, pause=make_room)
        writer.send(entries(0, *range(100)) + entries(1, 5))
        writer.settle()
        writer.close()
        assert len(pauses) == 2
        assert written_to(client, 0) == [b"%d" % number for number in range(100)]
        assert written_to(client, 1) == [b"5"]


def test_a_lost_connection_repeats_a_batch_and_never_skips_one(redis_url: str) -> None:
    writer = EntryWriter(redis_url, KEYS, pause=pause)
    with connect_redis(redis_url) as client:
        for number in range(5):
            writer.send(entries(0, number))
            ids = [item["id"] for item in client.client_list() if item["name"] == "guildstream-replay"]
            for client_id in ids:
                client.client_kill_filter(_id=client_id)
        writer.settle()
        writer.close()
        found = written_to(client, 0)
    first_seen = list(dict.fromkeys(found))
    assert first_seen == [b"%d" % number for number in range(5)]


def test_a_key_of_another_kind_is_an_error_at_once(redis_url: str) -> None:
    with connect_redis(redis_url) as client:
        client.set(EVENTS[1], "mine")
    writer = EntryWriter(redis_url, KEYS, pause=pause)
    writer.send(entries(1, 1))
    with pytest.raises(ConfigError, match=r"partition 1.*wrong kind"):
        writer.settle()
    writer.close()


def test_being_told_to_stop_ends_the_waiting(redis_server: PrivateServer) -> None:
    writer = EntryWriter(redis_server.url, KEYS, pause=lambda _seconds: True)
    redis_server.stop()
    writer.send(entries(0, 1))
    with pytest.raises(RedisUnavailable):
        writer.settle()
    writer.close()


def test_the_backlog_is_what_neither_processor_nor_sink_has_consumed(redis_url: str) -> None:
    names = KEYS.partition(0)
    backlog = Backlog()
    backlog.add([Written(0, (10, 0), 100), Written(0, (20, 0), 50), Written(1, (5, 0), 7)])
    assert backlog.targets == {0: (20, 0), 1: (5, 0)}
    with connect_redis(redis_url) as client:
        backlog.consume(read_progress(client, KEYS, range(2)))
        assert backlog.size_bytes == 157
        client.hset(names.offset, mapping={"last_id": "20-0", "positions": 3})
        client.hset(names.consumers, "sink", "10-5")
        progress = read_progress(client, KEYS, range(2))
        assert progress[0] == PartitionProgress((20, 0), (10, 5), 3)
        backlog.consume(progress)
    assert backlog.size_bytes == 57


def test_redis_is_full_only_near_a_limit_of_its_own(redis_server: PrivateServer) -> None:
    with connect_redis(redis_server.url) as client:
        assert not redis_is_full(client)
        client.config_set("maxmemory", client.info("memory")["used_memory"])
        assert redis_is_full(client)
