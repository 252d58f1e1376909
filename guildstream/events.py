"""The event contract (DESIGN §3): one class per event type, strict decoding.

An event is a UTF-8 JSON object. ``decode_event`` checks all of it (types, ranges, the partition,
the time) in one pass of compiled code and gives a typed object whose ids are ints. Unknown keys are
ignored; message content is never read.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Final

from msgspec import UNSET, Meta, Struct, UnsetType

from guildstream.errors import InvalidEvent

__all__ = [
    "CONTRACT_VERSION",
    "MAX_EVENT_BYTES",
    "MAX_ID",
    "MIN_TS_MS",
    "Adjust",
    "ChannelDelete",
    "ChannelUpdate",
    "Command",
    "Erase",
    "Event",
    "Gap",
    "GuildRemove",
    "GuildUnavailable",
    "GuildUpdate",
    "Heartbeat",
    "Id",
    "MemberJoin",
    "MemberLeave",
    "MemberUpdate",
    "MessageCreate",
    "MessageDelete",
    "MessageDeleteBulk",
    "MessageUpdate",
    "Moderation",
    "ReactionAdd",
    "ReactionClear",
    "ReactionRemove",
    "RoleDelete",
    "RoleUpdate",
    "SettingsChange",
    "ThreadUpdate",
    "VoiceFlags",
    "VoiceSnapshot",
    "VoiceState",
    "VoiceStateOf",
    "snowflake",
]

CONTRACT_VERSION: Final = 1
MAX_ID: Final = 2**63 - 1
MAX_EVENT_BYTES: Final = 64 * 1024
#: 2000-01-01T00:00:00Z. Earlier times are invalid.
MIN_TS_MS: Final = 946_684_800_000
#: 9999-12-31: what PostgreSQL, Python and ISO 8601 all can write.
_MAX_TS_MS: Final = 253_402_214_400_000

#: An id as it travels: JavaScript can't hold 64 bits, so a decimal string is as good.
Id = Annotated[int, Meta(ge=1, le=MAX_ID)] | Annotated[str, Meta(pattern=r"^0*[1-9][0-9]{0,18}$", max_length=40)]
Timestamp = Annotated[int, Meta(ge=MIN_TS_MS, le=_MAX_TS_MS)]
Count = Annotated[int, Meta(ge=0, le=2**31 - 1)]
SignedCount = Annotated[int, Meta(ge=-(2**53), le=2**53)]
Session = Annotated[str, Meta(min_length=1, max_length=200)]
Sequence = Annotated[int, Meta(ge=0, le=MAX_ID)]
Part = Annotated[int, Meta(ge=0, le=2**31 - 1)]


def snowflake(value: int | str) -> int:
    """An id as an int, from either form that the contract allows.

    Raises:
        InvalidEvent: a decimal string beyond 2^63-1.
    """
    number = int(value)
    if number > MAX_ID:
        raise InvalidEvent("id_out_of_range", f"id {value} is beyond 2^63-1")
    return number


class Event(Struct, gc=False, tag_field="type", kw_only=True):
    """What every event carries. After decoding, ids are ints or None.

    Attributes:
        type: the event type, a class attribute of each subclass.
        needs: which of ``user_id`` and ``channel_id`` the type can't do without, likewise.
        v: contract version.
        ts: event time, milliseconds since the epoch, UTC.
        guild_id: None on heartbeats and on gaps of a whole shard only.
        session: the source.
        seq: the dispatch's number within ``session``; -1 on heartbeats.
        part: numbers the events made from one dispatch.
        shard: shard id, None from a source that is no shard.
        replayed: delivered late by a RESUME: ``ts`` is an upper bound.
    """

    type: ClassVar[str] = ""
    needs: ClassVar[tuple[str, ...]] = ()

    v: int
    ts: Timestamp
    session: Session
    seq: Sequence = -1
    part: Part = 0
    guild_id: Id | None = None
    channel_id: Id | None = None
    user_id: Id | None = None
    shard: Count | None = None
    replayed: bool = False


class MessageData(Struct, gc=False, frozen=True):
    """A message without its content. Unknown measures are None, never 0."""

    message_id: Id
    chars: Count | None = None
    words: Count | None = None
    attachments: Count | None = None
    embeds: Count | None = None
    stickers: Count | None = None
    mentions: Count | None = None
    reply_to: Id | None = None
    thread_of: Id | None = None
    bot: bool = False
    webhook: bool = False
    roles: tuple[Id, ...] | None = None


class MessageCreate(Event, tag="message_create", gc=False, kw_only=True):
    """Somebody wrote a message."""

    type: ClassVar[str] = "message_create"
    needs: ClassVar[tuple[str, ...]] = ("user_id", "channel_id")
    data: MessageData


class MessageRef(Struct, gc=False, frozen=True):
    """A message by its id."""

    message_id: Id


class MessageUpdate(Event, tag="message_update", gc=False, kw_only=True):
    """A message's edited time changed."""

    type: ClassVar[str] = "message_update"
    data: MessageRef


