"""Bytes to events and back: the strict reader of DESIGN §3, and what packs events into entries.

A Redis Streams entry carries one event in field ``e``, several of one source in field ``b`` (one JSON
object a line), or ``b`` zstd-compressed in field ``z``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec
import orjson
import zstandard

from guildstream.errors import InvalidEvent, PoisonError, UnsupportedVersion
from guildstream.event_types import EVENT_TYPES, AnyEvent
from guildstream.events import (
    CONTRACT_VERSION,
    MAX_EVENT_BYTES,
    MIN_TS_MS,
    Event,
    snowflake,
)
from guildstream.keys import partition_of

__all__ = [
    "MAX_AHEAD_MS",
    "MAX_ENTRY_BYTES",
    "PACK_BYTES",
    "PACK_EVENTS",
    "EventReader",
    "UnknownType",
    "encode_event",
    "entry_payloads",
    "pack_events",
    "split_packed",
]

#: How far after its entry's stream id an event's time may lie.
MAX_AHEAD_MS: Final = 10 * 60_000
MAX_ENTRY_BYTES: Final = 1024 * 1024
#: What a publisher packs into one entry at most (DESIGN §5.1), or one larger event.
PACK_EVENTS: Final = 200
PACK_BYTES: Final = 64 * 1024

#: Guilds of one partition that a reader remembers.
_RESIDENTS: Final = 100_000

_PATH = re.compile(r"at `\$\.?([^`]*)`")
_MISSING = re.compile(r"missing required field `([^`]*)`")
_ID_FIELDS = ("_id", "reply_to", "thread_of", "roles", "_ids")
_WITHOUT_GUILD = frozenset({"heartbeat", "gap"})


class UnknownType(PoisonError):
    """An event of a type that this release does not know: counted and skipped, not dead-lettered.

    Attributes:
        type: the type's name.
    """

    def __init__(self, type_name: str) -> None:
        super().__init__(f"event type {type_name[:80]!r} is not known to this release")
        self.type = type_name


@dataclass(slots=True)
class EventReader:
    """Decodes and checks the events of one partition.

    Attributes:
        partitions: P, or None to skip the check that a guild lives in this partition.
        partition: the partition's number.
    """

    partitions: int | None = None
    partition: int = 0
    #: Guilds found to live here, so that most events need no closer look; bounded.
    _residents: set[int] = field(default_factory=set[int])

    def read(self, payload: bytes, entry_ms: int) -> Event:
        """One event.

        Args:
            payload: the JSON object.
            entry_ms: the time in its entry's stream id, milliseconds.

        Raises:
            InvalidEvent: it breaks the contract; ``reason`` and ``detail`` say how.
            UnknownType: it is well-formed, of a type that this release does not know.
        """
        if len(payload) > MAX_EVENT_BYTES:
            raise InvalidEvent("too_large", f"an event of {len(payload)} bytes; the limit is {MAX_EVENT_BYTES}")
        try:
            event: Event = _decoder.decode(payload)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise _explain(payload, error) from error
        self._check(event, entry_ms + MAX_AHEAD_MS)
        return event

    def read_lines(self, packed: bytes, entry_ms: int) -> list[Event] | None:
        """All events of a packed entry in one pass, or None if any of them needs a closer look."""
        if len(packed) > MAX_EVENT_BYTES:
            return None
        try:
            events = _decoder.decode_lines(packed)
            latest_ms = entry_ms + MAX_AHEAD_MS
            residents, check = self._residents, self._check
            for event in events:
                # What nearly every event is like passes here; `_check` decides on all others.
                if not (
                    event.guild_id in residents
                    and event.ts <= latest_ms
                    and event.seq >= 0
                    and event.v == CONTRACT_VERSION
                    and event.user_id.__class__ is int
                    and event.channel_id.__class__ is int
                ):
                    check(event, latest_ms)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, PoisonError):
            return None
        return events

    def _check(self, event: Event, latest_ms: int) -> None:
        """All that the types don't say; ids become ints."""
        if event.v != CONTRACT_VERSION:
            raise UnsupportedVersion(f"v is {event.v}, this release reads {CONTRACT_VERSION}")
        if event.ts > latest_ms:
            raise InvalidEvent(
                "time_in_the_future",
                f"ts {event.ts} is {event.ts - latest_ms + MAX_AHEAD_MS} ms after its entry was written; "
                f"{MAX_AHEAD_MS} are allowed. Is the publisher's clock right, and ts in milliseconds?",
            )
        self._check_guild(event)
        if isinstance(event.channel_id, str):
            event.channel_id = snowflake(event.channel_id)
        if isinstance(event.user_id, str):
            event.user_id = snowflake(event.user_id)
        for name in event.needs:
            if getattr(event, name) is None:
                raise InvalidEvent("missing_key", f"{event.type} needs {name}")
        if event.seq < 0 and event.type != "heartbeat":
            raise InvalidEvent("missing_key", f"{event.type} needs seq: (session, seq, part) identifies an event")

    def _check_guild(self, event: Event) -> None:
        if event.guild_id is None:
            if event.type not in _WITHOUT_GUILD:
                raise InvalidEvent("missing_key", f"{event.type} needs guild_id")
            return
        guild_id = event.guild_id = snowflake(event.guild_id)
        if self.partitions is not None and partition_of(guild_id, self.partitions) != self.partition:
            raise InvalidEvent(
                "wrong_partition",
                f"guild {guild_id} lives in partition {partition_of(guild_id, self.partitions)} of "
                f"{self.partitions}, the entry is in {self.partition}: (guild_id >> 22) % partitions",
            )
        if len(self._residents) < _RESIDENTS:
            self._residents.add(guild_id)


