"""hikari behind the gate: not reading loses nothing, and closing keeps the session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson

from gateway.bot import ListeningBot, intents_from
from gateway.resumption import ShardSession, session_of
from gateway.shards import GatedShard
from gateway.simulator import SimulatedDiscord, demo_token
from guildstream.discord import Source, Translator
from tests.gateway.harness import eventually, expected, simulated_discord


@dataclass
class Queue:
    events: list[dict[str, Any]] = field(default_factory=list)

    def put(self, _partition: int, _source: bytes, payload: bytes) -> None:
        self.events.append(orjson.loads(payload))


@dataclass
class Opened:
    source: Source
    session: ShardSession | None = None
    shard: GatedShard | None = None

    def resumable(self) -> ShardSession | None:
        return self.session


@dataclass
class Gate:
    shut: bool = False

    def __call__(self) -> bool:
        return self.shut


def new_source(queue: Queue) -> Source:
    return Source(queue, Translator(), shard=0, shard_count=1, partitions=8)


@asynccontextmanager
async def listening(discord: SimulatedDiscord, opened: Opened, gate: Gate) -> AsyncIterator[ListeningBot]:
    async def open_shard(_shard: int, _count: int) -> Opened:
        return opened

    bot = ListeningBot(
        demo_token(),
        rest_url=discord.rest_url,
        intents=intents_from(""),
        open_shard=open_shard,
        shut=gate,
        sources={0: opened.source},
    )
    await bot.start(check_for_updates=False)
    try:
        yield bot
    finally:
        await bot.close()


async def test_nothing_is_read_while_the_gate_is_shut_and_nothing_is_lost() -> None:
    queue, gate = Queue(), Gate()
    async with simulated_discord(rate=1000, guilds=3) as discord:
        opened = Opened(new_source(queue))
        async with listening(discord, opened, gate):
            await eventually(lambda: len(queue.events) > 100, what="a hundred events")
            gate.shut = True
            # One receive was under way when the gate shut.
            await asyncio.sleep(0)
            await eventually(lambda: discord.counts()["dispatched"] > 400, what="more traffic")
            held = opened.source.seq
            await eventually(lambda: discord.counts()["dispatched"] > 800, what="more traffic")
            assert opened.source.seq == held
            gate.shut = False
            discord.pause()
            await eventually(lambda: len(queue.events) == sum(expected(discord).values()), what="all events")
    assert discord.counts()["identifies"] == 1


async def test_a_gate_shut_past_the_heartbeat_ends_in_a_resume() -> None:
    queue, gate = Queue(), Gate()
    async with simulated_discord(rate=300, guilds=3, heartbeat_interval_ms=300) as discord:
        opened = Opened(new_source(queue))
        async with listening(discord, opened, gate):
            await eventually(lambda: len(queue.events) > 50, what="fifty events")
            gate.shut = True
            await eventually(lambda: not opened.source.connected, what="hikari missing its heartbeats")
            opened.source.heartbeat()
            assert not [event for event in queue.events if event["type"] == "heartbeat"]
            gate.shut = False
            await eventually(lambda: discord.counts()["resumes"] >= 1, what="a RESUME")
            discord.pause()
            await eventually(lambda: len(queue.events) == sum(expected(discord).values()), what="all events")
    assert discord.counts()["identifies"] == 1
    seen = [(event["seq"], event.get("part", 0)) for event in queue.events]
    assert seen == sorted(set(seen))


async def test_closing_keeps_the_session_for_the_next_shard() -> None:
    queue, gate = Queue(), Gate()
    async with simulated_discord(rate=500, guilds=3) as discord:
        opened = Opened(new_source(queue))
        async with listening(discord, opened, gate):
            await eventually(lambda: len(queue.events) > 50, what="fifty events")
        source = opened.source
        assert source.session is not None
        position = session_of(opened.shard, source.session, source.seq, 0)
        assert position is not None
        following = Opened(new_source(queue), session=position)
        following.source.resume(position.session_id, position.seq, None)
        async with listening(discord, following, gate):
            assert following.source.connected
            discord.pause()
            await eventually(lambda: discord.counts()["settled"], what="everything being sent")
            last = discord.counts()["sessions"][0]["seq"]
            await eventually(lambda: following.source.seq == last, what="the last dispatch")
        assert (discord.counts()["identifies"], discord.counts()["resumes"]) == (1, 1)
        seen = [(event["seq"], event.get("part", 0)) for event in queue.events]
        assert seen == sorted(set(seen))
        messages = [event for event in queue.events if event["type"] == "message_create"]
        assert len(messages) == discord.counts()["event_totals"]["message_create"]