class MessageDelete(Event, tag="message_delete", gc=False, kw_only=True):
    """A message was deleted; Discord doesn't say whose."""

    type: ClassVar[str] = "message_delete"
    data: MessageRef


class MessageRefs(Struct, gc=False, frozen=True):
    """Messages by their ids."""

    message_ids: tuple[Id, ...]


class MessageDeleteBulk(Event, tag="message_delete_bulk", gc=False, kw_only=True):
    """Several messages were deleted at once."""

    type: ClassVar[str] = "message_delete_bulk"
    data: MessageRefs


class ReactionData(Struct, gc=False, frozen=True):
    """A reaction: ``emoji`` is a custom emoji's id or the Unicode text."""

    message_id: Id
    emoji: str
    author_id: Id | None = None


class ReactionAdd(Event, tag="reaction_add", gc=False, kw_only=True):
    """A reaction was added."""

    type: ClassVar[str] = "reaction_add"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: ReactionData


class ReactionRemove(Event, tag="reaction_remove", gc=False, kw_only=True):
    """A reaction was removed."""

    type: ClassVar[str] = "reaction_remove"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: ReactionData


class ReactionClearData(Struct, gc=False, frozen=True):
    """Which reactions went: all of a message, or those of one emoji."""

    message_id: Id
    emoji: str | None = None


class ReactionClear(Event, tag="reaction_clear", gc=False, kw_only=True):
    """A moderator removed all reactions of a message, or all of one emoji."""

    type: ClassVar[str] = "reaction_clear"
    data: ReactionClearData


class VoiceFlags(Struct, gc=False, frozen=True):
    """A whole voice state but for who and where; an absent flag is false."""

    self_mute: bool = False
    self_deaf: bool = False
    mute: bool = False
    deaf: bool = False
    stream: bool = False
    video: bool = False
    suppress: bool = False
    bot: bool = False
    roles: tuple[Id, ...] | None = None


class VoiceState(Event, tag="voice_state", gc=False, kw_only=True):
    """Somebody's voice state is now this; ``channel_id`` None means that they left."""

    type: ClassVar[str] = "voice_state"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: VoiceFlags = VoiceFlags()


class VoiceStateOf(VoiceFlags, gc=False, frozen=True, kw_only=True):
    """One person's voice state in a snapshot."""

    user_id: Id
    channel_id: Id


class VoiceStates(Struct, gc=False, frozen=True):
    """Everybody in voice."""

    states: tuple[VoiceStateOf, ...]


class VoiceSnapshot(Event, tag="voice_snapshot", gc=False, kw_only=True):
    """All of a guild's voice; replaces what was known."""

    type: ClassVar[str] = "voice_snapshot"
    data: VoiceStates


class MemberData(Struct, gc=False, frozen=True):
    """What is known of a member; absent means unknown. ``joined_at`` is milliseconds or ISO 8601."""

    joined_at: Timestamp | str | None = None
    roles: tuple[Id, ...] | None = None
    nick: str | None = None
    bot: bool | None = None
    username: str | None = None
    display_name: str | None = None
    invite: str | None = None


class MemberJoin(Event, tag="member_join", gc=False, kw_only=True):
    """Somebody joined the guild."""

    type: ClassVar[str] = "member_join"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: MemberData = MemberData()


class MemberLeave(Event, tag="member_leave", gc=False, kw_only=True):
    """Somebody left the guild, or was removed from it."""

    type: ClassVar[str] = "member_leave"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: MemberData = MemberData()


class MemberUpdate(Event, tag="member_update", gc=False, kw_only=True):
    """A member's attributes, as seen in any payload."""

    type: ClassVar[str] = "member_update"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: MemberData = MemberData()


class CommandData(Struct, gc=False, frozen=True):
    """An interaction. ``kind``: slash, user, message, component, modal or autocomplete."""

    interaction_id: Id
    name: Annotated[str, Meta(max_length=200)]
    kind: str = "slash"
    subcommand: str | None = None


class Command(Event, tag="command", gc=False, kw_only=True):
    """Somebody used an application command or a component."""

    type: ClassVar[str] = "command"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: CommandData


class ChannelData(Struct, gc=False, frozen=True):
    """A channel or thread; absent fields are unchanged."""

    channel_id: Id | None = None
    name: str | None = None
    kind: str | int | None = None
    parent: Id | None = None
    position: int | None = None


