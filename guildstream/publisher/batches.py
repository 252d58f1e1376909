"""What goes to Redis in one round: events packed into entries, in order for each source and partition."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from guildstream.codec import pack_events
from guildstream.publisher.spool import Record
from guildstream.publisher.wire import Command, Entry

__all__ = ["Batch", "pack_records"]


@dataclass(slots=True)
class Batch:
    """One round.

    Attributes:
        records: its events.
        entries: what of them Redis has not acknowledged.
        notes: commands to run when it has.
        from_spool: the records are on disk until the next are read from there.
    """

    records: Sequence[Record]
    entries: Sequence[Entry]
    notes: list[Command] = field(default_factory=list)
    from_spool: bool = False


def pack_records(records: Sequence[Record], *, compress: bool = False) -> list[Entry]:
    """Entries for events of any partitions and sources; an entry holds events of one source."""
    lines: dict[tuple[int, bytes], list[bytes]] = {}
    for partition, source, payload in records:
        key = (partition, source)
        if key in lines:
            lines[key].append(payload)
        else:
            lines[key] = [payload]
    return [
        Entry(partition, fields)
        for (partition, _), payloads in lines.items()
        for fields in pack_events(payloads, compress=compress)
    ]
