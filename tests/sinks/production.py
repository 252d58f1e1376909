"""What a processor leaves in Redis, without a processor: events entries, results and offsets of commits."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import redis

from guildstream.codec import encode_event, pack_events
from guildstream.deployment import ensure_deployment
from guildstream.event_ids import event_uuid
from guildstream.keys import Keys, partition_of
from guildstream.measures import MEASURES, VOICE_MEASURES, M
from guildstream.results import Results, encode_results

__all__ = ["DAY_MS", "EPOCH_MS", "Production", "guild_of", "message_commit", "pane"]

DAY_MS = 86_400_000
#: 2026-03-01T00:00:00Z.
EPOCH_MS = 1_772_323_200_000


def guild_of(partition: int, number: int = 0, partitions: int = 4) -> int:
    """A guild that lives in the partition."""
    return ((number * partitions + partition + partitions) << 22) | 5


def pane(key: Sequence[Any], *, bot: bool = False, **values: int) -> list[Any]:
    """An ``ActivityRow``; ``key`` is bucket, local day, guild, channel, user."""
    measures = [0] * len(MEASURES)
    for name, value in values.items():
        measures[MEASURES.index(name)] = value
    return [*key, bot, measures]


@dataclass
class Production:
    """Writes commits as a processor does."""

    client: redis.Redis
    keys: Keys = field(default_factory=Keys)
    partitions: int = 4
    pack: bool = True
    _state: dict[int, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.deployment = ensure_deployment(self.client, self.keys, self.partitions)

    def commit(
        self,
        partition: int,
        events: Sequence[dict[str, Any] | bytes],
        *,
        dropped: Sequence[tuple[int, int]] = (),
        entries: Sequence[dict[bytes, bytes]] | None = None,
        positions: int | None = None,
        **rows: Any,
    ) -> Results:
        """Write events and the results that cover them in one commit."""
        state = self._state.setdefault(partition, {"commit": 0, "last_id": "0-0", "position": 0})
        payloads = [event if isinstance(event, bytes) else encode_event(event) for event in events]
        if entries is None:
            entries = list(pack_events(payloads)) if self.pack else [{b"e": payload} for payload in payloads]
        names = self.keys.partition(partition)
        pipe = self.client.pipeline(transaction=False)
        for entry in entries:
            pipe.xadd(names.events, entry)
        last_id = pipe.execute()[-1].decode()
        empty = {"activity": [], "sessions": [], "awards": [], "totals": [], "commands": []}
        results = Results(
            partition=partition,
            commit=state["commit"] + 1,
            after_id=state["last_id"],
            last_id=last_id,
            first_position=state["position"],
            positions=len(payloads) if positions is None else positions,
            dropped=list(dropped),
            **{**empty, **rows},
        )
        self.write(partition, results)
        return results

    def write(self, partition: int, results: Results) -> None:
        """Write the results entry and the offset of a commit."""
        names = self.keys.partition(partition)
        pipe = self.client.pipeline(transaction=True)
        pipe.xadd(names.results, {b"r": encode_results(results)})
        pipe.hset(names.offset, mapping={"commit": results.commit, "last_id": results.last_id})
        pipe.execute()
        self._state[partition] = {
            "commit": results.commit,
            "last_id": results.last_id,
            "position": results.first_position + results.positions,
        }

    def position(self, partition: int) -> int:
        """How many payloads are committed."""
        return int(self._state.get(partition, {}).get("position", 0))

    def commits(self, partition: int) -> int:
        """How many commits there were."""
        return int(self._state.get(partition, {}).get("commit", 0))


def message_commit(
    production: Production,
    partition: int,
    count: int,
    *,
    dice: random.Random,
    start_ms: int = EPOCH_MS,
    span_ms: int = 3_600_000,
    users: int = 200,
    channels: int = 8,
    panes: float = 0.7,
    totals: float = 0.25,
    awards: float = 0.2,
) -> Results:
    """One commit of messages, in time order, with panes, totals and awards in these shares of the events."""
    guild = guild_of(partition, dice.randrange(3), production.partitions)
    assert partition_of(guild, production.partitions) == partition
    seq = production.position(partition)
    session = f"session-{partition}"
    rows: dict[str, list[Any]] = {"activity": [], "totals": [], "awards": []}
    events = []
    times = sorted(start_ms + dice.randrange(span_ms) for _ in range(count))
    for number, ts in enumerate(times):
        user, channel, chars = dice.randrange(1, users), dice.randrange(1, channels), dice.randrange(1, 200)
        seq += 1
        events.append(
            {
                "v": 1,
                "type": "message_create",
                "ts": ts,
                "guild_id": guild,
                "channel_id": guild + channel,
                "user_id": (user << 22) + 1_000_000_000_000_000,
                "session": session,
                "seq": seq,
                "shard": partition,
                "data": {"message_id": (ts << 20) | number, "chars": chars, "words": chars // 5, "attachments": 0},
            }
        )
        user_id = events[-1]["user_id"]
        bucket, day = ts - ts % 60_000, ts // DAY_MS
        if dice.random() < panes:
            key = (bucket, day, guild, guild + channel, user_id)
            rows["activity"].append(pane(key, messages=1, sized=1, chars=chars, attachments=0, xp=20))
        if dice.random() < totals:
            rows["totals"].append([guild, user_id, False, seq * 20, seq // 100, seq, 0, 0, times[0], ts])
        if dice.random() < awards:
            event_id = event_uuid(session, seq, 0)
            rows["awards"].append(
                [event_id, ts, ts, day, guild, guild + channel, user_id, "message", 1, 20, 1000, 20, 1, event_id]
            )
    return production.commit(partition, events, **rows)


def voice_row(segment: bytes, guild: int, user: int, started_ms: int, counted_ms: int, *, ended: bool) -> list[Any]:
    """A ``SessionRow`` that is counted up to ``counted_ms``."""
    measures = [0] * len(VOICE_MEASURES)
    measures[M.VOICE_MS - M.VOICE_MS] = counted_ms - started_ms
    end = (counted_ms, counted_ms, "leave") if ended else (None, counted_ms, None)
    return [segment, segment, guild, guild + 1, user, started_ms, *end, measures]
