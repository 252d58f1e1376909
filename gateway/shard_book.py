"""The shards of this process: their sources, leases and stored positions."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import Final

import redis.exceptions

from gateway.resumption import ShardSession, session_of
from gateway.sessions import SessionStore, ShardLease, process_name
from gateway.shards import GatedShard
from guildstream import metrics
from guildstream.connections import connect_redis_async
from guildstream.discord import Source, Translator
from guildstream.publisher import Outbox
from guildstream.settings import Settings

__all__ = ["ShardBook", "ShardEntry"]

_log = logging.getLogger("guildstream.gateway")

_LEASE_POLL_SECONDS: Final = 0.5


@dataclass(slots=True)
class ShardEntry:
    """One shard.

    Attributes:
        source: its dispatches as events.
        lease: that this process has it.
        stored: what an earlier process left.
        shard: hikari's, once it starts.
        store: where its position goes.
    """

    source: Source
    lease: ShardLease
    store: SessionStore
    stored: ShardSession | None
    shard: GatedShard | None = None

    def resumable(self) -> ShardSession | None:
        """The session to resume: this process's own if it had one, else the stored one."""
        return self.stored if self.shard is None else self.position()

    def position(self) -> ShardSession | None:
        """Where this process stands."""
        source = self.source
        if self.shard is None or source.session is None or source.last_ms is None:
            return None
        return session_of(self.shard, source.session, source.seq, source.last_ms)


class ShardBook:
    """Opens shards, stores their positions behind their events, keeps their leases.

    Args:
        settings: prefix, partitions, lease time, Redis.
        outbox: where events go.
        intents: as a number; part of what identifies a session.
        content_intent: whether message content is among them.
    """

    def __init__(self, settings: Settings, outbox: Outbox, *, intents: int, content_intent: bool) -> None:
        self.sources: dict[int, Source] = {}
        self.entries: dict[int, ShardEntry] = {}
        self.translator = Translator(content_intent=content_intent)
        self._settings = settings
        self._outbox = outbox
        self._intents = intents
        self._owner = process_name()
        self._client = connect_redis_async(settings.redis_url or "", name="guildstream-gateway")
        self._counted: dict[tuple[int, str], int] = {}

    @property
    def connected(self) -> bool:
        """Whether all shards opened so far are connected, and there is one."""
        return bool(self.sources) and all(source.connected for source in self.sources.values())

    async def open(self, shard: int, shard_count: int) -> ShardEntry:
        """Take a shard's lease, waiting for it, and read what an earlier process stored.

        Opening again (hikari starts over within this process) goes on where the process stands.
        """
        if shard in self.entries:
            return self.entries[shard]
        settings = self._settings
        lease = ShardLease(
            self._client, settings.prefix, shard, owner=self._owner, lease_seconds=settings.lease_seconds
        )
        await self._wait_for(lease, shard)
        store = SessionStore(self._client, settings.prefix, identity=f"{shard_count}/{self._intents}")
        stored, at_ms = await store.load(shard)
        source = Source(
            self._outbox, self.translator, shard=shard, shard_count=shard_count, partitions=settings.partitions
        )
        if stored is not None:
            source.resume(stored.session_id, stored.seq, stored.at_ms)
        elif at_ms is not None:
            source.remember(at_ms)
        self.sources[shard] = source
        self.entries[shard] = ShardEntry(source, lease, store, stored)
        return self.entries[shard]

    def store_positions(self) -> None:
        """Have each shard's position stored once Redis has the events up to it."""
        for shard, entry in self.entries.items():
            position = entry.position()
            if position is not None:
                self._outbox.note(entry.store.store_command(shard, position, entry.lease))

    async def renew_leases(self) -> list[int]:
        """Keep the leases; the shards whose lease another process has taken. Redis away changes nothing."""
        lost: list[int] = []
        for shard, entry in list(self.entries.items()):
            try:
                if await entry.lease.acquire() is not None:
                    lost.append(shard)
            except redis.exceptions.RedisError:
                _log.debug("the lease of shard %d was not renewed: Redis is away", shard)
        return lost

    def count_dispatches(self) -> None:
        """Bring the metrics up to date; they cost too much to do so at every dispatch."""
        for shard, source in self.sources.items():
            for name, count in source.dispatches.items():
                key = (shard, name)
                metrics.GATEWAY_DISPATCHES.labels(name=name).inc(count - self._counted.get(key, 0))
                self._counted[key] = count

    async def close(self) -> None:
        """Release the leases."""
        for entry in self.entries.values():
            try:
                await entry.lease.release()
            except redis.exceptions.RedisError:
                _log.debug("a lease was not released: Redis is away; it expires")
        await self._client.aclose()

    async def _wait_for(self, lease: ShardLease, shard: int) -> None:
        said = False
        while (holder := await lease.acquire()) is not None:
            if not said:
                _log.warning("shard %d belongs to another process, waiting for it to let go: %s", shard, holder)
                said = True
            await asyncio.sleep(_LEASE_POLL_SECONDS)
