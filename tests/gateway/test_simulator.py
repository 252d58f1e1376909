"""The simulated Discord keeps to the protocol, seen from a plain WebSocket client."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import orjson

from gateway.simulator import SimulatedDiscord, demo_token
from gateway.simulator.traffic import Traffic
from gateway.simulator.world import make_world
from tests.gateway.harness import eventually, simulated_discord

ALL_INTENTS = 53_608_447


class Client:
    """A bot of few words."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._inflate = zlib.decompressobj()

    async def receive(self) -> dict[str, Any]:
        message = await self._socket.receive(timeout=5)
        assert message.type is aiohttp.WSMsgType.BINARY, message
        return orjson.loads(self._inflate.decompress(message.data))

    async def send(self, opcode: int, data: Any) -> None:
        await self._socket.send_json({"op": opcode, "d": data})

    async def identify(self, intents: int = ALL_INTENTS, token: str | None = None) -> None:
        await self.send(2, {"token": token or demo_token(), "intents": intents, "shard": [0, 1], "properties": {}})

    async def resume(self, session: str, seq: int) -> None:
        await self.send(6, {"token": demo_token(), "session_id": session, "seq": seq})

    async def take(self, count: int) -> list[dict[str, Any]]:
        return [await self.receive() for _ in range(count)]

    async def close(self, code: int) -> None:
        await self._socket.close(code=code)

    async def close_code(self) -> int | None:
        await self._socket.receive(timeout=5)
        return self._socket.close_code


@asynccontextmanager
async def client_of(discord: SimulatedDiscord) -> AsyncIterator[Client]:
    url = discord.url.replace("http", "ws") + "/?v=10&encoding=json&compress=zlib-stream"
    async with aiohttp.ClientSession() as session, session.ws_connect(url) as socket:
        client = Client(socket)
        assert (await client.receive())["op"] == 10
        yield client


async def test_a_session_begins_with_ready_and_the_guilds() -> None:
    async with simulated_discord(rate=0, guilds=3) as discord, client_of(discord) as client:
        await client.send(1, None)
        assert (await client.receive())["op"] == 11
        await client.identify()
        dispatches = await client.take(4)
        assert [each["t"] for each in dispatches] == ["READY", *["GUILD_CREATE"] * 3]
        assert [each["s"] for each in dispatches] == [1, 2, 3, 4]
        assert discord.counts()["event_totals"]["voice_snapshot"] == 3
        assert discord.counts()["settled"] is True


async def test_what_was_missed_is_replayed_then_resumed() -> None:
    async with simulated_discord(rate=500, guilds=2) as discord:
        async with client_of(discord) as client:
            await client.identify()
            session = (await client.receive())["d"]["session_id"]
            first = await client.take(20)
            await client.close(3000)
        await eventually(lambda: discord.counts()["sessions"][0]["seq"] > 60, what="traffic without anybody")
        discord.pause()
        async with client_of(discord) as client:
            await client.resume(session, first[9]["s"])
            last = discord.counts()["sessions"][0]["seq"]
            again = await client.take(last - first[9]["s"] + 1)
            assert again[:10] == first[10:]
            assert [each["s"] for each in again] == list(range(first[9]["s"] + 1, last + 2))
            assert again[-1]["t"] == "RESUMED"


async def test_what_cannot_be_resumed_is_an_invalid_session() -> None:
    async with simulated_discord(rate=500, guilds=2, buffer_dispatches=40) as discord:
        async with client_of(discord) as client:
            await client.resume("unknown", 5)
            assert await client.receive() == {"op": 9, "d": False, "s": None, "t": None}
        async with client_of(discord) as client:
            await client.identify()
            ready = await client.receive()
            await client.take(100)
        async with client_of(discord) as client:
            await client.resume(ready["d"]["session_id"], 1)
            assert (await client.receive())["op"] == 9
        async with client_of(discord) as client:
            await client.identify()
            ready = await client.receive()
            await client.close(1000)
        async with client_of(discord) as client:
            await client.resume(ready["d"]["session_id"], 1)
            assert (await client.receive())["op"] == 9


async def test_a_wrong_token_is_refused() -> None:
    async with simulated_discord(rate=0, guilds=1) as discord:
        async with client_of(discord) as client:
            await client.identify(token="MTIz.wrong.token")
            assert await client.close_code() == 4004
        async with aiohttp.ClientSession() as session, session.get(f"{discord.rest_url}/gateway/bot") as response:
            assert response.status == 401


async def test_intents_decide_what_is_sent() -> None:
    async with simulated_discord(rate=2000, guilds=2) as discord, client_of(discord) as client:
        await client.identify(intents=1 | 512)
        dispatches = await client.take(300)
        names = {each["t"] for each in dispatches}
        assert {"MESSAGE_CREATE", "INTERACTION_CREATE"} <= names
        assert not {"VOICE_STATE_UPDATE", "GUILD_MEMBER_ADD", "MESSAGE_REACTION_ADD", "TYPING_START"} & names
        assert all(each["d"]["content"] == "" for each in dispatches if each["t"] == "MESSAGE_CREATE")


async def test_counts_are_of_what_was_sent_and_pause_stops_it() -> None:
    async with simulated_discord(rate=1000, guilds=2) as discord, client_of(discord) as client:
        await client.identify()
        await client.take(200)
        async with aiohttp.ClientSession() as session:
            async with session.post(f"{discord.url}/simulator/pause") as response:
                paused = await response.json()
            async with session.get(f"{discord.url}/simulator/counts") as response:
                assert (await response.json())["dispatched"] == paused["dispatched"]
        await client.take(paused["sessions"][0]["seq"] - 201)
        by_guild = paused["dispatches"].values()
        assert sum(count for names in by_guild for count in names.values()) == paused["dispatched"]
        assert paused["dispatched"] == paused["sessions"][0]["seq"] - 1


def test_the_same_seed_gives_the_same_people_doing_the_same() -> None:
    now_ms = 1_795_000_000_000
    streams = [Traffic(make_world(7, 5, now_ms), 7) for _ in range(2)]
    first, second = ([stream.next(now_ms + at).payload for at in range(500)] for stream in streams)
    assert first == second


def test_guilds_have_zipf_sizes_and_a_daily_rhythm() -> None:
    now_ms = 1_795_000_000_000
    guilds = make_world(1, 10, now_ms)
    sizes = [len(guild.members) for guild in guilds]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 5 * sizes[-1]
    assert len({guild.offset_hours for guild in guilds}) > 1
