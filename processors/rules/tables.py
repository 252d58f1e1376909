"""The keyed state that the rules read and write; a shell stores it, the rules only see ``Table``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeVar

from processors.rules.records import (
    GuildRecord,
    MemberRecord,
    ReactionBucket,
    ReactionList,
    Removal,
    Segment,
    SourceRecord,
    codec_of,
)
from processors.rules.windows import Window, decode_window, encode_window

__all__ = ["TABLE_SPECS", "Table", "TableSpec", "Tables"]

T = TypeVar("T")


class Table(Protocol[T]):
    """One table of keyed state. Nothing blocks; what a key holds was fetched beforehand."""

    def get(self, key: str) -> T | None:
        """The value, the same object each time, or None.

        Raises:
            Exception: the key was neither prefetched nor preloaded.
        """
        ...

    def put(self, key: str, value: T) -> None:
        """Store a value, or mark a mutated one as changed: it is encoded at the next commit."""
        ...

    def delete(self, key: str) -> None:
        """Forget a key; absent ones are fine."""
        ...

    def items(self) -> Iterable[tuple[str, T]]:
        """All of a preloaded table."""
        ...

    def pin(self, key: str) -> None:
        """Keep a key in the cache; may come before the key is loaded."""
        ...

    def unpin(self, key: str) -> None:
        """Let the cache forget a key again."""
        ...


@dataclass(frozen=True, slots=True)
class Tables:
    """All tables of one partition.

    Attributes:
        sources: by session; preloaded.
        guilds: by guild id; on demand.
        windows: un-emitted rows by ``guild:start:day``, with a ``v`` after it for voice; preloaded.
        voice: people in voice by ``guild:user``; preloaded.
        members: by ``guild:user``; on demand.
        reactions: what may be taken back, by ``guild:message:bucket``; on demand.
        reaction_lists: which of these grew on a day, by ``guild:day:number``; on demand.
        removals: guilds that the bot was removed from, by guild id; preloaded.
    """

    sources: Table[SourceRecord]
    guilds: Table[GuildRecord]
    windows: Table[Window]
    voice: Table[Segment]
    members: Table[MemberRecord]
    reactions: Table[ReactionBucket]
    reaction_lists: Table[ReactionList]
    removals: Table[Removal]


@dataclass(frozen=True, slots=True)
class TableSpec:
    """How a shell builds a table.

    Attributes:
        name: of the field in ``Tables``, and in the table's key in Redis.
        encode: a value as bytes.
        decode: the reverse; raises ``ConfigError`` on another release's value.
        preload: all of it is loaded when the partition is taken over.
    """

    name: str
    encode: Callable[[Any], bytes]
    decode: Callable[[bytes], Any]
    preload: bool


TABLE_SPECS: Final = (
    TableSpec("sources", *codec_of(SourceRecord), preload=True),
    TableSpec("guilds", *codec_of(GuildRecord), preload=False),
    TableSpec("windows", encode_window, decode_window, preload=True),
    TableSpec("voice", *codec_of(Segment), preload=True),
    TableSpec("members", *codec_of(MemberRecord), preload=False),
    TableSpec("reactions", *codec_of(ReactionBucket), preload=False),
    TableSpec("reaction_lists", *codec_of(ReactionList), preload=False),
    TableSpec("removals", *codec_of(Removal), preload=True),
)
