"""The values of keyed state: what a source, a guild, a member and a person in voice are between commits.

Each is a compact msgpack array that begins with its version; ``decode`` refuses any other.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

import msgspec
from msgspec import Struct

from guildstream.errors import ConfigError
from guildstream.measures import VOICE_MEASURES

__all__ = [
    "GuildRecord",
    "MemberRecord",
    "PendingAward",
    "Reaction",
    "ReactionBucket",
    "ReactionList",
    "Removal",
    "Segment",
    "SourceRecord",
    "codec_of",
]

_VOICE_ZEROS: Final = (0,) * len(VOICE_MEASURES)

RecordT = TypeVar("RecordT", bound=Struct)


class SourceRecord(Struct, array_like=True, gc=False):
    """What one partition knows of a source; constant in size.

    Attributes:
        seq: with ``part``, the highest identity seen; an event not above it is a duplicate.
        watermark_ms: up to here everything has been published.
        heartbeat_ms: the same, as its heartbeats alone say; voice goes by this.
        last_ms: the latest time of anything from it.
        final: it has ended for good.
    """

    version: int = 1
    seq: int = -1
    part: int = 0
    watermark_ms: int = 0
    heartbeat_ms: int = 0
    last_ms: int = 0
    final: bool = False


class GuildRecord(Struct, array_like=True, gc=False):
    """What is known of a guild.

    Attributes:
        owner: session of the source that owns it, None before its first event.
        voice_ms: where its voice stands, unless its owner's heartbeats are further.
        frozen: voice stands still until the next snapshot.
        afk_channel_id: 0 if there is none.
        settings: JSON of what differs from the defaults, empty if nothing does.
        settings_version: number of changes so far.
        reaction_ms: the latest time of a reaction; how long reactions are remembered goes by this.
        reaction_lists: by day of that clock, how many lists of reaction buckets there are.
        reward_version: number of changes of the role rewards.
        outage: when the outage that goes on began, and the session and shard that said so.
        erased: members that were erased, by keyed hash: when, and whether they are kept out.
        erased_ms: when the guild itself was erased, 0 if never.
        keep_out: and nothing further of it is recorded.
    """

    version: int = 1
    owner: str | None = None
    voice_ms: int = 0
    frozen: bool = False
    afk_channel_id: int = 0
    settings: bytes = b""
    settings_version: int = 0
    reaction_ms: int = 0
    reaction_lists: dict[int, int] = msgspec.field(default_factory=dict)
    reward_version: int = 0
    outage: tuple[int, str, int | None] | None = None
    erased: dict[bytes, tuple[int, bool]] = msgspec.field(default_factory=dict)
    erased_ms: int = 0
    keep_out: bool = False


class MemberRecord(Struct, array_like=True, gc=False):
    """A member's totals and what the rules must remember of them.

    Attributes:
        top_level: highest level ever reached; each is announced once.
        awarded_ms: time of the last message award, 0 before the first.
        voice_rest_ms: active milliseconds not yet a full minute; 60,000 when a minute is complete at
            the very instant where the member's voice stands.
        day: the latest local day with an award, and its XP.
        week: the latest ISO week with an award, ``year * 100 + week``, and its XP.
        month: the latest month, ``year * 100 + month``, and its XP.
        days: XP of days before, a few.
        weeks: XP of weeks before, as long as their boards live.
        months: the same by month.
        roles: as last seen, None if never.
        role_changes: notices so far of roles that come or go without a new highest level.
    """

    version: int = 1
    xp: int = 0
    level: int = 0
    top_level: int = 0
    messages: int = 0
    voice_ms: int = 0
    reactions_given: int = 0
    first_active_ms: int = 0
    last_active_ms: int = 0
    awarded_ms: int = 0
    voice_rest_ms: int = 0
    bot: bool = False
    day: int = -1
    day_xp: int = 0
    week: int = 0
    week_xp: int = 0
    month: int = 0
    month_xp: int = 0
    days: dict[int, int] | None = None
    weeks: dict[int, int] | None = None
    months: dict[int, int] | None = None
    roles: tuple[int, ...] | None = None
    role_changes: int = 0


class PendingAward(Struct, array_like=True, gc=False):
    """Voice awards of the running slice; they become one ledger row when it ends."""

    first_ms: int
    last_ms: int
    day: int
    count: int
    base: int
    multiplier: int
    xp: int
    settings_version: int


class Reaction(Struct, array_like=True, gc=False):
    """A reaction that may still be taken back.

    Attributes:
        at_ms: when it was added.
        seen_ms: the guild's reaction clock then; it is forgotten when that is too far on.
        day: the local day that it was booked to.
        channel_id: where, 0 if the event did not say.
        author_id: whose message it is, 0 if unknown.
        given: points that who gave it got for it.
        received: points that the author got for it.
    """

    at_ms: int
    seen_ms: int
    day: int
    channel_id: int
    author_id: int
    given: int
    received: int


class ReactionBucket(Struct, array_like=True, gc=False):
    """Some of the reactions to one message, by user and emoji.

    Attributes:
        day: of the guild's reaction clock, when it last grew.
        reactions: by ``user:emoji``.
    """

    version: int = 1
    day: int = -1
    reactions: dict[str, Reaction] = msgspec.field(default_factory=dict)


class ReactionList(Struct, array_like=True, gc=False):
    """Keys of buckets that grew on one day."""

    version: int
    keys: list[str]


class Removal(Struct, array_like=True, gc=False):
    """A guild that the bot was removed from, and not seen since."""

    version: int
    removed_ms: int


class Segment(Struct, array_like=True, gc=False):
    """One person's stay in one voice channel, while it lasts.

    Attributes:
        settled_ms: everything before this instant is counted.
        shown_ms: ``settled_ms`` of the last row that was written for it.
        bits: what holds from ``settled_ms`` on, a sum of ``processors.rules.conditions`` constants.
        measures: milliseconds, in the order of ``VOICE_MEASURES``.
        award: voice XP of the running slice that has no ledger row yet.
    """

    version: int
    guild_id: int
    user_id: int
    channel_id: int
    segment_id: bytes
    visit_id: bytes
    started_ms: int
    settled_ms: int
    shown_ms: int
    bits: int
    measures: list[int] = msgspec.field(default_factory=lambda: list(_VOICE_ZEROS))
    award: PendingAward | None = None

    def row(self, ended_ms: int | None = None, reason: str | None = None) -> list[object]:
        """The segment as a row of ``guildstream.results``."""
        return [
            self.segment_id,
            self.visit_id,
            self.guild_id,
            self.channel_id,
            self.user_id,
            self.started_ms,
            ended_ms,
            self.settled_ms,
            reason,
            self.measures.copy(),
        ]


_encoder = msgspec.msgpack.Encoder()


def codec_of(kind: type[RecordT]) -> tuple[Callable[[RecordT], bytes], Callable[[bytes], RecordT]]:
    """How a record becomes bytes, and back."""
    decoder = msgspec.msgpack.Decoder(kind)

    def decode(value: bytes) -> RecordT:
        try:
            record = decoder.decode(value)
        except msgspec.MsgspecError as error:
            raise ConfigError(f"a {kind.__name__} can't be read, was it written by another release? {error}") from error
        check_version(kind.__name__, record.version)  # type: ignore[attr-defined]
        return record

    return _encoder.encode, decode


def check_version(name: str, version: int) -> None:
    """Refuse a value of a version that this release does not write.

    Raises:
        ConfigError: the version is not 1.
    """
    if version != 1:
        raise ConfigError(f"a {name} has version {version}, this release reads 1: upgrade this component")
