"""Laws of the way from lines to entries, held against what a reader of the streams would see."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildstream.codec import MAX_AHEAD_MS, MAX_ENTRY_BYTES, PACK_BYTES, PACK_EVENTS, EventReader
from guildstream.events import MAX_EVENT_BYTES
from guildstream.keys import partition_of
from guildstream.replay.entries import Entry
from guildstream.replay.packing import BEAT_EVERY_MS, LinePacker

PARTITIONS = 4
START_MS = 1_700_000_000_000
NOW_MS = START_MS + 400 * 86_400_000
NAME = "f" * 64


@dataclass
class FrozenClock:
    def monotonic(self) -> float:
        return 0.0

    def now_ms(self) -> int:
        return NOW_MS


def guild(number: int) -> int:
    return (number + 1) << 22


def message(session: str, seq: int, ts: int, guild_number: int, **more: object) -> dict[str, object]:
    return {
        "v": 1,
        "type": "message_create",
        "ts": ts,
        "guild_id": guild(guild_number),
        "channel_id": 7,
        "user_id": 8,
        "session": session,
        "seq": seq,
        "data": {"message_id": seq + 1},
        **more,
    }


def line_of(event: object) -> bytes:
    return json.dumps(event).encode()


def pack(lines: list[bytes], *, cuts: list[int] | None = None) -> tuple[list[Entry], LinePacker]:
    packer = LinePacker(PARTITIONS, clock=FrozenClock())
    packer.begin_file(lambda: NAME)
    edges = sorted({0, len(lines), *(cut % (len(lines) + 1) for cut in cuts or ())})
    for begin, end in pairwise(edges):
        packer.feed(lines[begin:end])
    packer.finish()
    return packer.take(), packer


def payloads_of(entries: list[Entry]) -> dict[int, list[bytes]]:
    found: dict[int, list[bytes]] = defaultdict(list)
    for entry in entries:
        found[entry.partition] += entry.payload.split(b"\n") if entry.field == b"b" else [entry.payload]
    return found


def is_heartbeat(payload: bytes) -> bool:
    return b'"type":"heartbeat"' in payload


@st.composite
def files(draw: st.DrawFn) -> list[bytes]:
    """Lines of up to three sessions over several guilds: mostly in order, some late, some bad, some empty."""
    sessions = draw(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=3, unique=True))
    clock = dict.fromkeys(sessions, START_MS)
    lines: list[bytes] = []
    for seq in range(draw(st.integers(0, 60))):
        session = draw(st.sampled_from(sessions))
        step = draw(st.sampled_from([0, 1, 500, 20_000, 59_999, 60_000, 300_000]))
        late = draw(st.sampled_from([0, 0, 0, 1, 90_000]))
        clock[session] += step
        kind = draw(st.sampled_from(["good"] * 8 + ["bad", "empty", "unknown", "future"]))
        event = message(session, seq, clock[session] - late, draw(st.integers(0, 6)))
        if kind == "bad":
            event["user_id"] = 2**63
        elif kind == "unknown":
            event["type"] = "weather"
        elif kind == "future":
            event["ts"] = NOW_MS + MAX_AHEAD_MS + 1
        lines.append({"empty": b"", "bad": line_of(event)[:-1]}.get(kind, line_of(event)))
    return lines


def readable(line: bytes) -> dict[str, int] | None:
    try:
        EventReader().read(line, NOW_MS)
    except Exception:  # noqa: BLE001 - the reader's verdict is what counts here
        return None
    event: dict[str, int] = json.loads(line)
    return event


@given(files(), st.lists(st.integers(0, 100), max_size=5))
def test_a_partition_holds_its_lines_byte_for_byte_in_file_order(lines: list[bytes], cuts: list[int]) -> None:
    entries, packer = pack(lines, cuts=cuts)
    expected: dict[int, list[bytes]] = defaultdict(list)
    for line in lines:
        if line:
            found = json.loads(line if line.endswith(b"}}") else line + b"}")
            expected[partition_of(found["guild_id"], PARTITIONS)].append(line)
    published = {
        partition: [payload for payload in payloads if not is_heartbeat(payload)]
        for partition, payloads in payloads_of(entries).items()
    }
    assert {key: value for key, value in published.items() if value} == expected
    assert packer.counts.lines == sum(map(len, expected.values()))
    assert packer.counts.events == sum(entry.events for entry in entries)


@given(files(), st.lists(st.integers(0, 100), max_size=5))
def test_how_the_file_is_cut_makes_no_difference(lines: list[bytes], cuts: list[int]) -> None:
    assert pack(lines, cuts=cuts)[0] == pack(lines)[0]


@given(files())
def test_an_entry_is_small_and_of_one_source(lines: list[bytes]) -> None:
    for entry in pack(lines)[0]:
        payloads = entry.payload.split(b"\n") if entry.field == b"b" else [entry.payload]
        assert len(payloads) == entry.events <= PACK_EVENTS
        if entry.field == b"b":
            assert len(entry.payload) <= PACK_BYTES
            assert len({json.loads(payload)["session"] for payload in payloads}) == 1


@given(files())
def test_bad_lines_travel_alone(lines: list[bytes]) -> None:
    bad = {line for line in lines if line and readable(line) is None}
    for entry in pack(lines)[0]:
        if entry.field == b"b":
            assert not bad.intersection(entry.payload.split(b"\n"))


@given(files())
def test_a_late_line_meets_the_watermark_that_its_session_had_reached(lines: list[bytes]) -> None:
    """Also: no heartbeat says more than the session's lines did, and bad lines move nothing."""
    high: dict[str, int] = {}
    reached: dict[bytes, int] = {}
    late: set[bytes] = set()
    for line in lines:
        if line and (event := readable(line)):
            session = str(event["session"])
            if event["ts"] < high.get(session, 0):
                late.add(line)
            high[session] = max(high.get(session, 0), event["ts"])
            reached[line] = high[session]
    for payloads in payloads_of(pack(lines)[0]).values():
        told: dict[str, int] = {}
        for payload in payloads:
            if is_heartbeat(payload):
                beat = json.loads(payload)
                assert beat["ts"] >= told.get(beat["session"], 0)
                assert beat["ts"] <= high[beat["session"]]
                told[beat["session"]] = beat["ts"]
            elif payload in reached:
                session = json.loads(payload)["session"]
                assert told.get(session, 0) <= reached[payload]
                if payload in late:
                    assert told[session] == reached[payload]


