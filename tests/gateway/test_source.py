"""A source numbers, marks replays, writes gaps, and never raises."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest

from guildstream.discord import Source, Translator
from guildstream.keys import partition_of

GUILD = 5 << 22
DELETE = {"id": "9", "channel_id": "8", "guild_id": str(GUILD)}


@dataclass
class Queue:
    events: list[tuple[int, bytes, dict[str, Any]]] = field(default_factory=list)

    def put(self, partition: int, source: bytes, payload: bytes) -> None:
        self.events.append((partition, source, orjson.loads(payload)))

    @property
    def latest(self) -> dict[str, Any]:
        return self.events[-1][2]


@dataclass
class StoppedClock:
    ms: int = 1_795_000_000_000

    def monotonic(self) -> float:
        return self.ms / 1000

    def now_ms(self) -> int:
        return self.ms


@pytest.fixture
def queue() -> Queue:
    return Queue()


@pytest.fixture
def clock() -> StoppedClock:
    return StoppedClock()


@pytest.fixture
def source(queue: Queue, clock: StoppedClock) -> Source:
    return Source(queue, Translator(), shard=3, shard_count=4, partitions=8, clock=clock)


def test_a_first_session_has_no_gap(source: Source, queue: Queue) -> None:
    source.dispatch("READY", 1, {"session_id": "abc"})
    assert queue.events == []
    source.dispatch("MESSAGE_DELETE", 2, DELETE)
    ((partition, name, event),) = queue.events
    assert (partition, name) == (partition_of(GUILD, 8), b"abc")
    assert (event["session"], event["seq"], event["shard"], event.get("part"), event.get("replayed")) == (
        "abc", 2, 3, None, None,
    )  # fmt: skip


def test_what_comes_before_resumed_is_replayed(source: Source, queue: Queue) -> None:
    source.resume("abc", 10, 1_000)
    source.dispatch("MESSAGE_DELETE", 11, DELETE)
    assert queue.latest["replayed"] is True
    source.dispatch("RESUMED", 12, {})
    source.dispatch("MESSAGE_DELETE", 13, DELETE)
    assert "replayed" not in queue.latest
    source.disconnected()
    source.dispatch("MESSAGE_DELETE", 14, DELETE)
    assert queue.latest["replayed"] is True
    assert source.seq == 14


def test_a_new_session_after_another_writes_the_gap(source: Source, queue: Queue, clock: StoppedClock) -> None:
    source.dispatch("READY", 1, {"session_id": "abc"})
    began = clock.ms
    clock.ms += 60_000
    source.disconnected()
    source.dispatch("READY", 1, {"session_id": "def"})
    ((partition, name, gap),) = queue.events
    assert (partition, name, gap["type"], gap["session"], gap["seq"]) == (3, b"def", "gap", "def", 1)
    assert gap["data"] == {"from": began, "to": clock.ms, "cause": "new_session", "shard_count": 4}


def test_a_session_that_an_earlier_process_lost_leaves_a_gap_too(source: Source, queue: Queue) -> None:
    source.remember(1_700_000_000_000)
    source.dispatch("READY", 1, {"session_id": "abc"})
    assert queue.latest["data"]["from"] == 1_700_000_000_000


def test_heartbeats_only_while_connected(source: Source, queue: Queue, clock: StoppedClock) -> None:
    source.heartbeat()
    source.dispatch("READY", 1, {"session_id": "abc"})
    source.heartbeat()
    assert [partition for partition, _, _ in queue.events] == list(range(8))
    assert queue.latest["type"] == "heartbeat"
    assert queue.latest["ts"] <= clock.ms
    source.heartbeat()
    assert len(queue.events) == 8
    clock.ms += 5_000
    source.heartbeat()
    assert len(queue.events) == 16
    source.disconnected()
    clock.ms += 5_000
    source.heartbeat()
    assert len(queue.events) == 16


def test_what_cannot_be_translated_is_counted_and_logged_once(
    source: Source, queue: Queue, caplog: pytest.LogCaptureFixture
) -> None:
    source.dispatch("READY", 1, {"session_id": "abc"})
    for seq, payload in enumerate([{"guild_id": "5"}, {"guild_id": "5"}, {"guild_id": "x", "id": "y"}, 7], start=2):
        source.dispatch("MESSAGE_DELETE", seq, payload)  # type: ignore[arg-type]
    assert sum(source.untranslated.values()) == 4
    assert len(caplog.records) == len(source.untranslated) == 3
    source.dispatch("MESSAGE_DELETE", 6, DELETE)
    assert queue.latest["seq"] == 6


def test_parts_number_the_events_of_one_dispatch(source: Source, queue: Queue) -> None:
    source.dispatch("READY", 1, {"session_id": "abc"})
    source.dispatch("GUILD_CREATE", 2, {"id": str(GUILD), "name": "g", "voice_states": []})
    assert [(event["seq"], event.get("part", 0)) for _, _, event in queue.events] == [(2, 0), (2, 1)]


def test_an_event_too_large_takes_no_other_with_it(source: Source, queue: Queue) -> None:
    source.dispatch("READY", 1, {"session_id": "abc"})
    ids = [str(2**60 + number) for number in range(5000)]
    member = {"user": {"id": "9", "username": "ada"}, "roles": ids}
    source.dispatch("GUILD_CREATE", 2, {"id": str(GUILD), "name": "g", "voice_states": [], "members": [member]})
    assert [event["type"] for _, _, event in queue.events] == ["guild_update", "voice_snapshot"]
    assert sum(source.untranslated.values()) == 1
