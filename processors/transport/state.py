"""Keyed state: what agents remember between chunks, committed with the offset that produced it.

A table is a Redis hash per partition. Values are read on demand (a chunk's missing keys in one round
trip), cached as decoded objects within a bound, and written back at the commit. A preloaded table is
read whole when its partition is taken over, and can be iterated: for open windows and sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from guildstream.errors import ConfigError, GuildstreamError

__all__ = ["KeyedState", "NotLoaded", "PartitionTable"]

T = TypeVar("T")

#: What a cached value costs besides its bytes: dictionary slots, its key, the object's own header.
_VALUE_OVERHEAD_BYTES: Final = 250


class NotLoaded(GuildstreamError):
    """A key was read that nobody prefetched; ask for it before the chunk is processed."""


@dataclass(frozen=True, slots=True)
class KeyedState(Generic[T]):
    """The declaration of a table.

    Attributes:
        name: names the Redis hash; unique in the app.
        encode: a value to bytes. Called once per changed key and commit.
        decode: the same back.
        preload: read the whole table at hand-over; makes ``items`` available.
        expires_ms: the event time at which a value ends, milliseconds; None where it never does. The agent tells
            the time by ``PartitionTable.advance``. Not for preloaded tables, whose items an agent can see to.
    """

    name: str
    encode: Callable[[T], bytes]
    decode: Callable[[bytes], T]
    preload: bool = False
    expires_ms: Callable[[T], int | None] | None = None

    def __post_init__(self) -> None:
        """Refuse what makes no sense."""
        if self.preload and self.expires_ms is not None:
            msg = f"table {self.name} is preloaded: delete what is over while iterating, instead of expires_ms"
            raise ConfigError(msg)


class PartitionTable(Generic[T]):
    """One table in one partition. Not for use from more than one task at a time.

    Values are the same object at each ``get`` within a chunk, or while pinned: change them in place and
    ``put`` them. A value that is neither used nor pinned may be forgotten at a commit and read again later.
    """

    __slots__ = ("_changed", "_old", "_pinned", "_young", "limit", "spec", "value_bytes")

    def __init__(self, spec: KeyedState[T], limit: int) -> None:
        self.spec = spec
        #: How many values may be cached; twice that in the worst case. Preloaded tables have no bound.
        self.limit = limit
        #: What a stored value weighs on average, lately.
        self.value_bytes = 0.0
        self._young: dict[str, T | None] = {}
        self._old: dict[str, T | None] = {}
        self._changed: set[str] = set()
        self._pinned: set[str] = set()

    def get(self, key: str) -> T | None:
        """The value of a loaded key, None where there is none.

        Raises:
            NotLoaded: the key was never prefetched.
        """
        try:
            return self._young[key]
        except KeyError:
            return self._promote(key)

    def put(self, key: str, value: T) -> None:
        """Store a value, or mark one that was changed in place."""
        self._young[key] = value
        self._changed.add(key)

    def delete(self, key: str) -> None:
        """Remove a key."""
        self._young[key] = None
        self._changed.add(key)

    def items(self) -> Iterator[tuple[str, T]]:
        """All keys and values of a preloaded table. Don't change the table while iterating."""
        if not self.spec.preload:
            msg = f"table {self.spec.name} is not preloaded: only a part of it is in memory"
            raise NotLoaded(msg)
        return ((key, value) for key, value in self._young.items() if value is not None)

    def pin(self, key: str) -> None:
        """Keep a key in the cache until it is unpinned; it may be loaded later."""
        if key in self._old and key not in self._young:
            self._young[key] = self._old[key]
        self._pinned.add(key)

    def unpin(self, key: str) -> None:
        """Let the cache decide again."""
        self._pinned.discard(key)

    def advance(self, ms: int) -> None:
        """Tell the event time, for tables whose values expire; it never goes back."""
        msg = f"values of table {self.spec.name} don't expire ({ms}): declare it with expires_ms"
        raise ConfigError(msg)

    @property
    def cached_bytes(self) -> int:
        """About what the cache weighs: stored sizes, and what a value costs besides."""
        return int(len(self) * (self.value_bytes + _VALUE_OVERHEAD_BYTES))

    def __len__(self) -> int:
        """How many keys are in memory, absent ones included."""
        return len(self._young) + len(self._old)

    def missing(self, keys: Iterable[str]) -> list[str]:
        """Those of ``keys`` that have to be read from Redis."""
        if self.spec.preload:
            return []
        young, old = self._young, self._old
        return [key for key in keys if key not in young and key not in old]

    def fill(self, keys: Iterable[str], raw: Iterable[bytes | None]) -> None:
        """Take what Redis answered. What was put or read meanwhile, by another agent, is newer and stays."""
        decode, young = self.spec.decode, self._young
        sizes = values = 0
        for key, value in zip(keys, raw, strict=True):
            if value is not None:
                sizes += len(value)
                values += 1
            if key not in young:
                young[key] = None if value is None else decode(value)
        self._weigh(sizes, values)

    def take_changes(self) -> tuple[list[bytes], list[bytes]]:
        """What changed since the last call.

        Returns:
            Flat ``[key, value, …]`` to set, and keys to delete.
        """
        encode = self.spec.encode
        stored: list[bytes] = []
        sizes = 0
        deleted: list[bytes] = []
        for key in self._changed:
            value = self._young[key]
            if value is None:
                deleted.append(key.encode())
                if self.spec.preload:
                    del self._young[key]
            else:
                encoded = encode(value)
                sizes += len(encoded)
                stored += (key.encode(), encoded)
        self._weigh(sizes, len(stored) // 2)
        self._changed.clear()
        return stored, deleted

    def shrink(self) -> None:
        """Forget what was not used for long, if there is too much. Call it when no commit is in flight."""
        if self.spec.preload or len(self._young) <= self.limit:
            return
        self._old, young = self._young, {}
        for key in self._pinned | self._changed:
            if key in self._old:
                young[key] = self._old[key]
        self._young = young

    def reset(self) -> None:
        """Forget everything, uncommitted changes included."""
        self._young.clear()
        self._old.clear()
        self._changed.clear()
        self._pinned.clear()

    def _weigh(self, sizes: int, values: int) -> None:
        if values:
            share = 1.0 if not self.value_bytes else min(1.0, values / 1_000)
            self.value_bytes += (sizes / values - self.value_bytes) * share

    def _promote(self, key: str) -> T | None:
        if self.spec.preload:
            return None
        try:
            value = self._old[key]
        except KeyError:
            msg = f"key {key!r} of table {self.spec.name} was read without being prefetched"
            raise NotLoaded(msg) from None
        self._young[key] = value
        return value
