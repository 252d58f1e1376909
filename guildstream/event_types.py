"""Every type of the event contract, as one union that decoders tell apart by ``type``."""

from __future__ import annotations

from typing import Final

from guildstream.events import (
    Adjust,
    ChannelDelete,
    ChannelUpdate,
    Command,
    Erase,
    Gap,
    GuildRemove,
    GuildUnavailable,
    GuildUpdate,
    Heartbeat,
    MemberJoin,
    MemberLeave,
    MemberUpdate,
    MessageCreate,
    MessageDelete,
    MessageDeleteBulk,
    MessageUpdate,
    Moderation,
    ReactionAdd,
    ReactionClear,
    ReactionRemove,
    RoleDelete,
    RoleUpdate,
    SettingsChange,
    ThreadUpdate,
    VoiceSnapshot,
    VoiceState,
)

__all__ = ["EVENT_TYPES", "AnyEvent"]

AnyEvent = (
    MessageCreate
    | MessageUpdate
    | MessageDelete
    | MessageDeleteBulk
    | ReactionAdd
    | ReactionRemove
    | ReactionClear
    | VoiceState
    | VoiceSnapshot
    | MemberJoin
    | MemberLeave
    | MemberUpdate
    | Command
    | GuildUpdate
    | GuildUnavailable
    | GuildRemove
    | ChannelUpdate
    | ChannelDelete
    | ThreadUpdate
    | RoleUpdate
    | RoleDelete
    | Moderation
    | SettingsChange
    | Adjust
    | Erase
    | Heartbeat
    | Gap
)

#: Every type of the contract.
EVENT_TYPES: Final = frozenset(kind.type for kind in AnyEvent.__args__)
