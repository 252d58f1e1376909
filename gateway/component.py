"""The gateway as a component: hikari shards in, events in Redis out, until told to stop."""

from __future__ import annotations

import asyncio
import logging
import random
import signal
from pathlib import Path
from typing import Final

import hikari
import redis.exceptions
from hikari.applications import get_token_id

from gateway.bot import ListeningBot, intents_from
from gateway.resumption import check_hikari
from gateway.shard_book import ShardBook
from guildstream.connections import connect_redis_async
from guildstream.deployment import ensure_deployment_async
from guildstream.errors import ConfigError
from guildstream.http import HealthServer
from guildstream.keys import Keys
from guildstream.publisher import Outbox, Spool
from guildstream.settings import Settings, default_data_dir

__all__ = ["run"]

_log = logging.getLogger("guildstream.gateway")

_TICK_SECONDS: Final = 0.5
_FLUSH_SECONDS: Final = 8.0
_MAX_BACKOFF_SECONDS: Final = 60.0
#: Close codes after which trying again changes nothing, and what to do.
_FINAL_CODES: Final = {
    4004: "the token is wrong: set GUILDSTREAM_DISCORD_TOKEN to the bot's token",
    4010: "the shard id does not fit the shard count: see GUILDSTREAM_SHARD_IDS and GUILDSTREAM_SHARD_COUNT",
    4011: "the bot is in too many guilds for so few shards: raise GUILDSTREAM_SHARD_COUNT",
    4012: "Discord no longer speaks this version of the gateway: upgrade hikari",
    4013: "the intents are not valid: see GUILDSTREAM_INTENTS",
    4014: "a privileged intent is not enabled: switch it on in Discord's developer portal, or take it out of "
    "GUILDSTREAM_INTENTS",
}


def run(settings: Settings) -> int:
    """Listen to Discord until SIGTERM or SIGINT. Returns the exit code.

    Stopping keeps Discord's session: the next process resumes it and gets what happened meanwhile.

    Raises:
        ConfigError: a setting is missing, or Discord says that one is wrong.
    """
    check_hikari()
    if settings.redis_url is None:
        raise ConfigError("the gateway needs GUILDSTREAM_REDIS_URL")
    if settings.discord_token is None:
        raise ConfigError("the gateway needs GUILDSTREAM_DISCORD_TOKEN, the bot's token")
    token = settings.discord_token.get_secret_value()
    try:
        get_token_id(token)
    except ValueError as error:
        raise ConfigError("GUILDSTREAM_DISCORD_TOKEN is not a bot's token: it has three parts with dots") from error
    return asyncio.run(_Gateway(settings, settings.redis_url, token).serve())


def shard_ids_from(setting: str) -> list[int] | None:
    """Shard ids from ``0-3,8``; None for all."""
    ids: list[int] = []
    for part in filter(None, setting.split(",")):
        first, _, last = part.partition("-")
        ids.extend(range(int(first), int(last or first) + 1))
    return ids or None


