"""The Publisher in somebody else's bot: it never raises, never blocks, and counts."""

from __future__ import annotations

import time
from pathlib import Path

import hikari
import pytest
from hikari.impl import config

from guildstream import metrics
from guildstream.publisher import Publisher
from tests.gateway.harness import demo_token, eventually, expected, published, simulated_discord
from tests.servers import PrivateServer, wait_until

GUILD = 7 << 22


def an_event(**more: object) -> dict[str, object]:
    now_ms = time.time_ns() // 1_000_000
    data = {"interaction_id": 5, "name": "buy"}
    return {"type": "command", "ts": now_ms, "guild_id": GUILD, "user_id": 9, "data": data, **more}


def test_events_arrive_with_what_the_contract_asks_for(redis_url: str) -> None:
    with Publisher(redis_url, session="shop") as publisher:
        assert all(publisher.publish(an_event(guild_id=str(GUILD))) for _ in range(300))
        wait_until(lambda: bool(published(redis_url).heartbeats), what="a heartbeat")
    found = published(redis_url)
    assert [event.session for event in found.accepted] == ["shop"] * 300
    assert len({event.seq for event in found.accepted}) == 300
    assert found.duplicates == 0
    assert publisher.counts.sent == publisher.counts.accepted
    assert publisher.counts.refused == 0


def test_a_restarted_bot_numbers_above_its_last_run(redis_url: str) -> None:
    for _ in range(3):
        with Publisher(redis_url, session="shop") as publisher:
            publisher.publish(an_event())
    found = published(redis_url)
    assert len(found.accepted) == 3
    assert found.duplicates == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"guild_id": None, "type": "command"},
        {"guild_id": "not a number"},
        {"guild_id": 2**70},
        {"guild_id": GUILD, "data": {"name": object()}},
        {"guild_id": GUILD, "data": {"name": "x" * 70_000}},
        {"guild_id": GUILD, "data": {"name": "\ud800"}},
        5,
        None,
    ],
)
def test_what_is_no_event_is_refused_and_counted(redis_url: str, wrong) -> None:
    with Publisher(redis_url, session="shop") as publisher:
        assert publisher.publish(wrong) is False
        assert publisher.counts.refused == 1
        assert publisher.publish(an_event()) is True
    assert len(published(redis_url).accepted) == 1


def test_a_closed_publisher_refuses(redis_url: str) -> None:
    publisher = Publisher(redis_url, session="shop")
    assert publisher.publish(an_event())
    assert publisher.close()
    assert publisher.publish(an_event()) is False
    assert publisher.close()
    assert len(published(redis_url).accepted) == 1


def test_events_of_other_sessions_keep_theirs(redis_url: str) -> None:
    with Publisher(redis_url, session="shop") as publisher:
        for number in range(6):
            publisher.publish(an_event(session=f"shop-{number % 2}", seq=number))
    assert {(event.session, event.seq % 2) for event in published(redis_url).accepted} == {("shop-0", 0), ("shop-1", 1)}


def test_an_absent_redis_neither_raises_nor_blocks_and_memory_is_bounded() -> None:
    dropped = metrics.EVENTS_DROPPED.labels(reason="no_room")._value.get()
    publisher = Publisher("redis://127.0.0.1:1/0", session="shop", max_queue_bytes=100_000)
    slowest = 0.0
    for _ in range(3000):
        began = time.thread_time()
        publisher.publish(an_event())
        slowest = max(slowest, time.thread_time() - began)
    counts = publisher.counts
    assert counts.refused > 0
    assert counts.accepted + counts.refused >= 3000
    assert slowest < 0.05
    assert publisher.close(0.5) is False
    assert metrics.EVENTS_DROPPED.labels(reason="no_room")._value.get() > dropped


def test_events_wait_on_disk_for_another_run(redis_server: PrivateServer, tmp_path: Path) -> None:
    redis_server.stop()
    with Publisher(redis_server.url, session="shop", spool_dir=tmp_path) as publisher:
        for _ in range(200):
            assert publisher.publish(an_event())
    assert publisher.counts.spooled >= 200
    redis_server.start()
    with Publisher(redis_server.url, session="shop", spool_dir=tmp_path) as again:
        again.publish(an_event())
        wait_until(lambda: len(published(redis_server.url).accepted) == 201, what="201 events")


def test_a_final_heartbeat_says_so(redis_url: str) -> None:
    publisher = Publisher(redis_url, session="import", partitions=2)
    publisher.publish(an_event(seq=1))
    publisher.close(final=True)
    beats = published(redis_url, 2).heartbeats
    assert [beats[partition][-1].data.final for partition in (0, 1)] == [True, True]


async def test_one_line_attaches_it_to_a_hikari_bot(redis_url: str, caplog: pytest.LogCaptureFixture) -> None:
    """The bot keeps its own listeners and cache, and doesn't notice."""
    async with simulated_discord(rate=500, guilds=4) as discord:
        intents = hikari.Intents.ALL_UNPRIVILEGED
        bot = hikari.GatewayBot(
            demo_token(), rest_url=discord.rest_url, intents=intents, banner=None, logs=None,
            suppress_optimization_warning=True, http_settings=config.HTTPSettings(),
        )  # fmt: skip
        heard: list[hikari.GuildMessageCreateEvent] = []

        async def on_message(event: hikari.GuildMessageCreateEvent) -> None:
            heard.append(event)

        bot.subscribe(hikari.GuildMessageCreateEvent, on_message)
        with Publisher(redis_url) as publisher:
            publisher.attach(bot)
            await bot.start(check_for_updates=False)
            await eventually(lambda: discord.counts()["dispatched"] > 600, what="600 dispatches")
            discord.pause()
            await eventually(lambda: discord.counts()["settled"], what="everything being sent")
            total = sum(expected(discord).values())
            await eventually(lambda: publisher.counts.accepted >= total, what="everything being taken")
            await bot.close()
        found = published(redis_url)
        assert found.counts() == expected(discord)
        assert found.accepted[0].session == discord.counts()["sessions"][0]["id"]
        assert found.accepted[0].shard == 0
        assert len(heard) == sum(names["MESSAGE_CREATE"] for names in discord.counts()["dispatches"].values())
        assert found.heartbeats
        # hikari itself understood every payload that the simulated Discord made.
        assert not [record for record in caplog.records if record.levelname in {"ERROR", "CRITICAL"}]
