"""The outbox against a real Redis: order, packing, refusals, absences."""

from __future__ import annotations

from pathlib import Path

import pytest

from guildstream.connections import connect_redis
from guildstream.keys import Keys
from guildstream.publisher import Outbox, Spool
from tests.servers import PrivateServer, wait_until

KEYS = Keys()


def payloads(url: str, partition: int) -> list[bytes]:
    with connect_redis(url) as client:
        entries = client.xrange(KEYS.partition(partition).events)
    return [line for _, fields in entries for value in fields.values() for line in value.split(b"\n")]


def first_occurrences(lines: list[bytes]) -> list[bytes]:
    """By the rule of the contract: what is not above the highest seen is dropped."""
    found: list[bytes] = []
    for line in lines:
        if not found or int(line) > int(found[-1]):
            found.append(line)
    return found


def make_outbox(url: str, spool: Spool | None = None, **settings: object) -> Outbox:
    outbox = Outbox(url, keys=KEYS, partitions=4, spool=spool, **settings)  # type: ignore[arg-type]
    outbox.start()
    return outbox


def test_order_is_kept_and_events_share_entries(redis_url: str) -> None:
    outbox = make_outbox(redis_url)
    for number in range(4000):
        outbox.put(number % 4, b"s", b"%d" % number)
    assert outbox.close()
    for partition in range(4):
        assert payloads(redis_url, partition) == [b"%d" % number for number in range(partition, 4000, 4)]
    assert outbox.counts.sent == outbox.counts.accepted == 4000
    assert outbox.counts.entries < 400


def test_an_entry_has_one_source(redis_url: str) -> None:
    outbox = make_outbox(redis_url)
    for number in range(10):
        outbox.put(0, b"one" if number % 2 else b"two", b"%d" % number)
    assert outbox.close()
    with connect_redis(redis_url) as client:
        entries = [fields[b"b"].split(b"\n") for _, fields in client.xrange(KEYS.partition(0).events)]
    assert sorted(entries) == [[b"0", b"2", b"4", b"6", b"8"], [b"1", b"3", b"5", b"7", b"9"]]


def test_a_note_runs_behind_what_was_put_before(redis_url: str) -> None:
    outbox = make_outbox(redis_url)
    outbox.put(0, b"s", b"1")
    outbox.note((b"SET", b"noted", b"yes"))
    assert outbox.close()
    with connect_redis(redis_url) as client:
        assert client.get("noted") == b"yes"


@pytest.mark.parametrize("spooling", [True, False])
def test_nothing_is_lost_while_redis_is_away(redis_server: PrivateServer, tmp_path: Path, spooling: bool) -> None:
    spool = Spool(tmp_path, max_bytes=10**7) if spooling else None
    outbox = make_outbox(redis_server.url, spool)
    number = 0
    for absence in (redis_server.kill, redis_server.stop):
        for _ in range(500):
            outbox.put(0, b"s", b"%d" % (number := number + 1))
        wait_until(lambda: outbox.idle, what="an empty outbox")
        absence()
        for _ in range(500):
            outbox.put(0, b"s", b"%d" % (number := number + 1))
        wait_until(lambda: outbox.away, what="the outbox noticing")
        outbox.note((b"SET", b"noted", b"too early"))
        redis_server.start()
        for _ in range(500):
            outbox.put(0, b"s", b"%d" % (number := number + 1))
    assert outbox.close()
    assert first_occurrences(payloads(redis_server.url, 0)) == [b"%d" % n for n in range(1, number + 1)]
    assert bool(outbox.counts.spooled) == spooling


def test_what_is_spooled_survives_the_process(redis_server: PrivateServer, tmp_path: Path) -> None:
    redis_server.stop()
    outbox = make_outbox(redis_server.url, Spool(tmp_path, max_bytes=10**7))
    for number in range(1000):
        outbox.put(0, b"s", b"%d" % number)
    assert outbox.close(2.0)
    assert outbox.counts.sent == 0
    redis_server.start()
    again = make_outbox(redis_server.url, Spool(tmp_path, max_bytes=10**7))
    again.put(0, b"s", b"1000")
    wait_until(lambda: again.idle, what="an empty spool")
    assert again.close()
    assert payloads(redis_server.url, 0) == [b"%d" % number for number in range(1001)]


def test_out_of_memory_counts_as_away(redis_server: PrivateServer) -> None:
    outbox = make_outbox(redis_server.url)
    with connect_redis(redis_server.url) as client:
        client.config_set("maxmemory", 1)
        for number in range(300):
            outbox.put(number % 2, b"s", b"%d" % number)
        wait_until(lambda: outbox.away, what="the outbox noticing")
        client.config_set("maxmemory", 0)
        assert outbox.close()
    for partition in range(2):
        assert payloads(redis_server.url, partition) == [b"%d" % number for number in range(partition, 300, 2)]


def test_one_broken_partition_does_not_repeat_the_others(redis_url: str) -> None:
    with connect_redis(redis_url) as client:
        client.set(KEYS.partition(1).events, "not a stream")
        outbox = make_outbox(redis_url)
        for number in range(20):
            outbox.put(number % 2, b"s", b"%d" % number)
        wait_until(lambda: outbox.counts.errors >= 3, what="three attempts")
        assert payloads(redis_url, 0) == [b"%d" % number for number in range(0, 20, 2)]
        client.delete(KEYS.partition(1).events)
        assert outbox.close()
    assert payloads(redis_url, 1) == [b"%d" % number for number in range(1, 20, 2)]


def test_a_paused_redis_is_away_after_its_deadline(redis_server: PrivateServer, tmp_path: Path) -> None:
    outbox = make_outbox(redis_server.url, Spool(tmp_path, max_bytes=10**7), timeout_seconds=0.5)
    outbox.put(0, b"s", b"0")
    wait_until(lambda: outbox.idle, what="an empty outbox")
    redis_server.pause()
    outbox.put(0, b"s", b"1")
    wait_until(lambda: outbox.away, what="the outbox noticing")
    redis_server.resume()
    outbox.put(0, b"s", b"2")
    assert outbox.close()
    assert first_occurrences(payloads(redis_server.url, 0)) == [b"0", b"1", b"2"]


def test_a_full_spool_congests_and_a_new_redis_relieves(redis_server: PrivateServer, tmp_path: Path) -> None:
    redis_server.stop()
    outbox = make_outbox(redis_server.url, Spool(tmp_path, max_bytes=20_000), max_queue_bytes=50_000)
    number = 0
    while not outbox.congested:
        outbox.put(0, b"s", b"%d" % (number := number + 1))
    wait_until(lambda: outbox.away, what="the outbox noticing")
    redis_server.start()
    wait_until(lambda: not outbox.congested, what="relief")
    assert outbox.close()
    assert first_occurrences(payloads(redis_server.url, 0)) == [b"%d" % n for n in range(1, number + 1)]
