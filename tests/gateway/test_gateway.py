"""The gateway against a simulated Discord and a real Redis, as processes."""

from __future__ import annotations

import signal
from collections import Counter
from pathlib import Path

import hikari
import pytest

from gateway.bot import intents_from
from gateway.component import run, shard_ids_from
from guildstream.connections import connect_redis
from guildstream.errors import ConfigError
from guildstream.settings import load_settings
from tests.gateway.harness import eventually, expected, published, running_gateway, simulated_discord
from tests.servers import PrivateServer


def _dispatched(discord, at_least):
    return lambda: discord.counts()["dispatched"] >= at_least


def _without_member_updates(counts: Counter[tuple[str, str]]) -> Counter[tuple[str, str]]:
    return Counter({key: count for key, count in counts.items() if key[1] != "member_update"})


async def _settle(discord) -> None:
    discord.pause()
    await eventually(lambda: discord.counts()["settled"], what="everything being sent")


async def test_everything_dispatched_is_published(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=1500, guilds=8) as discord,
        running_gateway(redis_url, discord, tmp_path, GUILDSTREAM_INTENTS="members, message_content") as gateway,
    ):
        await eventually(_dispatched(discord, 4000), what="4,000 dispatches")
        await _settle(discord)
        assert await gateway.stop() == 0
        found = published(redis_url)
        assert found.counts() == expected(discord)
        assert found.duplicates == 0
        kinds = {event.type for event in found.accepted}
        assert {"member_join", "message_create", "voice_state", "command"} <= kinds
        assert all(event.data.chars is not None for event in found.of_type("message_create"))
        assert not any(event.replayed for event in found.accepted)
        assert not found.of_type("gap")
        assert sorted(found.heartbeats) == list(range(24))
        for beats in found.heartbeats.values():
            assert [beat.ts for beat in beats] == sorted(beat.ts for beat in beats)


async def test_lengths_are_unknown_without_the_intent(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=1000, guilds=3) as discord,
        running_gateway(redis_url, discord, tmp_path) as gateway,
    ):
        await eventually(_dispatched(discord, 300), what="300 dispatches")
        await _settle(discord)
        await gateway.stop()
        messages = published(redis_url).of_type("message_create")
        assert messages
        assert all(event.data.chars is None and event.data.attachments is None for event in messages)
        assert "member_join" not in discord.counts()["event_totals"]


@pytest.mark.chaos
async def test_kills_lose_nothing_and_double_nothing(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=1500, guilds=8) as discord,
        running_gateway(redis_url, discord, tmp_path) as gateway,
    ):
        for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
            before = discord.counts()["sessions"][-1]["seq"] if discord.counts()["sessions"] else 0
            await eventually(
                lambda before=before: any(
                    each["connected"] and each["seq"] > before + 1500 for each in discord.counts()["sessions"]
                ),
                what="traffic over the connection",
            )
            await gateway.stop(number)
            gateway.start()
        await eventually(lambda: discord.counts()["resumes"] >= 4, what="four RESUMEs")
        await _settle(discord)
        assert await gateway.stop() == 0
        found = published(redis_url)
        assert _without_member_updates(found.counts()) == expected(discord, member_updates=False)
        assert discord.counts()["identifies"] == 1
        assert len({event.session for event in found.accepted}) == 1
        assert any(event.replayed for event in found.accepted)
        assert not found.of_type("gap")


@pytest.mark.chaos
async def test_redis_away_under_load(redis_server: PrivateServer, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=1500, guilds=8) as discord,
        running_gateway(redis_server.url, discord, tmp_path) as gateway,
    ):
        await eventually(_dispatched(discord, 1500), what="1,500 dispatches")
        redis_server.stop()
        await eventually(_dispatched(discord, 4000), what="4,000 dispatches")
        spool = tmp_path / "spool" / "gateway-all"
        assert any(segment.stat().st_size for segment in spool.glob("*.spool"))
        redis_server.start()
        await eventually(_dispatched(discord, 6000), what="6,000 dispatches")
        # Killed while Redis is away: what was spooled and what was only in memory both come back.
        redis_server.kill()
        await eventually(_dispatched(discord, 7500), what="7,500 dispatches")
        await gateway.stop(signal.SIGKILL)
        gateway.start()
        await eventually(_dispatched(discord, 8000), what="8,000 dispatches")
        redis_server.start()
        await eventually(lambda: discord.counts()["resumes"] >= 1, what="a RESUME")
        await _settle(discord)
        await eventually(lambda: not list(spool.glob("*.spool")), what="an empty spool")
        assert await gateway.stop() == 0
        found = published(redis_server.url)
        assert _without_member_updates(found.counts()) == expected(discord, member_updates=False)
        assert discord.counts()["identifies"] == 1


