"""The event contract: what is accepted, what is refused with which reason, and packing that loses nothing."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import orjson
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from guildstream.codec import (
    MAX_AHEAD_MS,
    PACK_BYTES,
    PACK_EVENTS,
    EventReader,
    UnknownType,
    entry_payloads,
    pack_events,
    split_packed,
)
from guildstream.errors import InvalidEvent
from guildstream.event_ids import event_uuid
from guildstream.event_types import EVENT_TYPES
from guildstream.events import MAX_EVENT_BYTES, MAX_ID
from guildstream.keys import partition_of

NOW_MS = 1_760_000_000_000
GUILD = 41_771_983_423_143_937
READER = EventReader(24, partition_of(GUILD, 24))
GOOD: dict[str, Any] = {
    "v": 1,
    "type": "message_create",
    "ts": NOW_MS,
    "guild_id": GUILD,
    "channel_id": 7,
    "user_id": 9,
    "session": "s",
    "seq": 1,
    "data": {"message_id": 5, "chars": 3},
}


def read(**changes: Any) -> Any:
    event = {key: value for key, value in (GOOD | changes).items() if value is not ...}
    return READER.read(json.dumps(event).encode(errors="surrogatepass"), NOW_MS)


def test_ids_may_be_decimal_strings_and_are_ints_afterwards() -> None:
    event = read(guild_id=str(GUILD), channel_id="7", user_id=str(MAX_ID))
    assert (event.guild_id, event.channel_id, event.user_id) == (GUILD, 7, MAX_ID)


def test_unknown_keys_are_ignored() -> None:
    assert read(mood="fine", data={"message_id": 5, "colour": "red"}).data.chars is None


def test_a_heartbeat_needs_neither_guild_nor_seq() -> None:
    event = read(type="heartbeat", guild_id=..., seq=..., data={"final": True})
    assert event.data.final


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"guild_id": ...}, "missing_key"),
        ({"guild_id": None}, "missing_key"),
        ({"user_id": ...}, "missing_key"),
        ({"session": ...}, "missing_key"),
        ({"seq": ...}, "missing_key"),
        ({"data": {}}, "missing_key"),
        ({"guild_id": 2**63}, "id_out_of_range"),
        ({"guild_id": 0}, "id_out_of_range"),
        ({"guild_id": "-5"}, "id_out_of_range"),
        ({"user_id": str(2**63)}, "id_out_of_range"),
        ({"user_id": 2**64}, "id_out_of_range"),
        ({"data": {"message_id": 2**63}}, "id_out_of_range"),
        ({"ts": 946_684_799_999}, "time_out_of_range"),
        ({"ts": NOW_MS + MAX_AHEAD_MS + 1}, "time_in_the_future"),
        ({"ts": "2026-01-01"}, "wrong_type"),
        ({"seq": 1.5}, "wrong_type"),
        ({"replayed": "yes"}, "wrong_type"),
        ({"v": 2}, "unsupported_version"),
        ({"guild_id": 5}, "wrong_partition"),
        ({"note": "x" * MAX_EVENT_BYTES}, "too_large"),
    ],
)
def test_what_breaks_the_contract_is_refused_by_its_reason(changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        read(**changes)
    assert caught.value.reason == reason
    assert caught.value.detail


@pytest.mark.parametrize(
    ("payload", "reason"),
    [(b"", "not_json"), (b"{", "not_json"), (b"\xff", "not_json"), (b"[]", "not_an_object"), (b"7", "not_an_object")],
)
def test_what_is_no_object_is_refused(payload: bytes, reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        READER.read(payload, NOW_MS)
    assert caught.value.reason == reason


def test_a_time_ten_minutes_ahead_is_the_last_that_passes() -> None:
    assert read(ts=NOW_MS + MAX_AHEAD_MS).ts == NOW_MS + MAX_AHEAD_MS


def test_an_unknown_type_is_no_error_of_its_sender() -> None:
    with pytest.raises(UnknownType):
        read(type="telepathy", guild_id=...)
    assert "telepathy" not in EVENT_TYPES


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_raise_anything_else(payload: bytes) -> None:
    with suppress(InvalidEvent, UnknownType):
        READER.read(payload, NOW_MS)


@given(st.recursive(st.none() | st.booleans() | st.integers(-(2**64), 2**64) | st.text(), st.lists, max_leaves=4))
def test_no_value_in_any_field_makes_it_raise_anything_else(value: Any) -> None:
    for field in GOOD:
        with suppress(InvalidEvent, UnknownType):
            read(**{field: value})


@given(
    st.lists(st.binary(max_size=5_000).map(lambda raw: raw.replace(b"\n", b"") or b"x"), max_size=500), st.booleans()
)
def test_packing_loses_nothing_and_keeps_the_order(payloads: list[bytes], compress: bool) -> None:
    found: list[bytes] = []
    for fields in pack_events(payloads, compress=compress):
        payload, packed = entry_payloads(fields)
        lines = split_packed(payload) if packed else [payload]
        assert len(lines) <= PACK_EVENTS
        assert len(lines) == 1 or len(payload) <= PACK_BYTES
        found += lines
    assert found == payloads


def test_a_packed_entry_with_one_bad_event_is_left_to_the_careful_path() -> None:
    good = orjson.dumps(GOOD)
    assert len(READER.read_lines(b"\n".join([good, good]), NOW_MS) or ()) == 2
    assert READER.read_lines(b"\n".join([good, b"{"]), NOW_MS) is None


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "no_event_field"),
        ({b"x": b"1"}, "no_event_field"),
        ({b"e": b"x" * (1024 * 1024 + 1)}, "entry_too_large"),
        ({b"z": b"nonsense"}, "not_zstd"),
        ({b"z": zstandard.compress(b"x" * 50_000_000)}, "entry_too_large"),
    ],
)
def test_an_entry_that_cannot_be_read_says_why(fields: dict[bytes, bytes], reason: str) -> None:
    with pytest.raises(InvalidEvent) as caught:
        entry_payloads(fields)
    assert caught.value.reason == reason


@given(
    st.lists(
        st.tuples(st.sampled_from("ab"), st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1)), unique=True, max_size=50
    )
)
def test_event_ids_differ_and_are_uuids_of_version_8(identities: list[tuple[str, int, int]]) -> None:
    ids = [event_uuid(*identity) for identity in identities]
    assert len(set(ids)) == len(ids)
    assert all(made[6] >> 4 == 8 and made[8] >> 6 == 2 for made in ids)
