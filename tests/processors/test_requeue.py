"""A dead letter that is requeued counts exactly once, whatever dies and however often it is asked for."""

from __future__ import annotations

import asyncio
import json
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from guildstream.codec import pack_events
from guildstream.connections import connect_redis
from guildstream.dead_letters import letters, requeue
from guildstream.keys import Keys, partition_of
from guildstream.results import decode_results
from guildstream.settings import load_settings
from processors.app import create_app
from tests.cli.processes import environment, popen, run
from tests.servers import wait_until

GUILD = 5 << 22
NUMBER = partition_of(GUILD, 2)
KEYS = Keys().partition(NUMBER)


def message(seq: int, **changes: Any) -> bytes:
    event = {"v": 1, "type": "message_create", "ts": 1_760_000_000_000 + seq * 1000, "guild_id": GUILD}
    event |= {"channel_id": 7, "user_id": 9, "session": "s", "seq": seq, "data": {"message_id": seq + 1, "chars": 5}}
    return orjson.dumps(event | changes)


def publish(url: str, payloads: list[bytes]) -> None:
    with connect_redis(url) as client:
        for fields in pack_events(payloads):
            client.xadd(KEYS.events, dict(fields))


def counted(url: str) -> int:
    """Messages in all results."""
    with connect_redis(url) as client:
        results = [decode_results(fields[b"r"]) for _, fields in client.xrange(KEYS.results)]
    return sum(row[-1][0] for entry in results for row in entry.activity)


def counters(url: str) -> dict[str, int]:
    with connect_redis(url) as client:
        return {name.decode(): int(value) for name, value in client.hgetall(KEYS.counters).items() if int(value)}


def positions(url: str) -> int:
    with connect_redis(url) as client:
        return int(client.hget(KEYS.offset, "positions") or 0)


async def process(url: str, until: int) -> None:
    """Run the app in this process until that many payloads are committed."""
    app = create_app(load_settings({}, redis_url=url, partitions=2, early_pane_seconds=0))
    await app.start()
    try:
        async with asyncio.timeout(30):
            while positions(url) < until:
                await asyncio.sleep(0.02)
    finally:
        await app.consumer.stop_lanes()
        await app.stop()


@contextmanager
def worker(url: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    env = environment(redis_url=url, database_url="postgresql://nobody@127.0.0.1:1/none", partitions="2")
    env["GUILDSTREAM_EARLY_PANE_SECONDS"] = "0"
    env["GUILDSTREAM_LEASE_SECONDS"] = "1"
    with popen("processor", env=env, cwd=folder) as child:
        drain = threading.Thread(target=child.communicate, daemon=True)
        drain.start()
        try:
            yield child
        finally:
            child.kill()
            drain.join(30)


async def set_one_aside(url: str) -> None:
    """What an older release leaves that had a defect: ten messages, one of them a dead letter."""
    publish(url, [message(seq) for seq in range(10) if seq != 3])
    await process(url, 9)
    letter = {"e": message(3), "reason": "processing_failed", "detail": "Traceback\nRuntimeError: a defect"}
    with connect_redis(url) as client:
        client.xadd(KEYS.dead, {**letter, "origin": f"{KEYS.events} 1-1 3"})


async def test_it_counts_once_though_the_worker_is_killed_and_it_is_asked_for_twice(
    redis_url: str, tmp_path: Path
) -> None:
    await set_one_aside(redis_url)
    assert counted(redis_url) == 9
    with connect_redis(redis_url) as client:
        (letter,) = letters(client, Keys(), NUMBER)
    assert letter.reason == "processing_failed"

    env = environment(redis_url=redis_url, database_url="postgresql://nobody@127.0.0.1:1/none", partitions="2")
    shown = run("dead", "show", letter.id, env=env, cwd=tmp_path)
    assert "RuntimeError: a defect" in shown
    assert message(3).decode() in shown
    with worker(redis_url, tmp_path) as first:
        wait_until(lambda: owned(redis_url), deadline_seconds=30, what="a lease")
        moved = json.loads(run("dead", "requeue", letter.id, "--json", env=env, cwd=tmp_path))
        first.kill()
    again = json.loads(run("dead", "requeue", "--all", "--json", env=env, cwd=tmp_path))
    assert (moved["requeued"], again["requeued"]) == (1, 0)
    run("dead", "requeue", letter.id, env=env, cwd=tmp_path, expect=1)
    with worker(redis_url, tmp_path):
        wait_until(lambda: positions(redis_url) == 10, deadline_seconds=60, what="the requeued event's commit")
        wait_until(lambda: counted(redis_url) == 10, deadline_seconds=30, what="its pane")
    assert counters(redis_url) == {"accepted": 10}
    with connect_redis(redis_url) as client:
        assert client.xlen(KEYS.dead) == 0
    # What it skips is skipped for the letter alone.
    publish(redis_url, [message(3)])
    await process(redis_url, 11)
    assert counters(redis_url)["duplicate"] == 1


def owned(url: str) -> bool:
    with connect_redis(url) as client:
        return bool(client.hget(KEYS.owner, "owner"))


async def test_what_fails_again_is_dead_lettered_again_with_its_origin(redis_url: str) -> None:
    publish(redis_url, [message(0), b"{no json", message(1)])
    await process(redis_url, 3)
    with connect_redis(redis_url) as client:
        (first,) = letters(client, Keys(), NUMBER)
        assert requeue(client, Keys(), NUMBER, [first.id, first.id, "1-1"]) == 1
    await process(redis_url, 4)
    with connect_redis(redis_url) as client:
        (second,) = letters(client, Keys(), NUMBER)
    assert (second.reason, second.payload, second.origin) == (first.reason, first.payload, first.origin)
    assert second.id != first.id
    assert counted(redis_url) == 2


async def test_what_a_rule_finds_invalid_keeps_its_own_reason(redis_url: str) -> None:
    publish(redis_url, [message(0), message(1, data={}), message(2)])
    await process(redis_url, 3)
    with connect_redis(redis_url) as client:
        (letter,) = letters(client, Keys(), NUMBER)
    assert letter.reason == "missing_key"
    assert "message_id" in letter.detail
    assert counters(redis_url) == {"accepted": 2, "invalid": 1}


async def test_a_redis_that_has_no_room_moves_nothing(redis_url: str) -> None:
    publish(redis_url, [b"{no json"])
    await process(redis_url, 1)
    with connect_redis(redis_url) as client:
        (letter,) = letters(client, Keys(), NUMBER)
        client.config_set("maxmemory", 1)
        try:
            with pytest.raises(Exception, match="maxmemory"):
                requeue(client, Keys(), NUMBER, [letter.id])
        finally:
            client.config_set("maxmemory", 0)
        assert (client.xlen(KEYS.dead), client.xlen(KEYS.events)) == (1, 1)