@given(files())
def test_every_partition_that_a_session_wrote_learns_its_end(lines: list[bytes]) -> None:
    high: dict[str, int] = {}
    wrote: dict[str, set[int]] = defaultdict(set)
    for line in lines:
        if line and (event := readable(line)):
            session = str(event["session"])
            high[session] = max(high.get(session, 0), event["ts"])
            wrote[session].add(partition_of(event["guild_id"], PARTITIONS))
    finals: dict[str, set[int]] = defaultdict(set)
    for partition, payloads in payloads_of(pack(lines)[0]).items():
        for payload in payloads:
            if b'"final":true' in payload:
                beat = json.loads(payload)
                assert beat["ts"] == high[beat["session"]]
                finals[beat["session"]].add(partition)
    assert finals == wrote


def test_a_heartbeat_follows_each_minute_of_a_session_in_all_its_partitions() -> None:
    lines = [line_of(message("s", seq, START_MS + seq * 20_000, seq % 2)) for seq in range(10)]
    beats = [
        [json.loads(payload)["ts"] for payload in payloads if is_heartbeat(payload) and b"final" not in payload]
        for payloads in payloads_of(pack(lines)[0]).values()
    ]
    minutes = [START_MS + BEAT_EVERY_MS * minute for minute in (1, 2, 3)]
    assert beats == [minutes, minutes]


def test_a_line_that_names_no_source_gets_the_file_and_its_number() -> None:
    nameless = {key: value for key, value in message("x", 0, START_MS, 1).items() if key not in {"session", "seq"}}
    lines = [b"", line_of(nameless), line_of({**nameless, "data": {"message_id": 5, "session": "inner"}}), b"{}"]
    entries, packer = pack(lines)
    events = [json.loads(payload) for payload in payloads_of(entries)[2]]
    assert [(event["session"], event.get("seq")) for event in events] == [(NAME, 2), (NAME, 3), (NAME, None)]
    assert packer.counts.bad == {"missing_key": 1}


def test_a_line_with_one_of_the_two_is_bad_and_stays_as_it_is() -> None:
    half = {key: value for key, value in message("x", 0, START_MS, 1).items() if key != "session"}
    entries, packer = pack([line_of(half)])
    assert [entry.payload for entry in entries] == [line_of(half)]
    assert packer.counts.bad == {"missing_key": 1}


@pytest.mark.parametrize("size", [MAX_EVENT_BYTES + 1, MAX_ENTRY_BYTES, MAX_ENTRY_BYTES + 5])
def test_a_line_that_is_too_large_goes_to_its_guild_cut_to_what_an_entry_holds(size: int) -> None:
    line = line_of(message("x", 0, START_MS, 1, padding="x" * size))
    entries, packer = pack([line, line_of(message("x", 1, START_MS, 1))])
    assert (entries[0].partition, entries[0].field) == (2, b"e")
    assert entries[0].payload == line[:MAX_ENTRY_BYTES]
    assert packer.counts.bad == {"too_large": 1}
    assert entries[1].events == 2


def test_ids_as_strings_are_as_good() -> None:
    lines = [line_of(message("s", seq, START_MS + seq, 1, guild_id=str(guild(1)), user_id="12")) for seq in range(3)]
    entries, packer = pack(lines)
    assert [entry.events for entry in entries] == [4]
    assert not packer.counts.bad


def test_heartbeats_in_the_file_go_to_every_partition_of_their_session() -> None:
    beat = {"v": 1, "type": "heartbeat", "ts": START_MS + 30_000, "session": "s"}
    lines = [line_of(message("s", seq, START_MS + seq, seq)) for seq in range(3)] + [line_of(beat)]
    for payloads in payloads_of(pack(lines)[0]).values():
        assert line_of(beat) in payloads
        assert json.loads(payloads[-1])["ts"] == START_MS + 30_000


def test_a_session_may_go_on_in_the_next_file() -> None:
    packer = LinePacker(PARTITIONS, clock=FrozenClock())
    for part in range(2):
        packer.begin_file(lambda: NAME)
        packer.feed([line_of(message("s", part, START_MS + part * 1000, 1))])
        if not part:
            packer.end_file()
    packer.finish()
    payloads = payloads_of(packer.take())[2]
    assert [b"final" in payload for payload in payloads] == [False, False, False, True]
    assert json.loads(payloads[1])["ts"] == START_MS
