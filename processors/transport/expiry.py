"""Tables whose values end at an event time.

A value is gone for every reader once the partition's event time has reached its end, whether or not it was
removed from Redis yet. So what agents see depends on the order of events alone: not on chunks, commits,
hand-overs or when somebody swept. The time is part of each commit, as are the ends, in a sorted set beside
the table's hash; what has ended is found there, some at a time, and removed with a commit.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, TypeVar

from processors.transport.state import KeyedState, PartitionTable

__all__ = ["CLOCK_MEMBER", "SWEEP_KEYS", "ExpiringTable", "make_table"]

T = TypeVar("T")

#: Member of the sorted set whose score is the partition's event time; no key, since keys are UTF-8.
CLOCK_MEMBER: Final = b"\xff"
#: How many ended keys one sweep brings at least; more where more were put since the last one.
SWEEP_KEYS: Final = 1_000
#: Event time between sweeps that found little.
_SWEEP_MS: Final = 1_000


class ExpiringTable(PartitionTable[T]):
    """A table with ``expires_ms``. Its keys must be prefetched like any other's."""

    __slots__ = ("_clock_told", "_put_since", "_sweep_at_ms", "clock_ms", "restored")

    def __init__(self, spec: KeyedState[T], limit: int) -> None:
        super().__init__(spec, limit)
        self.clock_ms = 0
        self._clock_told = 0
        self._begin()

    def advance(self, ms: int) -> None:
        """Tell the event time; it never goes back."""
        self.clock_ms = max(self.clock_ms, ms)

    def get(self, key: str) -> T | None:
        """The value of a loaded key; None where there is none, or it has ended."""
        value = super().get(key)
        return None if value is None or self._is_over(value) else value

    def put(self, key: str, value: T) -> None:
        """Store a value, or mark one that was changed in place."""
        super().put(key, value)
        self._put_since += 1

    @property
    def sweep_limit(self) -> int:
        """How many ended keys to ask Redis for now; 0 for none."""
        if self.restored and self.clock_ms < self._sweep_at_ms:
            return 0
        return max(SWEEP_KEYS, 2 * self._put_since)

    def restore(self, clock_ms: float | None) -> None:
        """Take the committed event time."""
        self.clock_ms = max(self.clock_ms, int(clock_ms or 0))
        self.restored = True

    def sweep(self, ended: Iterable[bytes], limit: int) -> None:
        """Delete keys whose committed end has come, but for those that were put anew since.

        Args:
            ended: what Redis answered; members of the sorted set up to the event time.
            limit: how many were asked for.
        """
        found = 0
        for member in ended:
            found += 1
            if member == CLOCK_MEMBER:
                continue
            key = member.decode()
            cached = self._young[key] if key in self._young else self._old.get(key)
            if cached is None or self._is_over(cached):
                self.delete(key)
        self._put_since = 0
        self._sweep_at_ms = self.clock_ms + _SWEEP_MS if found < limit else self.clock_ms

    def take_ends(self) -> tuple[list[bytes], list[bytes]]:
        """What changes in the sorted set with the next commit; call it before ``take_changes``.

        Returns:
            Flat ``[end, key, …]`` to set, and keys that have no end any more.
        """
        ends: list[bytes] = []
        endless: list[bytes] = []
        for key in self._changed:
            value = self._young[key]
            end = None if value is None else self._end(value)
            if end is None:
                endless.append(key.encode())
            else:
                ends += (b"%d" % end, key.encode())
        if self.restored and self.clock_ms != self._clock_told:
            self._clock_told = self.clock_ms
            ends += (b"%d" % self.clock_ms, CLOCK_MEMBER)
        return ends, endless

    def reset(self) -> None:
        """Forget everything, the time included."""
        super().reset()
        self._begin()

    def _begin(self) -> None:
        self.clock_ms = 0
        self.restored = False
        self._clock_told = 0
        self._sweep_at_ms = 0
        self._put_since = 0

    def _end(self, value: T) -> int | None:
        return None if self.spec.expires_ms is None else self.spec.expires_ms(value)

    def _is_over(self, value: T) -> bool:
        end = self._end(value)
        return end is not None and end <= self.clock_ms


def make_table(spec: KeyedState[Any], limit: int) -> PartitionTable[Any]:
    """The table of one partition, as its declaration wants it."""
    return PartitionTable(spec, limit) if spec.expires_ms is None else ExpiringTable(spec, limit)
