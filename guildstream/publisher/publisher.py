"""The ``Publisher``: events from somebody else's bot, which must never notice."""

from __future__ import annotations

import logging
import secrets
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Self

import orjson

from guildstream import metrics
from guildstream.clock import SYSTEM_CLOCK
from guildstream.codec import encode_event
from guildstream.discord.attachment import attach_hikari
from guildstream.discord.source import HEARTBEAT_SECONDS, Source, heartbeat
from guildstream.events import CONTRACT_VERSION, MAX_EVENT_BYTES, snowflake
from guildstream.keys import DEFAULT_PARTITIONS, DEFAULT_PREFIX, Keys, partition_of
from guildstream.publisher.outbox import Outbox
from guildstream.publisher.spool import Spool

__all__ = ["Publisher", "PublisherCounts"]

_log = logging.getLogger("guildstream.publisher")


@dataclass(frozen=True, slots=True)
class PublisherCounts:
    """What became of events, since this publisher was made.

    Attributes:
        accepted: taken by ``publish`` or from an attached bot, heartbeats included.
        refused: not taken: not an event, too large, or no room.
        spooled: went by way of the disk.
        sent: acknowledged by Redis, those that an earlier process left in the spool included.
    """

    accepted: int
    refused: int
    spooled: int
    sent: int


