"""Lines to stream entries: which partition, in what order, with which heartbeats between them.

What comes out of a partition is in the order of the lines that went in, whatever the sessions, so
that a replay means what a loop over the file would mean. An entry holds lines of one session. Lines
go through byte for byte; only one that names no source has it written in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import orjson

from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.codec import MAX_AHEAD_MS, MAX_ENTRY_BYTES, PACK_BYTES, PACK_EVENTS, EventReader, UnknownType
from guildstream.errors import InvalidEvent
from guildstream.event_types import AnyEvent
from guildstream.events import CONTRACT_VERSION, MAX_EVENT_BYTES, MAX_ID, Event
from guildstream.keys import partition_of
from guildstream.replay.entries import Entry, PackCounts

__all__ = ["BEAT_EVERY_MS", "LinePacker"]

#: A session's heartbeat is due when its time has moved on by this much.
BEAT_EVERY_MS: Final = 60_000

_GUILD = re.compile(rb'"guild_id"\s*:\s*"?(\d{1,19})\b')
_decode: Callable[[bytes], Any] = msgspec.json.Decoder(AnyEvent).decode
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)


class _Flow:
    """What one session has published: its running maximum of ``ts`` and the partitions it wrote."""

    __slots__ = ("beat_ms", "high_ms", "opening", "partitions")

    def __init__(self, session: str, shard: int | None, ts: int) -> None:
        self.high_ms = ts
        self.beat_ms = ts
        # The time up to which each partition has been told.
        self.partitions: dict[int, int] = {}
        source = {"v": CONTRACT_VERSION, "type": "heartbeat", "session": session}
        self.opening = orjson.dumps(source if shard is None else {**source, "shard": shard})[:-1]

    def heartbeat(self, *, final: bool = False) -> bytes:
        return b'%b,"ts":%d%b}' % (self.opening, self.high_ms, b',"data":{"final":true}' if final else b"")


class _Pack:
    """A partition's open entry."""

    __slots__ = ("flow", "lines", "room")

    def __init__(self) -> None:
        self.flow: _Flow | None = None
        self.lines: list[bytes] = []
        self.room = 0


