"""Voice states, and the snapshot of all of them that a GUILD_CREATE carries."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from guildstream.discord.payloads import Event, Payload, event, ids, optional_id

__all__ = ["voice_snapshot", "voice_state"]

#: Discord's name of a flag → the contract's.
_FLAGS: Final = (
    ("self_mute", "self_mute"),
    ("self_deaf", "self_deaf"),
    ("mute", "mute"),
    ("deaf", "deaf"),
    ("self_stream", "stream"),
    ("self_video", "video"),
    ("suppress", "suppress"),
)
#: A snapshot can't be split, and an event has 64 KiB: up to 170 bytes a state without roles, 380 with.
_MAX_STATES: Final = 350
_MAX_STATES_WITH_ROLES: Final = 150
_MAX_ROLES: Final = 10


def voice_state(payload: Payload, ts: int) -> Event:
    """VOICE_STATE_UPDATE in a guild: the whole state; ``channel_id`` null means left."""
    made = event("voice_state", ts, int(payload["guild_id"]), _flags(payload, payload.get("member")))
    made["channel_id"] = optional_id(payload.get("channel_id"))
    made["user_id"] = int(payload["user_id"])
    return made


def voice_snapshot(guild: Payload, ts: int) -> list[Event]:
    """All of a guild's voice. People beyond what one event holds follow as states of the same instant."""
    guild_id = int(guild["id"])
    present = [state for state in guild.get("voice_states") or () if state.get("channel_id")]
    members = {str(member["user"]["id"]): member for member in guild.get("members") or () if "id" in member["user"]}
    roles = len(present) <= _MAX_STATES_WITH_ROLES
    states = [_state(state, members.get(str(state["user_id"])), roles) for state in present]
    snapshot = event("voice_snapshot", ts, guild_id, {"states": states[:_MAX_STATES]})
    return [snapshot, *_beyond(states[_MAX_STATES:], guild_id, ts)]


def _beyond(states: Sequence[Event], guild_id: int, ts: int) -> Iterable[Event]:
    for state in states:
        channel_id, user_id = state.pop("channel_id"), state.pop("user_id")
        yield event("voice_state", ts, guild_id, state, channel_id=channel_id, user_id=user_id)


def _state(state: Payload, member: Any, roles: bool) -> Event:
    who = {"user_id": int(state["user_id"]), "channel_id": int(state["channel_id"])}
    flags = _flags(state, state.get("member") or member)
    if not roles or len(flags.get("roles", ())) > _MAX_ROLES:
        flags.pop("roles", None)
    return who | flags


def _flags(state: Payload, member: Any) -> Event:
    flags: Event = {ours: True for theirs, ours in _FLAGS if state.get(theirs)}
    if member:
        if (member.get("user") or {}).get("bot"):
            flags["bot"] = True
        if "roles" in member:
            flags["roles"] = ids(member["roles"])
    return flags
