"""What an agent of a chunked topic is handed: a run of consecutive entries of one partition."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from processors.transport.partition import Partition

__all__ = ["Chunk", "ChunkEntry"]


@dataclass(slots=True)
class ChunkEntry:
    """One entry of a stream, or a part of one while a poisonous event is being searched for.

    Attributes:
        id: stream id, as ``<ms>-<n>``.
        ms: the time in the id, milliseconds since the epoch.
        payload: one payload, or several separated by newlines where ``packed``.
        packed: how to read ``payload``.
        index: index of the first payload within its entry.
        count: how many payloads there are.
        position: position of the first one; positions number the payloads of a partition from 0.
        skipped: payloads (by index from the first one) that are not to be processed: an agent raised on
            them, or the whole entry can't be read. The transport dead-letters them.
        key: the message's key, where a Faust producer gave one.
        headers: the message's headers, the same.
        requeued: the id of the dead letter that comes again by this entry; None for all others.
        origin: of that letter, for another one should it fail again.
    """

    id: str
    ms: int
    payload: bytes
    packed: bool
    index: int
    count: int
    position: int
    skipped: frozenset[int] = frozenset()
    key: bytes | None = None
    headers: dict[str, bytes] | None = None
    requeued: str | None = None
    origin: bytes | None = None

    def payloads(self) -> list[bytes]:
        """Each payload by itself, skipped ones included."""
        return self.payload.split(b"\n") if self.packed else [self.payload]


@dataclass(slots=True, eq=False)
class Chunk:
    """Consecutive entries, the unit that agents process.

    Attributes:
        topic: the topic's name.
        partition: state, outgoing entries and dead letters of the partition, for this chunk.
        entries: in stream order.
        position: position of the first payload.
        count: how many payloads the entries hold.
        size: bytes of payload.
        error: what an agent raised.
        suspects: positions, half open, among which the payload is that it raised on; None: any of them.
    """

    topic: str
    partition: Partition
    entries: list[ChunkEntry] = field(default_factory=list)
    position: int = 0
    count: int = 0
    size: int = 0
    error: BaseException | None = None
    suspects: tuple[int, int] | None = None

    @property
    def last_id(self) -> str:
        """Stream id of the last entry."""
        return self.entries[-1].id

    def fail(self, error: BaseException, *, position: int | None = None) -> None:
        """Say that processing raised: what this partition did since its last commit is thrown away.

        The partition is read again from there; an event on which it happens again, alone, is
        dead-lettered with its traceback, and nothing it did is kept.

        Args:
            error: what was raised.
            position: of the payload that it was raised on, where that is known.
        """
        if self.error is None:
            self.error = error
            self.suspects = None if position is None else (position, position + 1)
