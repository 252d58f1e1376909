"""One shard's session as a source of events: numbers, heartbeats, gaps."""

from __future__ import annotations

import logging
from collections import Counter
from typing import Any, Final, Protocol

import orjson

from guildstream import metrics
from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.discord.payloads import Event, Payload
from guildstream.discord.translation import Translator
from guildstream.events import MAX_EVENT_BYTES
from guildstream.keys import partition_of

__all__ = ["HEARTBEAT_SECONDS", "EventQueue", "Source", "heartbeat"]

_log = logging.getLogger("guildstream.gateway.source")

#: How often a connected source says how far it has published; the contract asks for 5 s at most.
HEARTBEAT_SECONDS: Final = 2.0
#: How far a heartbeat stays behind the clock: what Discord and the network take to deliver a message,
#: whose time is that of its snowflake.
_DELIVERY_MS: Final = 1_500


class EventQueue(Protocol):
    """What a source needs of ``guildstream.publisher.outbox.Outbox``."""

    def put(self, partition: int, source: bytes, payload: bytes) -> None:
        """Take an encoded event."""
        ...


def heartbeat(session: str, shard: int | None, now_ms: int, *, final: bool = False) -> Event:
    """A heartbeat event for a source that has published everything that it knows of."""
    made: Event = {"v": 1, "type": "heartbeat", "ts": now_ms if final else now_ms - _DELIVERY_MS, "session": session}
    if shard is not None:
        made["shard"] = shard
    if final:
        made["data"] = {"final": True}
    return made


class Source:
    """Turns one shard's dispatches into numbered events in the queue.

    A new session (READY) is a new source; a resumed one goes on numbering where Discord does. What
    arrives between a RESUME and RESUMED is ``replayed``. Nothing here raises: what can't be
    translated is counted, and logged once per kind. Not thread-safe: one event loop calls it.

    Args:
        queue: where events go.
        translator: shared by all shards of a process.
        shard: shard id.
        shard_count: shards of the whole bot, for gaps.
        partitions: P.

    Attributes:
        session: Discord's session id, None before the first READY.
        seq: number of the last dispatch.
        last_ms: when the last dispatch or heartbeat was, None before the first.
        connected: READY or RESUMED was seen on this connection.
        dispatches: counts by Discord's event name.
        untranslated: counts of what could not be translated, by event name and kind of error.
    """

    def __init__(
        self,
        queue: EventQueue,
        translator: Translator,
        *,
        shard: int,
        shard_count: int,
        partitions: int,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.session: str | None = None
        self.seq = 0
        self.last_ms: int | None = None
        self.connected = False
        self.dispatches: Counter[str] = Counter()
        self.untranslated: Counter[tuple[str, str]] = Counter()
        self._queue = queue
        self._translator = translator
        self._shard = shard
        self._shard_count = shard_count
        self._partitions = partitions
        self._clock = clock
        self._key = b""
        self._next_beat = 0.0

    def resume(self, session: str, seq: int, last_ms: int | None) -> None:
        """Go on with a session that an earlier process, or an earlier connection, began."""
        self._set_session(session)
        self.seq, self.last_ms = seq, last_ms

    def remember(self, last_ms: int) -> None:
        """Know when an earlier session was last heard of, so that the next READY writes the gap."""
        self.last_ms = last_ms

    def disconnected(self) -> None:
        """The connection ended. No heartbeats until READY or RESUMED."""
        self.connected = False
        metrics.SHARD_CONNECTED.labels(shard=self._shard).set(0)

    def dispatch(self, name: str, seq: int, payload: Payload) -> None:
        """One dispatch, right after it was received. Never raises."""
        self.dispatches[name] += 1
        now_ms = self._clock.now_ms()
        try:
            if name == "READY":
                self._ready(payload, seq, now_ms)
            elif name == "RESUMED":
                self._connected("resume")
            else:
                events = self._translator.translate(name, payload, now_ms)
                if events:
                    self._publish(events, seq)
        except Exception as error:  # noqa: BLE001  # anything raised here would end hikari's shard
            self._count_untranslated(name, error)
        self.seq = seq
        self.last_ms = now_ms

    def heartbeat(self) -> None:
        """Tell every partition how far this source has published, if it is connected and that is due."""
        now = self._clock.monotonic()
        if not self.connected or self.session is None or now < self._next_beat:
            return
        self._next_beat = now + HEARTBEAT_SECONDS
        now_ms = self._clock.now_ms()
        payload = orjson.dumps(heartbeat(self.session, self._shard, now_ms))
        for partition in range(self._partitions):
            self._queue.put(partition, self._key, payload)
        self.last_ms = now_ms

    def _publish(self, events: list[Event], seq: int) -> None:
        session, shard, partitions, put = self.session, self._shard, self._partitions, self._queue.put
        if session is None:
            raise ValueError("a dispatch before READY")
        for part, event in enumerate(events):
            event["session"] = session
            event["seq"] = seq
            event["shard"] = shard
            if part:
                event["part"] = part
            if not self.connected:
                event["replayed"] = True
            payload = orjson.dumps(event)
            if len(payload) > MAX_EVENT_BYTES:
                self._count_untranslated(event["type"], ValueError(f"an event of {len(payload)} bytes"))
                continue
            put(partition_of(event["guild_id"], partitions), self._key, payload)

    def _ready(self, payload: Payload, seq: int, now_ms: int) -> None:
        blind_since = self.last_ms
        self._set_session(str(payload["session_id"]))
        self._connected("identify")
        if blind_since is not None:
            self._gap(blind_since, now_ms, seq)

    def _gap(self, from_ms: int, to_ms: int, seq: int) -> None:
        """One event for the whole shard; a shard has no guild, so it takes the partition of its number."""
        data: dict[str, Any] = {"from": from_ms, "to": to_ms, "cause": "new_session", "shard_count": self._shard_count}
        made = {"v": 1, "type": "gap", "ts": to_ms, "session": self.session, "seq": seq, "shard": self._shard}
        self._queue.put(self._shard % self._partitions, self._key, orjson.dumps(made | {"data": data}))
        _log.warning("shard %d was blind for %d ms: Discord gave it a new session", self._shard, to_ms - from_ms)

    def _set_session(self, session: str) -> None:
        self.session = session
        self._key = session.encode()

    def _connected(self, how: str) -> None:
        self.connected = True
        self._next_beat = 0.0
        metrics.SHARD_CONNECTED.labels(shard=self._shard).set(1)
        metrics.SHARD_CONNECTS.labels(shard=self._shard, how=how).inc()

    def _count_untranslated(self, name: str, error: Exception) -> None:
        kind = (name, type(error).__name__)
        self.untranslated[kind] += 1
        metrics.EVENTS_DROPPED.labels(reason="untranslated").inc()
        if self.untranslated[kind] == 1:
            _log.error("a %s could not be published; more of the kind are only counted", name, exc_info=error)
