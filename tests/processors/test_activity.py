"""The agent over real Redis: what it drops, sets aside and hands over, position by position."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import Any

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from guildstream.codec import pack_events
from guildstream.connections import connect_redis
from guildstream.keys import Keys, partition_of
from guildstream.results import Results, decode_results
from guildstream.settings import load_settings
from processors.activity import dropped_ranges
from processors.app import create_app

GUILD = 5 << 22
KEYS = Keys().partition(partition_of(GUILD, 2))


@given(st.sets(st.integers(0, 60)), st.integers(0, 1000))
def test_ranges_hold_exactly_the_dropped_positions(dropped: set[int], first: int) -> None:
    ranges = dropped_ranges([first + index for index in sorted(dropped)], first)
    assert [index for start, stop in ranges for index in range(start, stop)] == sorted(dropped)
    assert all(stop < start for (_, stop), (start, _) in pairwise(ranges))


def message(seq: int, **changes: Any) -> dict[str, Any]:
    event = {"v": 1, "type": "message_create", "ts": 1_760_000_000_000 + seq * 1000, "guild_id": GUILD}
    event |= {"channel_id": 7, "user_id": 9, "session": "s", "seq": seq, "data": {"message_id": seq + 1, "chars": 5}}
    return event | changes


def publish(url: str, payloads: list[bytes]) -> None:
    with connect_redis(url) as client:
        for fields in pack_events(payloads):
            client.xadd(KEYS.events, dict(fields))


async def process(url: str, payloads: int) -> list[Results]:
    """Run the app until that many payloads are committed; what it handed over."""
    app = create_app(load_settings({}, redis_url=url, partitions=2, early_pane_seconds=0))
    await app.start()
    try:
        with connect_redis(url) as client:
            async with asyncio.timeout(30):
                while int(client.hget(KEYS.offset, "positions") or 0) < payloads:
                    await asyncio.sleep(0.02)
            return [decode_results(fields[b"r"]) for _, fields in client.xrange(KEYS.results)]
    finally:
        await app.consumer.stop_lanes()
        await app.stop()


async def test_what_is_dropped_is_named_and_what_is_bad_is_set_aside(redis_url: str) -> None:
    good = [message(seq) for seq in range(5)]
    payloads = [orjson.dumps(event) for event in good]
    payloads.insert(2, b"{no json")
    payloads.insert(4, orjson.dumps(message(1)))
    payloads.append(orjson.dumps(message(9, type="telepathy")))
    payloads.append(
        orjson.dumps({"v": 1, "type": "heartbeat", "ts": good[-1]["ts"], "session": "s", "data": {"final": True}})
    )
    publish(redis_url, payloads)
    results = await process(redis_url, len(payloads))

    assert [entry.commit for entry in results] == list(range(1, len(results) + 1))
    dropped = {
        entry.first_position + index
        for entry in results
        for start, stop in entry.dropped
        for index in range(start, stop)
    }
    assert dropped == {2, 4, 7, 8}
    rows = [row for entry in results for row in entry.activity]
    assert sum(row[-1][0] for row in rows) == len(good)
    with connect_redis(redis_url) as client:
        counters = {name.decode(): int(value) for name, value in client.hgetall(KEYS.counters).items() if int(value)}
        assert counters == {"accepted": 5, "duplicate": 1, "invalid": 1, "unknown": 1, "heartbeat": 1}
        ((_, letter),) = client.xrange(KEYS.dead)
        assert letter[b"e"] == b"{no json"
        assert letter[b"reason"] == b"not_json"
        assert letter[b"origin"].endswith(b" 2")
        assert client.zscore(KEYS.board(GUILD, "all"), "9") is not None


async def test_a_pane_is_shown_though_no_further_entry_comes(redis_url: str) -> None:
    publish(redis_url, [orjson.dumps(message(0))])
    app = create_app(load_settings({}, redis_url=redis_url, partitions=2, early_pane_seconds=0.5))
    await app.start()
    try:
        with connect_redis(redis_url) as client:
            async with asyncio.timeout(30):
                while True:
                    entries = [decode_results(fields[b"r"]) for _, fields in client.xrange(KEYS.results)]
                    if any(entry.activity for entry in entries):
                        break
                    await asyncio.sleep(0.05)
    finally:
        await app.consumer.stop_lanes()
        await app.stop()
    assert [row[-1][0] for entry in entries for row in entry.activity] == [1]


async def test_an_erased_member_is_in_no_state_board_or_notice(redis_url: str) -> None:
    reaction = {"channel_id": 7, "data": {"message_id": 1, "emoji": "x", "author_id": 9}}
    payloads = [
        message(0),
        message(1, type="adjust", data={"xp": 300}),
        message(2, type="adjust", user_id=8, data={"xp": 300}),
        message(3, type="reaction_add", user_id=8, **reaction),
        message(4, type="reaction_add", **reaction),
    ]
    publish(redis_url, [orjson.dumps(its) for its in payloads])
    await process(redis_url, len(payloads))
    with connect_redis(redis_url) as client:
        assert {orjson.loads(fields[b"n"])["user_id"] for _, fields in client.xrange(KEYS.notices)} == {8, 9}
    publish(redis_url, [orjson.dumps(message(5, type="erase", data={}))])
    await process(redis_url, len(payloads) + 1)
    with connect_redis(redis_url) as client:
        assert client.hkeys(KEYS.state("members")) == [b"%d:8" % GUILD]
        buckets = [msgspec.msgpack.decode(value) for value in client.hvals(KEYS.state("reactions"))]
        assert {(name, its[4]) for bucket in buckets for name, its in bucket[2].items()} == {("8:x", -1), ("-1:x", -1)}
        assert {orjson.loads(fields[b"n"])["user_id"] for _, fields in client.xrange(KEYS.notices)} == {8}
        assert [client.zscore(KEYS.board(GUILD, "all"), who) is None for who in ("8", "9")] == [False, True]


async def test_a_guild_is_purged_a_month_after_its_removal(redis_url: str) -> None:
    start = message(0)["ts"]
    heartbeat = {"v": 1, "type": "heartbeat", "ts": start + 31 * 86_400_000, "session": "s"}
    payloads = [message(0), message(1, type="guild_remove", data={}), heartbeat]
    publish(redis_url, [orjson.dumps(its) for its in payloads[:2]])
    await process(redis_url, 2)
    publish(redis_url, [orjson.dumps(heartbeat), orjson.dumps(heartbeat)])
    await process(redis_url, 4)
    publish(redis_url, [orjson.dumps(heartbeat)])
    results = await process(redis_url, 5)
    (row,) = [row for entry in results for row in entry.erased]
    assert row[:3] == [GUILD, None, start + 1000]
    with connect_redis(redis_url) as client:
        assert not client.exists(KEYS.state("members"), KEYS.state("removals"), KEYS.board(GUILD, "all"))
