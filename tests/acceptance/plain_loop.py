"""What a plain Python loop over a file of events says, under default settings: no stream, no window, no state.

It knows messages and voice states of one source in time order, which is what the acceptance tests replay.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

DAY_MS = 86_400_000
Key = tuple[int, int, int]


@dataclass
class Stay:
    """Somebody in a voice channel."""

    channel: int
    started: int
    settled: int
    deaf: bool
    voice_ms: int = 0
    active_ms: int = 0


@dataclass
class PlainLoop:
    """Sums by ``(day, guild, user)`` and ``(day, guild, channel)``, totals by ``(guild, user)``, voice segments."""

    members: dict[Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    channels: dict[Key, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    totals: dict[tuple[int, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    segments: list[tuple[int, ...]] = field(default_factory=list)
    stays: dict[tuple[int, int], Stay] = field(default_factory=dict)
    awarded: dict[tuple[int, int], int] = field(default_factory=dict)
    rest: Counter[tuple[int, int]] = field(default_factory=Counter)
    last_ts: int = 0

    def run(self, events: Iterable[dict[str, Any]]) -> PlainLoop:
        for event in events:
            self.last_ts = max(self.last_ts, event["ts"])
            if event["type"] == "message_create":
                self._message(event)
            elif event["type"] == "voice_state":
                self._voice(event)
        for who in list(self.stays):
            self._settle(who, self.last_ts)
        return self

    def _add(self, who: tuple[int, int], channel: int, ts: int, name: str, amount: int) -> None:
        guild, user = who
        self.members[ts // DAY_MS, guild, user][name] += amount
        self.channels[ts // DAY_MS, guild, channel][name] += amount
        self.totals[who][name] += amount

    def _message(self, event: dict[str, Any]) -> None:
        who, channel, ts = (event["guild_id"], event["user_id"]), event["channel_id"], event["ts"]
        self._add(who, channel, ts, "messages", 1)
        self._add(who, channel, ts, "chars", event["data"]["chars"])
        if who not in self.awarded or ts - self.awarded[who] >= 60_000:
            digest = hashlib.blake2b(event["data"]["message_id"].to_bytes(8, "big"), digest_size=8).digest()
            self.awarded[who] = ts
            self._add(who, channel, ts, "xp", 15 + int.from_bytes(digest, "big") % 11)

    def _voice(self, event: dict[str, Any]) -> None:
        who, channel, ts = (event["guild_id"], event["user_id"]), event["channel_id"], event["ts"]
        flags = event["data"]
        deaf = bool(flags.get("self_deaf") or flags.get("deaf"))
        stay = self.stays.get(who)
        if stay is not None and channel is not None:
            # A minute that is complete at the very instant of a move belongs to the channel that begins there.
            self._settle(who, ts, channel)
        for place in {channel, stay.channel if stay else None} - {None}:
            for other in self._people(who[0], place):
                self._settle(other, ts)
        if stay is not None and stay.channel == channel:
            stay.deaf = deaf
            return
        if stay is not None:
            self.segments.append((*who, stay.channel, stay.started, ts, stay.voice_ms, stay.active_ms))
            del self.stays[who]
        if channel is not None:
            self.stays[who] = Stay(channel, ts, ts, deaf)

    def _people(self, guild: int, channel: int | None) -> list[tuple[int, int]]:
        return [who for who, stay in self.stays.items() if who[0] == guild and stay.channel == channel]

    def _settle(self, who: tuple[int, int], now: int, then: int | None = None) -> None:
        stay = self.stays[who]
        active = not stay.deaf and len(self._people(who[0], stay.channel)) > 1
        while stay.settled < now:
            end = min(now, (stay.settled // DAY_MS + 1) * DAY_MS)
            length = end - stay.settled
            self._add(who, stay.channel, stay.settled, "voice_ms", length)
            stay.voice_ms += length
            if active:
                self._add(who, stay.channel, stay.settled, "voice_active_ms", length)
                stay.active_ms += length
                full, rest = divmod(self.rest[who] + length, 60_000)
                first = stay.settled + 60_000 - self.rest[who]
                for at in range(first, first + full * 60_000, 60_000):
                    self._add(who, then if then is not None and at == now else stay.channel, at, "xp", 5)
                self.rest[who] = rest
            stay.settled = end


def level(xp: int) -> int:
    """Levels of the curve mee6: from L to L+1 it takes 5 L² + 50 L + 100."""
    reached = total = 0
    while xp >= (total := total + 5 * reached * reached + 50 * reached + 100):
        reached += 1
    return reached
