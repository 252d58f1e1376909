"""Reads results and the events that they cover from Redis, and trims what is loaded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import redis

from guildstream.keys import Keys
from sinks.connections import redis_errors
from sinks.offsets import Offset, stream_id
from sinks.stored_events import Entry

__all__ = ["GROUP", "ResultsStreams"]

#: Consumer group on the results streams whose position shows the sink's lag.
GROUP: Final = "sink"
_READ_BYTES: Final = 16 * 1024 * 1024
_MAX_COUNT: Final = 256


class ResultsStreams:
    """The results streams of all partitions, over one connection. Every method blocks.

    All of them raise ``RedisUnavailable`` where Redis is away or busy; nothing is changed by reading, and
    trimming may be repeated.
    """

    def __init__(self, client: redis.Redis, keys: Keys, partitions: int) -> None:
        self._client = client
        self._keys = {partition: keys.partition(partition) for partition in range(partitions)}
        self._partition_of = {names.results.encode(): partition for partition, names in self._keys.items()}
        self._entry_bytes = 64 * 1024.0
        self._counts_read = _counts_entries_read(client)

    def read(self, after: Mapping[int, str], *, block_ms: int | None) -> dict[int, list[tuple[str, bytes]]]:
        """The next results entries of these partitions.

        Args:
            after: partition to the stream id after which to read.
            block_ms: how long to wait where none has any; None: not at all.

        Returns:
            Partition to ``(stream id, payload)``, in order; partitions without any are absent.
        """
        streams: dict[Any, Any] = {self._keys[partition].results: last for partition, last in after.items()}
        count = max(1, min(_MAX_COUNT, int(_READ_BYTES / self._entry_bytes / max(1, len(after)))))
        with redis_errors():
            reply: Any = self._client.xread(streams, count=count, block=block_ms)
        found: dict[int, list[tuple[str, bytes]]] = {}
        for key, entries in reply.items() if isinstance(reply, dict) else reply:
            rows = entries[0] if isinstance(reply, dict) else entries
            found[self._partition_of[key]] = [(entry_id.decode(), fields[b"r"]) for entry_id, fields in rows]
        self._learn_size(found)
        return found

    def events(self, ranges: Sequence[tuple[int, str, str]]) -> list[list[Entry]]:
        """All events entries of each ``(partition, after id, last id)``: the first exclusive, the second not."""
        pipe = self._client.pipeline(transaction=False)
        for partition, after_id, last_id in ranges:
            pipe.xrange(self._keys[partition].events, min=f"({after_id}", max=last_id)
        with redis_errors():
            return pipe.execute()

    def commits(self) -> dict[int, int]:
        """The number of the last commit that Redis knows, by partition."""
        pipe = self._client.pipeline(transaction=False)
        for names in self._keys.values():
            pipe.hget(names.offset, "commit")
        with redis_errors():
            return {partition: int(value or 0) for partition, value in zip(self._keys, pipe.execute(), strict=True)}

    def lengths(self) -> dict[int, int]:
        """How many results entries wait in Redis, by partition."""
        pipe = self._client.pipeline(transaction=False)
        for names in self._keys.values():
            pipe.xlen(names.results)
        with redis_errors():
            return dict(zip(self._keys, pipe.execute(), strict=True))

    def register(self, offsets: Mapping[int, Offset]) -> None:
        """Be a consumer that trimming waits for, and make the group that shows our position, where missing."""
        pipe = self._client.pipeline(transaction=False)
        for partition, offset in offsets.items():
            names = self._keys[partition]
            pipe.hsetnx(names.consumers, "sink", offset.events_id)
            pipe.xgroup_create(names.results, GROUP, id=offset.results_id, mkstream=True)
        with redis_errors():
            _raise_unless(pipe.execute(raise_on_error=False), "BUSYGROUP")

    def done(self, offsets: Mapping[int, Offset]) -> None:
        """Say that everything up to these offsets is loaded, and trim it from the results."""
        pipe = self._client.pipeline(transaction=False)
        for partition, offset in offsets.items():
            names = self._keys[partition]
            milliseconds, sequence = stream_id(offset.results_id)
            pipe.hset(names.consumers, "sink", offset.events_id)
            pipe.xtrim(names.results, minid=f"{milliseconds}-{sequence + 1}", approximate=False)
            read = offset.commit if self._counts_read else None
            pipe.xgroup_setid(names.results, GROUP, offset.results_id, entries_read=read)
        with redis_errors():
            _raise_unless(pipe.execute(raise_on_error=False), "NOGROUP", "requires the key to exist")

    def _learn_size(self, found: Mapping[int, Sequence[tuple[str, bytes]]]) -> None:
        sizes = [len(payload) for entries in found.values() for _, payload in entries]
        if sizes:
            self._entry_bytes = max(256.0, 0.7 * self._entry_bytes + 0.3 * sum(sizes) / len(sizes), max(sizes) / 4)


def _raise_unless(replies: Sequence[Any], *expected: str) -> None:
    """Raise the first error that isn't one of the expected; those change nothing that matters."""
    for reply in replies:
        if isinstance(reply, Exception) and not any(words in str(reply) for words in expected):
            raise reply


def _counts_entries_read(client: redis.Redis) -> bool:
    """Whether the server takes ENTRIESREAD, which its group lag needs (Redis 7.0)."""
    with redis_errors():
        info: Any = client.info("server")
    return int(str(info["redis_version"]).split(".")[0]) >= 7
