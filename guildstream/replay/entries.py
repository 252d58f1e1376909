"""What a replay makes of lines: entries, and counts of what it saw."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["Entry", "PackCounts"]


class Entry(NamedTuple):
    """One stream entry to be.

    Attributes:
        partition: where it goes.
        field: ``b`` for lines of one session, ``e`` for a single one.
        payload: the field's value.
        events: how many lines that is, heartbeats included.
    """

    partition: int
    field: bytes
    payload: bytes
    events: int


@dataclass(slots=True)
class PackCounts:
    """What was read and what became of it.

    Attributes:
        lines: lines with anything on them.
        bad: reason → lines that break the contract; they are published for the processor to reject.
        unknown: lines of a type that this release does not know.
        heartbeats: heartbeats written between the lines.
        events: payloads in entries: lines and heartbeats.
    """

    lines: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    unknown: int = 0
    heartbeats: int = 0
    events: int = 0