class _Gateway:
    """One run of the component."""

    def __init__(self, settings: Settings, redis_url: str, token: str) -> None:
        self._settings = settings
        self._redis_url = redis_url
        self._token = token
        self._shard_ids = shard_ids_from(settings.shard_ids)
        if self._shard_ids and settings.shard_count is None:
            raise ConfigError("GUILDSTREAM_SHARD_IDS needs GUILDSTREAM_SHARD_COUNT, the shards of the whole bot")
        self._intents = intents_from(settings.intents)
        self._stop = asyncio.Event()
        self._outbox = Outbox(
            redis_url,
            keys=Keys(settings.prefix),
            partitions=settings.partitions,
            memory_slow=settings.memory_slow,
            memory_stop=settings.memory_stop,
            spool=Spool(self._spool_dir(), max_bytes=settings.spool_mib * 1024 * 1024),
        )
        content = bool(self._intents & hikari.Intents.MESSAGE_CONTENT)
        self._book = ShardBook(settings, self._outbox, intents=int(self._intents), content_intent=content)
        self._failure: Exception | None = None

    async def serve(self) -> int:
        """All of it, from the first connection to the last flush."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        health = HealthServer(self._settings, "gateway", lambda: self._book.connected)
        await health.start()
        try:
            if await self._agree_on_deployment():
                self._outbox.start()
                async with asyncio.TaskGroup() as tasks:
                    keeping = [tasks.create_task(self._keep()), tasks.create_task(self._renew_leases())]
                    await self._listen()
                    for task in keeping:
                        task.cancel()
                await self._finish()
        finally:
            await health.stop()
        if self._failure is not None:
            raise self._failure
        return 0

    async def _listen(self) -> None:
        """Run bots, one after the other should hikari give one up, until told to stop."""
        failures = 0
        while not self._stop.is_set():
            began = asyncio.get_running_loop().time()
            bot = self._make_bot()
            error = await self._run_bot(bot)
            if self._stop.is_set() or error is None:
                return
            if (reason := _final_reason(error)) is not None:
                self._failure = ConfigError(f"Discord refuses the connection: {reason}")
                return
            failures = 1 if asyncio.get_running_loop().time() - began > _MAX_BACKOFF_SECONDS else failures + 1
            pause = min(_MAX_BACKOFF_SECONDS, 2.0**failures) * random.uniform(0.5, 1.0)  # noqa: S311  # jitter
            _log.warning("hikari gave up, starting over in %.1f s: %s: %s", pause, type(error).__name__, error)
            await self._wait_for_stop(pause)

    async def _run_bot(self, bot: ListeningBot) -> BaseException | None:
        """Until it fails or we are told to stop; the failure."""
        living = asyncio.create_task(self._live(bot), name="bot")
        stopping = asyncio.create_task(self._stop.wait(), name="stop")
        try:
            await asyncio.wait({living, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if bot.is_alive:
                await bot.close()
            living.cancel()
            (outcome,) = await asyncio.gather(living, return_exceptions=True)
        return outcome if isinstance(outcome, Exception) else None

    async def _live(self, bot: ListeningBot) -> None:
        # hikari counts a RESUME as a new session; when all of ours are to be resumed, its limit is not due.
        resuming = bool(self._book.entries)
        await bot.start(
            check_for_updates=False,
            shard_ids=self._shard_ids,
            shard_count=self._settings.shard_count,
            ignore_session_start_limit=resuming,
        )
        if bot.shards:  # none when told to stop meanwhile
            _log.info("all shards are connected", extra={"shards": len(bot.shards)})
        await bot.join()

    async def _keep(self) -> None:
        """Heartbeats where they are due, positions, metrics."""
        while True:
            # While the gate is shut, dispatches wait unread: nothing may say that all was published.
            if not self._outbox.congested:
                for source in self._book.sources.values():
                    source.heartbeat()
            self._book.store_positions()
            self._book.count_dispatches()
            await asyncio.sleep(_TICK_SECONDS)

    async def _renew_leases(self) -> None:
        while True:
            await asyncio.sleep(self._settings.lease_seconds / 4)
            if lost := await self._book.renew_leases():
                _log.error("another process has taken shards %s: stopping", lost)
                self._failure = ConfigError(f"another process has taken shards {lost}; each may run once only")
                self._stop.set()

    async def _agree_on_deployment(self) -> bool:
        """Wait for Redis and for the deployment that it holds. False when told to stop before."""
        client = connect_redis_async(self._redis_url, name="guildstream-gateway")
        try:
            while not self._stop.is_set():
                try:
                    await ensure_deployment_async(client, Keys(self._settings.prefix), self._settings.partitions)
                except (redis.exceptions.ConnectionError, redis.exceptions.TimeoutError) as error:
                    _log.warning("waiting for Redis: %s", error)
                    await self._wait_for_stop(1.0)
                else:
                    return True
        finally:
            await client.aclose()
        return False

    async def _finish(self) -> None:
        """Everything into Redis or onto the disk, then the last positions, then the leases."""
        self._book.store_positions()
        await asyncio.to_thread(self._outbox.close, _FLUSH_SECONDS)
        await self._book.close()

    async def _wait_for_stop(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._stop.wait(), seconds)
        except TimeoutError:
            return

    def _make_bot(self) -> ListeningBot:
        return ListeningBot(
            self._token,
            rest_url=self._settings.discord_rest_url,
            intents=self._intents,
            open_shard=self._book.open,
            shut=lambda: self._outbox.congested,
            sources=self._book.sources,
        )

    def _spool_dir(self) -> Path:
        name = "all" if not self._shard_ids else "-".join(map(str, self._shard_ids))
        return (self._settings.data_dir or default_data_dir()) / "spool" / f"gateway-{name}"


def _final_reason(error: BaseException) -> str | None:
    if isinstance(error, hikari.UnauthorizedError):
        return _FINAL_CODES[4004]
    if isinstance(error, hikari.GatewayServerClosedConnectionError):
        return _FINAL_CODES.get(int(error.code or 0))
    return None