class Publisher:
    """Publishes events to a guildstream deployment from any bot.

    ``publish`` returns at once, whatever Redis does: a thread packs and sends. While Redis is away
    events wait on disk if ``spool_dir`` is given, else in memory, within ``max_queue_bytes``; beyond
    that they are refused and counted. A process that is killed loses what it had in memory.

    Use as a context manager, or call ``close``::

        with Publisher("redis://127.0.0.1:6379/0", session="shop-bot") as publisher:
            publisher.publish({"type": "command", "ts": now_ms, "guild_id": guild_id, "user_id": user_id,
                               "data": {"interaction_id": interaction_id, "name": "buy"}})

    Args:
        redis_url: ``redis://``, ``rediss://`` or ``unix://``.
        session: the source's name, unique to this bot process's stream of events; drawn if absent.
        shard: the shard id, where the source is a shard.
        partitions: P of the deployment.
        prefix: first part of the deployment's Redis keys.
        spool_dir: a folder of this publisher's own.
        max_spool_bytes: bound of the same.
        max_queue_bytes: bound of memory.
        compress: entries in zstd.

    Raises:
        ConfigError: the URL or the spool folder can't be used.
    """

    def __init__(
        self,
        redis_url: str,
        *,
        session: str | None = None,
        shard: int | None = None,
        partitions: int = DEFAULT_PARTITIONS,
        prefix: str = DEFAULT_PREFIX,
        spool_dir: Path | str | None = None,
        max_spool_bytes: int = 512 * 1024 * 1024,
        max_queue_bytes: int = 16 * 1024 * 1024,
        compress: bool = False,
    ) -> None:
        spool = None if spool_dir is None else Spool(Path(spool_dir), max_bytes=max_spool_bytes)
        self._session = session or f"publisher-{secrets.token_hex(8)}"
        self._shard = shard
        self._partitions = partitions
        self._published = False
        self._closed = False
        self._refused = 0
        self._lock = Lock()
        # Above what an earlier process of the same name can have reached, unless it kept up 16 events a millisecond.
        self._seq = SYSTEM_CLOCK.now_ms() << 4
        self._sources: list[Sequence[Source]] = []
        self._next_beat = SYSTEM_CLOCK.monotonic()
        self._outbox = Outbox(
            redis_url,
            keys=Keys(prefix),
            partitions=partitions,
            spool=spool,
            max_queue_bytes=max_queue_bytes,
            compress=compress,
            ticker=self._beat,
        )
        self._outbox.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def session(self) -> str:
        """The source that events of ``publish`` belong to."""
        return self._session

    @property
    def counts(self) -> PublisherCounts:
        """What became of events so far."""
        counts = self._outbox.counts
        return PublisherCounts(counts.accepted, self._refused, counts.spooled, counts.sent)

    def publish(self, event: Mapping[str, Any]) -> bool:
        """Publish one event. Never raises, never blocks; may be called from any thread.

        Args:
            event: DESIGN §3 without ``v``, ``session``, ``shard`` and, unless it has its own, ``seq``.

        Returns:
            Whether it was taken.
        """
        try:
            with self._lock:
                partition, session, payload = self._encode(event)
                if not self._accept(partition, session, payload):
                    return False
                self._published = True
        except Exception as error:  # noqa: BLE001  # the bot that calls must not feel our problems
            return self._refuse("not_an_event", f"{type(error).__name__}: {error}")
        return True

    def attach(self, bot: Any) -> None:
        """Publish everything that the shards of a ``hikari.GatewayBot`` receive. Call it before ``bot.run()``."""
        self._sources.append(attach_hikari(bot, _Door(self._accept), self._partitions))

    def close(self, timeout_seconds: float = 10.0, *, final: bool = False) -> bool:
        """Send what is left, or leave it in the spool while Redis is away. Blocks at most about the timeout.

        Args:
            timeout_seconds: for everything together.
            final: this session never comes back: its windows close and its voice ends.

        Returns:
            Whether nothing was lost.
        """
        self._closed = True
        if final:
            self._published = False  # nothing of this session may follow
            self._heartbeat(final=True)
        return self._outbox.close(timeout_seconds)

    def _encode(self, event: Mapping[str, Any]) -> tuple[int, bytes, bytes]:
        full: MutableMapping[str, Any] = {"v": CONTRACT_VERSION, "session": self._session, **event}
        if self._shard is not None:
            full.setdefault("shard", self._shard)
        if "seq" not in full:
            self._seq += 1
            full["seq"] = self._seq
        payload = encode_event(full)
        if len(payload) > MAX_EVENT_BYTES:
            raise ValueError(f"an event of {len(payload)} bytes; the limit is {MAX_EVENT_BYTES}")
        return partition_of(snowflake(full["guild_id"]), self._partitions), full["session"].encode(), payload

    def _refuse(self, reason: str, why: str) -> bool:
        self._refused += 1
        metrics.EVENTS_DROPPED.labels(reason=reason).inc()
        if self._refused & (self._refused - 1) == 0:  # the first, second, fourth, eighth …
            _log.error("an event was refused: %s", why, extra={"refused": self._refused})
        return False

    def _beat(self) -> None:
        """Called from the outbox's thread about twice a second."""
        if self._published and SYSTEM_CLOCK.monotonic() >= self._next_beat:
            self._next_beat = SYSTEM_CLOCK.monotonic() + HEARTBEAT_SECONDS
            self._heartbeat()
        if self._outbox.congested or self._closed:
            return
        for sources in self._sources:
            for source in list(sources):
                source.heartbeat()

    def _heartbeat(self, *, final: bool = False) -> None:
        if self._outbox.congested and not final:
            return
        made = orjson.dumps(heartbeat(self._session, self._shard, SYSTEM_CLOCK.now_ms(), final=final))
        for partition in range(self._partitions):
            self._outbox.put(partition, self._session.encode(), made)

    def _accept(self, partition: int, source: bytes, payload: bytes) -> bool:
        if self._closed:
            return self._refuse("closed", "the publisher is closed")
        if self._outbox.congested:
            return self._refuse("no_room", "the queue is full: Redis is away, and so is room in the spool")
        self._outbox.put(partition, source, payload)
        return True


class _Door:
    """What attached sources put into: the publisher's queue, with its bound."""

    def __init__(self, accept: Callable[[int, bytes, bytes], bool]) -> None:
        self._accept = accept

    def put(self, partition: int, source: bytes, payload: bytes) -> None:
        self._accept(partition, source, payload)