async def test_a_lost_session_leaves_a_gap(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=400, guilds=4) as discord,
        running_gateway(redis_url, discord, tmp_path) as gateway,
    ):
        await eventually(_dispatched(discord, 300), what="300 dispatches")
        await _settle(discord)
        await eventually(lambda: bool(published(redis_url).heartbeats), what="a heartbeat")
        await discord.forget()
        discord.resume()
        await eventually(lambda: discord.counts()["identifies"] == 2, what="a second IDENTIFY")
        await _settle(discord)
        assert await gateway.stop() == 0
        found = published(redis_url)
        (gap,) = found.of_type("gap")
        sessions = [each["id"] for each in discord.counts()["sessions"]]
        assert gap.session == sessions[-1]
        assert gap.guild_id is None
        assert gap.data.from_ms < gap.data.to_ms
        last_beat = max(beat.ts for beat in found.heartbeats[0] if beat.session == sessions[0])
        assert gap.data.from_ms >= last_beat
        assert _without_member_updates(found.counts()) == expected(discord, member_updates=False)


async def test_a_close_code_that_ends_hikaris_shard_does_not_end_the_gateway(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=400, guilds=4) as discord,
        running_gateway(redis_url, discord, tmp_path) as gateway,
    ):
        await eventually(_dispatched(discord, 300), what="300 dispatches")
        await discord.disconnect(4005)
        await eventually(lambda: discord.counts()["resumes"] == 1, what="a RESUME")
        await _settle(discord)
        assert await gateway.stop() == 0
        found = published(redis_url)
        assert found.counts() == expected(discord)
        assert found.duplicates == 0
        assert not found.of_type("gap")
        assert discord.counts()["identifies"] == 1


async def test_shards_share_a_process(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=1000, guilds=8, shards=2) as discord,
        running_gateway(redis_url, discord, tmp_path) as gateway,
    ):
        await eventually(lambda: len(discord.counts()["sessions"]) == 2, what="two sessions")
        await eventually(_dispatched(discord, 1000), what="1,000 dispatches")
        await _settle(discord)
        assert await gateway.stop() == 0
        found = published(redis_url)
        assert found.counts() == expected(discord)
        assert {event.shard for event in found.accepted} == {0, 1}
        assert all((event.guild_id >> 22) % 2 == event.shard for event in found.accepted)


async def test_one_process_per_shard(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=200, guilds=2) as discord,
        running_gateway(redis_url, discord, tmp_path / "one") as first,
    ):
        await eventually(_dispatched(discord, 50), what="50 dispatches")
        async with running_gateway(redis_url, discord, tmp_path / "two") as second:
            await eventually(_dispatched(discord, 1200), what="1,200 dispatches")
            assert discord.counts()["resumes"] == 0
            # The kernel says that the first is dead: the second needn't wait for the lease to run out.
            await first.stop(signal.SIGKILL)
            await eventually(lambda: discord.counts()["resumes"] == 1, what="the second process's RESUME")
            assert await second.stop() == 0
    assert discord.counts()["identifies"] == 1


async def test_a_wrong_token_is_an_error_that_says_so(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=0, guilds=1) as discord,
        running_gateway(redis_url, discord, tmp_path, GUILDSTREAM_DISCORD_TOKEN="MTIz.wrong.token") as gateway,
    ):
        assert gateway.process is not None
        await eventually(lambda: gateway.process.poll() is not None, what="the end of the process")
        assert gateway.process.returncode == 2


def test_shards_and_intents_are_read_from_settings() -> None:
    assert shard_ids_from("") is None
    assert shard_ids_from("0-2,5") == [0, 1, 2, 5]
    assert not intents_from("") & (hikari.Intents.GUILD_MEMBERS | hikari.Intents.MESSAGE_CONTENT)
    assert intents_from("members") & hikari.Intents.GUILD_MEMBERS
    assert intents_from("members, message_content") & hikari.Intents.MESSAGE_CONTENT
    with pytest.raises(ConfigError, match="INTENTS"):
        load_settings({"GUILDSTREAM_INTENTS": "presences"})
    with pytest.raises(ConfigError, match="SHARD_COUNT"):
        run(load_settings({"GUILDSTREAM_REDIS_URL": "redis://h", "GUILDSTREAM_DISCORD_TOKEN": "MTIz.a"}, shard_ids="0"))
    with pytest.raises(ConfigError, match="not a bot's token"):
        run(load_settings({"GUILDSTREAM_REDIS_URL": "redis://h", "GUILDSTREAM_DISCORD_TOKEN": "t"}))
    for environment in ({"GUILDSTREAM_REDIS_URL": "redis://h"}, {"GUILDSTREAM_DISCORD_TOKEN": "t"}):
        with pytest.raises(ConfigError, match="the gateway needs"):
            run(load_settings(environment))


async def test_the_stored_position_never_runs_ahead(redis_url: str, tmp_path: Path) -> None:
    async with (
        simulated_discord(rate=1000, guilds=4) as discord,
        running_gateway(redis_url, discord, tmp_path) as gateway,
    ):
        await eventually(_dispatched(discord, 1500), what="1,500 dispatches")
        await gateway.stop(signal.SIGKILL)
        with connect_redis(redis_url) as client:
            stored = client.hgetall("gs:session:0")
        seq = int(stored[b"seq"])
        assert stored[b"session_id"].decode() == discord.counts()["sessions"][0]["id"]
        assert 0 < seq <= max(event.seq for event in published(redis_url).accepted)
