"""Consumers of the events streams besides the processor: trimming waits for those that are registered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import redis

from guildstream.clock import SYSTEM_CLOCK
from guildstream.errors import StreamDamaged
from guildstream.keys import Keys, PartitionKeys

__all__ = [
    "COUNTED_ENTRIES",
    "PROCESSOR",
    "SINK",
    "ConsumerPosition",
    "EntriesTrimmed",
    "EventsConsumer",
    "consumer_positions",
    "count_after",
]

#: The name by which the processor's own position is shown; it is no entry of the hash of consumers.
PROCESSOR: Final = "processor"
SINK: Final = "sink"

#: Counts the entries behind an id up to a limit: Redis can't tell, and ids have gaps.
_COUNT_AFTER: Final = """
local from, counted = '(' .. ARGV[1], 0
while counted < tonumber(ARGV[2]) do
    local page = redis.call('XRANGE', KEYS[1], from, '+', 'COUNT', 100)
    counted = counted + #page
    if #page < 100 then break end
    from = '(' .. page[#page][1]
end
return counted
"""
#: How far entries are counted.
COUNTED_ENTRIES: Final = 5_000


class EntriesTrimmed(StreamDamaged):
    """A consumer asked for entries that are gone: it was not registered, or was dropped, when they were trimmed."""


@dataclass(frozen=True, slots=True)
class ConsumerPosition:
    """Where one consumer stands in one partition.

    Attributes:
        name: of the consumer.
        partition: which one.
        position: the last entry that it is done with; ``0-0`` for none.
        entries: entries behind its position, counted up to 5,000.
        seconds: age of the oldest of them; 0 where there is none.
        held_entries: of those, how many all others are done with: what it alone holds back.
    """

    name: str
    partition: int
    position: str
    entries: int
    seconds: float
    held_entries: int


class EventsConsumer:
    """A reader of the events streams that trimming waits for. Every method blocks and may be repeated.

    Args:
        client: Redis.
        keys: the deployment's key names.
        name: of the consumer; the processor and the sink have theirs.
    """

    def __init__(self, client: redis.Redis, keys: Keys, name: str) -> None:
        if name == PROCESSOR:
            raise ValueError("the processor's position is its own; choose another name")
        self._client = client
        self._keys = keys
        self._name = name

    def register(self, partition: int, position: str = "0-0") -> str:
        """Have trimming wait from now on; where the consumer is known, nothing changes.

        Args:
            partition: which one.
            position: the last entry that needs not be kept.

        Returns:
            The position to read on from: the registered one.

        Raises:
            EntriesTrimmed: entries behind the position are gone already. It stays registered.
        """
        names = self._keys.partition(partition)
        self._client.hsetnx(names.consumers, self._name, position)
        found: Any = self._client.hget(names.consumers, self._name)
        self._check(names, found.decode())
        return str(found.decode())

    def read(self, partition: int, after: str, *, count: int = 100) -> list[tuple[str, dict[bytes, bytes]]]:
        """The next entries, oldest first; empty where there is none yet.

        Raises:
            EntriesTrimmed: some of them are gone; the message says why, and what to do.
        """
        names = self._keys.partition(partition)
        page: Any = self._client.xrange(names.events, min=f"({after}", count=count)
        # After the read: what was there then is complete if its beginning still is.
        self._check(names, after)
        return [(entry_id.decode(), fields) for entry_id, fields in page]

    def done(self, partition: int, position: str) -> None:
        """Say that nothing up to this entry is needed any more."""
        self._client.hset(self._keys.partition(partition).consumers, self._name, position)

    def _check(self, names: PartitionKeys, after: str) -> None:
        """Trimming keeps the entry that the slowest consumer is done with: where it is gone, so may be others."""
        if after == "0-0":
            whole = not _was_trimmed(self._client, names)
        else:
            whole = bool(self._client.xrange(names.events, min=after, max=after, count=1))
        if whole:
            return
        first: Any = self._client.xrange(names.events, count=1)
        registered = self._client.hexists(names.consumers, self._name)
        raise EntriesTrimmed(
            f"{names.events}: consumer {self._name!r} asks for what follows {after}, but the stream begins at "
            f"{first[0][0].decode() if first else 'nothing'}: entries in between were trimmed. It "
            f"{'was' if registered else 'is'} not registered when that happened (`guildstream consumers list`), and "
            "trimming waits only for registered consumers. Begin from the first entry that is left, and count what "
            "is missing as missed; GUILDSTREAM_KEEP_EVENTS_SECONDS keeps entries longer"
        )


def consumer_positions(client: redis.Redis, keys: Keys, partitions: int) -> list[ConsumerPosition]:
    """All consumers of all partitions, the processor first in each. Counting costs, so don't ask all the time."""
    now_ms = SYSTEM_CLOCK.now_ms()
    found = []
    for partition in range(partitions):
        names = keys.partition(partition)
        offset: Any = client.hget(names.offset, "last_id")
        others: Any = client.hgetall(names.consumers)
        positions = {PROCESSOR: (offset or b"0-0").decode()}
        positions |= {name.decode(errors="replace"): value.decode() for name, value in sorted(others.items())}
        behind = {name: _behind(client, names, position) for name, position in positions.items()}
        for name, position in positions.items():
            rest = [entries for other, (entries, _) in behind.items() if other != name]
            entries, oldest_ms = behind[name]
            found.append(
                ConsumerPosition(
                    name=name,
                    partition=partition,
                    position=position,
                    entries=entries,
                    seconds=max(0, now_ms - oldest_ms) / 1000 if oldest_ms else 0.0,
                    held_entries=max(0, entries - max(rest, default=0)) if rest else 0,
                )
            )
    return found


def count_after(client: Any, stream: str, after: str, limit: int = COUNTED_ENTRIES) -> Any:
    """How many entries follow an id, up to a limit; on a pipeline, the pipeline."""
    return client.eval(_COUNT_AFTER, 1, stream, after, limit)


def _behind(client: redis.Redis, names: PartitionKeys, position: str) -> tuple[int, int]:
    """Entries behind a position, and the time in the id of the oldest of them; 0 for none."""
    oldest: Any = client.xrange(names.events, min=f"({position}", count=1)
    if not oldest:
        return 0, 0
    return int(count_after(client, names.events, position)), int(oldest[0][0].partition(b"-")[0])


def _was_trimmed(client: redis.Redis, names: PartitionKeys) -> bool:
    """Whether a stream has lost its beginning: fewer committed entries are left than were committed."""
    offset: Any = client.hmget(names.offset, ["last_id", "entries"])
    last_id, committed = (offset[0] or b"0-0").decode(), int(offset[1] or 0)
    first: Any = client.xrange(names.events, min="-", max=last_id, count=1)
    if not committed or not first:
        return bool(committed)
    length: Any = client.xlen(names.events)
    waiting = int(count_after(client, names.events, last_id, int(length)))
    return int(length) - waiting < committed