class LinePacker:
    """Turns lines of events into entries.

    Args:
        partitions: P.
        clock: decides what is too far in the future.
    """

    def __init__(self, partitions: int, *, clock: Clock = SYSTEM_CLOCK) -> None:
        self.counts = PackCounts()
        self._partitions = partitions
        self._clock = clock
        self._reader = EventReader()
        self._flows: dict[str, _Flow] = {}
        self._packs = [_Pack() for _ in range(partitions)]
        self._ready: list[Entry] = []
        self._ready_bytes = 0
        self._number = 0
        self._name: Callable[[], str] | None = None
        self._file_session: str | None = None
        self._nameless = False
        self._now_ms = 0

    @property
    def ready_bytes(self) -> int:
        """Bytes of the entries that ``take`` would give."""
        return self._ready_bytes

    def begin_file(self, name: Callable[[], str]) -> None:
        """Begin a file.

        Args:
            name: gives the session of lines that name none; called when the first such line appears.
        """
        self._number, self._name, self._file_session, self._nameless = 0, name, None, False

    def feed(self, lines: Sequence[bytes]) -> None:
        """Take the next lines of the file, empty ones included."""
        self.counts.lines += len(lines)
        latest_ms = self._look_at_clock() + MAX_AHEAD_MS
        flows, packs, partitions = self._flows, self._packs, self._partitions
        for line in lines:
            self._number += 1
            if self._nameless or len(line) > MAX_EVENT_BYTES:
                self._feed_odd(line)
                continue
            try:
                event = _decode(line)
            except _UNREADABLE:
                self._feed_odd(line)
                continue
            guild_id, ts = event.guild_id, event.ts
            if (
                ts > latest_ms
                or guild_id.__class__ is not int
                or event.channel_id.__class__ is str
                or event.user_id.__class__ is str
                or event.seq < 0
                or event.v != CONTRACT_VERSION
            ):
                self._feed_odd(line)
                continue
            flow = flows.get(event.session)
            if flow is None:
                flow = flows[event.session] = _Flow(event.session, event.shard, ts)
            partition = (guild_id >> 22) % partitions
            if ts < flow.high_ms:
                self._tell(flow, partition)
            pack = packs[partition]
            if pack.flow is not flow or len(line) >= pack.room or len(pack.lines) >= PACK_EVENTS:
                self._close(partition)
                self._open(partition, flow)
            pack.lines.append(line)
            pack.room -= len(line) + 1
            if ts > flow.high_ms:
                self._advance(flow, ts)

    def end_file(self) -> None:
        """End a file that another one follows: its sessions' watermarks stand at their latest time.

        The session that is the file itself has ended for good. One that the lines name may go on in
        the next file, so it gets its final heartbeat from ``finish``.
        """
        ended = None if self._file_session is None else self._flows.pop(self._file_session, None)
        if ended is not None:
            self._beat(ended, final=True)
        for flow in self._flows.values():
            if flow.high_ms > min(flow.partitions.values(), default=flow.high_ms):
                self._beat(flow)

    def finish(self) -> None:
        """End all sessions: a final heartbeat at its latest time to every partition that each wrote."""
        for flow in self._flows.values():
            self._beat(flow, final=True)
        self._flows.clear()
        self.flush()

    def flush(self) -> None:
        """Close every open entry, so that ``take`` gives all there is."""
        for partition in range(self._partitions):
            self._close(partition)

    def take(self) -> list[Entry]:
        """The entries closed since the last call, in order within each partition."""
        ready, self._ready, self._ready_bytes = self._ready, [], 0
        return ready

    def _look_at_clock(self) -> int:
        self._now_ms = self._clock.now_ms()
        return self._now_ms

    def _advance(self, flow: _Flow, ts: int) -> None:
        flow.high_ms = ts
        if ts - flow.beat_ms >= BEAT_EVERY_MS:
            self._beat(flow)

    def _beat(self, flow: _Flow, *, final: bool = False) -> None:
        payload = flow.heartbeat(final=final)
        flow.beat_ms = flow.high_ms
        for partition in flow.partitions:
            self._append(partition, flow, payload)
            flow.partitions[partition] = flow.high_ms
        self.counts.heartbeats += len(flow.partitions)

    def _tell(self, flow: _Flow, partition: int) -> None:
        """Before a late line: let its partition know how late it is."""
        if flow.partitions.get(partition, 0) < flow.high_ms:
            self._append(partition, flow, flow.heartbeat())
            flow.partitions[partition] = flow.high_ms
            self.counts.heartbeats += 1

    def _append(self, partition: int, flow: _Flow, line: bytes) -> None:
        pack = self._packs[partition]
        if pack.flow is not flow or len(line) >= pack.room or len(pack.lines) >= PACK_EVENTS:
            self._close(partition)
            self._open(partition, flow)
        pack.lines.append(line)
        pack.room -= len(line) + 1

    def _open(self, partition: int, flow: _Flow) -> None:
        pack = self._packs[partition]
        pack.flow, pack.lines, pack.room = flow, [], PACK_BYTES
        flow.partitions.setdefault(partition, 0)

    def _close(self, partition: int) -> None:
        pack = self._packs[partition]
        if not (lines := pack.lines):
            return
        single = len(lines) == 1
        self._emit(Entry(partition, b"e" if single else b"b", lines[0] if single else b"\n".join(lines), len(lines)))
        pack.flow, pack.lines, pack.room = None, [], 0

    def _emit(self, entry: Entry) -> None:
        self._ready.append(entry)
        self._ready_bytes += len(entry.payload)
        self.counts.events += entry.events

    def _feed_odd(self, line: bytes) -> None:
        """A line that is empty, names no source, has no guild, writes its ids as strings, or is bad."""
        if not line.strip():
            self.counts.lines -= 1
            return
        named = self._named(line)
        try:
            event = self._reader.read(named, self._now_ms)
        except UnknownType:
            self.counts.unknown += 1
            self._alone(named)
        except InvalidEvent as error:
            self.counts.bad[error.reason] += 1
            self._alone(line if error.reason == "not_json" else named)
        else:
            self._feed_checked(event, named)

    def _feed_checked(self, event: Event, line: bytes) -> None:
        flow = self._flows.get(event.session)
        if flow is None:
            flow = self._flows[event.session] = _Flow(event.session, event.shard, event.ts)
        if event.type == "heartbeat":
            for partition in flow.partitions:
                self._append(partition, flow, line)
        else:
            # A gap of a whole shard has no guild; one partition is enough to record it once.
            guild_id = event.guild_id
            partition = 0 if guild_id is None else partition_of(int(guild_id), self._partitions)
            if event.ts < flow.high_ms:
                self._tell(flow, partition)
            self._append(partition, flow, line)
        if event.ts > flow.high_ms:
            self._advance(flow, event.ts)

    def _alone(self, line: bytes) -> None:
        """A bad line: as it is, in an entry of its own, so that its neighbours are not touched."""
        partition = _partition_of_bad(line, self._partitions)
        self._close(partition)
        self._emit(Entry(partition, b"e", line[:MAX_ENTRY_BYTES], 1))

    def _named(self, line: bytes) -> bytes:
        """The line with the file's session and its own number, where it has neither."""
        mentioned = b'"session"' in line or b'"seq"' in line
        if mentioned or self._file_session is None:
            self._nameless = len(line) <= MAX_EVENT_BYTES and _names_nothing(line)
            if not self._nameless or self._name is None:
                return line
            if self._file_session is None:
                self._file_session = self._name()
        body = line.lstrip()
        if not body.startswith(b"{"):
            return line
        rest = body[1:].lstrip()
        head = b'{"session":"%b","seq":%d' % (self._file_session.encode(), self._number)
        return head + (b"" if rest.startswith(b"}") else b",") + rest


def _names_nothing(line: bytes) -> bool:
    """Whether an object has neither key, though the words occur somewhere in it."""
    try:
        loose = orjson.loads(line)
    except orjson.JSONDecodeError:
        return False
    return isinstance(loose, dict) and "session" not in loose and "seq" not in loose


def _partition_of_bad(line: bytes, partitions: int) -> int:
    """The partition of a bad line's guild if that can be told, else 0."""
    found = _GUILD.search(line)
    guild_id = int(found[1]) if found else 0
    return partition_of(guild_id, partitions) if 1 <= guild_id <= MAX_ID else 0