def entry_payloads(fields: Mapping[bytes, bytes]) -> tuple[bytes, bool]:
    """The payload of an entry's fields.

    Returns:
        The JSON, and whether it is packed: one object a line.

    Raises:
        InvalidEvent: the entry has none of the fields ``e``, ``b``, ``z``, is too large, or can't be
            decompressed.
    """
    payload = fields.get(b"b")
    packed = payload is not None
    if payload is None:
        payload = fields.get(b"e")
    if payload is None:
        compressed = fields.get(b"z")
        if compressed is None:
            names = ", ".join(sorted(repr(name.decode(errors="replace"))[:40] for name in fields)) or "none"
            raise InvalidEvent("no_event_field", f"an entry needs field e, b or z; it has {names}")
        payload, packed = _decompress(compressed), True
    if len(payload) > MAX_ENTRY_BYTES:
        raise InvalidEvent("entry_too_large", f"an entry of {len(payload)} bytes; the limit is {MAX_ENTRY_BYTES}")
    return payload, packed


def split_packed(payload: bytes) -> list[bytes]:
    """The payloads of a packed entry, one a line; a newline at the end begins no other.

    This numbers positions: worker and sink must agree on it.
    """
    return payload.removesuffix(b"\n").split(b"\n")


def encode_event(event: Mapping[str, Any]) -> bytes:
    """An event as the JSON that an entry carries. Bytes, floats and the like raise ``TypeError``."""
    return orjson.dumps(event)


def pack_events(payloads: Iterable[bytes], *, compress: bool = False) -> Iterator[dict[bytes, bytes]]:
    """Entries' fields for events of one source and one partition, in order.

    Each entry takes at most ``PACK_EVENTS`` events and ``PACK_BYTES`` bytes, or one larger event.
    """
    lines: list[bytes] = []
    size = 0
    for payload in payloads:
        if lines and (len(lines) >= PACK_EVENTS or size + len(payload) + 1 > PACK_BYTES):
            yield _entry(lines, compress)
            lines, size = [], 0
        lines.append(payload)
        size += len(payload) + 1
    if lines:
        yield _entry(lines, compress)


def _entry(lines: Sequence[bytes], compress: bool) -> dict[bytes, bytes]:
    if compress:
        return {b"z": zstandard.compress(b"\n".join(lines))}
    return {b"e": lines[0]} if len(lines) == 1 else {b"b": b"\n".join(lines)}


def _decompress(compressed: bytes) -> bytes:
    try:
        with zstandard.ZstdDecompressor().stream_reader(compressed) as reader:
            return reader.read(MAX_ENTRY_BYTES + 1)
    except zstandard.ZstdError as error:
        raise InvalidEvent("not_zstd", f"field z can't be decompressed: {error}") from error


_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(AnyEvent)


def _explain(payload: bytes, error: Exception) -> PoisonError:  # noqa: PLR0911 - one return a reason
    """The reason behind a failed decoding; slow, since it is the exception."""
    try:
        loose = orjson.loads(payload)
    except orjson.JSONDecodeError as not_json:
        return InvalidEvent("not_json", f"{not_json}; the event begins {payload[:60]!r}")
    if not isinstance(loose, dict):
        return InvalidEvent("not_an_object", f"an event is a JSON object, this is a {type(loose).__name__}")
    version, type_name = loose.get("v"), loose.get("type")
    if version != CONTRACT_VERSION and isinstance(version, int):
        return UnsupportedVersion(f"v is {version}, this release reads {CONTRACT_VERSION}")
    if isinstance(type_name, str) and type_name not in EVENT_TYPES and version == CONTRACT_VERSION:
        return UnknownType(type_name)
    text = str(error)
    if missing := _MISSING.search(text):
        return InvalidEvent("missing_key", f"the event has no {missing[1]!r}")
    path = found[1] if (found := _PATH.search(text)) else ""
    if path == "ts" and ">=" in text:
        return InvalidEvent("time_out_of_range", f"ts is before the year 2000 ({MIN_TS_MS} ms); is it in milliseconds?")
    if path.removesuffix("[...]").endswith(_ID_FIELDS):
        return InvalidEvent("id_out_of_range", f"ids are 1 to 2^63-1, as ints or decimal strings: {text}")
    return InvalidEvent("wrong_type", text)