class RoleData(Struct, gc=False, frozen=True):
    """A role; absent fields are unchanged."""

    role_id: Id | None = None
    name: str | None = None
    kind: str | int | None = None
    parent: Id | None = None
    position: int | None = None


class GuildData(Struct, gc=False, frozen=True):
    """A guild's attributes; absent means unchanged. ``afk_channel_id`` null: there is none any more."""

    name: str | None = None
    member_count: Count | None = None
    afk_channel_id: Id | UnsetType | None = UNSET
    owner_id: Id | None = None
    channels: tuple[ChannelData, ...] | None = None
    roles: tuple[RoleData, ...] | None = None


class GuildUpdate(Event, tag="guild_update", gc=False, kw_only=True):
    """A guild's attributes are now these."""

    type: ClassVar[str] = "guild_update"
    data: GuildData = GuildData()


class NoData(Struct, gc=False, frozen=True):
    """A type that needs no data."""


class GuildUnavailable(Event, tag="guild_unavailable", gc=False, kw_only=True):
    """An outage: nothing of the guild is seen until its next snapshot."""

    type: ClassVar[str] = "guild_unavailable"
    data: NoData = NoData()


class GuildRemove(Event, tag="guild_remove", gc=False, kw_only=True):
    """The bot was removed from the guild."""

    type: ClassVar[str] = "guild_remove"
    data: NoData = NoData()


class ChannelUpdate(Event, tag="channel_update", gc=False, kw_only=True):
    """A channel was made or changed."""

    type: ClassVar[str] = "channel_update"
    data: ChannelData = ChannelData()


class ChannelDelete(Event, tag="channel_delete", gc=False, kw_only=True):
    """A channel is gone."""

    type: ClassVar[str] = "channel_delete"
    data: ChannelData = ChannelData()


class ThreadUpdate(Event, tag="thread_update", gc=False, kw_only=True):
    """A thread was made or changed."""

    type: ClassVar[str] = "thread_update"
    data: ChannelData = ChannelData()


class RoleUpdate(Event, tag="role_update", gc=False, kw_only=True):
    """A role was made or changed."""

    type: ClassVar[str] = "role_update"
    data: RoleData = RoleData()


class RoleDelete(Event, tag="role_delete", gc=False, kw_only=True):
    """A role is gone."""

    type: ClassVar[str] = "role_delete"
    data: RoleData = RoleData()


class ModerationData(Struct, gc=False, frozen=True):
    """An entry of the audit log; ``reason`` is the reason's length, never its text."""

    action: str | int | None = None
    target_id: Id | None = None
    reason: Count | None = None


class Moderation(Event, tag="moderation", gc=False, kw_only=True):
    """A moderator did something."""

    type: ClassVar[str] = "moderation"
    data: ModerationData = ModerationData()


class SettingsChange(Event, tag="settings", gc=False, kw_only=True):
    """The guild's settings (DESIGN §5.4) from this place in the stream on."""

    type: ClassVar[str] = "settings"
    data: dict[str, Any]


class AdjustData(Struct, gc=False, frozen=True):
    """Someone's decision about a member."""

    xp: SignedCount | None = None
    set_xp: Sequence | None = None
    voice_ms: SignedCount | None = None
    messages: SignedCount | None = None
    reason: str | None = None
    by: Id | None = None


class Adjust(Event, tag="adjust", gc=False, kw_only=True):
    """Points given, taken, reset or imported."""

    type: ClassVar[str] = "adjust"
    needs: ClassVar[tuple[str, ...]] = ("user_id",)
    data: AdjustData


class EraseData(Struct, gc=False, frozen=True):
    """Whether nothing further is to be recorded."""

    keep_out: bool = False


class Erase(Event, tag="erase", gc=False, kw_only=True):
    """Forget ``user_id`` in the guild, or all of the guild where it is absent."""

    type: ClassVar[str] = "erase"
    data: EraseData = EraseData()


class HeartbeatData(Struct, gc=False, frozen=True):
    """``final``: the source has ended for good."""

    final: bool = False


class Heartbeat(Event, tag="heartbeat", gc=False, kw_only=True):
    """Everything of this source before ``ts`` has been published."""

    type: ClassVar[str] = "heartbeat"
    data: HeartbeatData = HeartbeatData()


class GapData(Struct, gc=False, frozen=True, rename={"from_ms": "from", "to_ms": "to"}):
    """The stretch in which the source was blind."""

    from_ms: Timestamp | None = None
    to_ms: Timestamp | None = None
    cause: str | None = None
    shard_count: Count | None = None


class Gap(Event, tag="gap", gc=False, kw_only=True):
    """The source was blind."""

    type: ClassVar[str] = "gap"
    data: GapData = GapData()
