"""People in voice: they come, move, mute themselves, stream, and go."""

from __future__ import annotations

import random
from typing import Final

from gateway.simulator.world import Guild, Member, Payload

__all__ = ["VoiceLife"]

_SHARE_IN_VOICE: Final = 0.08
_FLAGS: Final = ("self_mute", "self_mute", "self_mute", "self_deaf", "self_stream", "self_video", "mute")


class VoiceLife:
    """Changes a guild's voice one state at a time."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def change(self, guild: Guild, member: Member) -> tuple[Member, Payload]:
        """The next change: who, and the payload of VOICE_STATE_UPDATE."""
        rng = self._rng
        wanted = max(2, len(guild.members) * _SHARE_IN_VOICE)
        if len(guild.voice) < 1 or (member.user_id not in guild.voice and rng.random() * 2 * wanted > len(guild.voice)):
            return member, self._join(guild, member)
        user_id = rng.choice(list(guild.voice))
        member = guild.present[user_id]
        kind = rng.random()
        if kind < 0.35:
            return member, self._leave(guild, member)
        state = guild.voice[user_id]
        if kind < 0.5:
            places = (*guild.voice_channels, *guild.voice_channels, guild.afk_channel, guild.stage_channel)
            state = state | {"channel_id": str(rng.choice(places))}
            state["suppress"] = state["channel_id"] == str(guild.stage_channel)
        else:
            flag = rng.choice(_FLAGS)
            state = state | {flag: not state[flag]}
        return member, self._put(guild, member, state)

    def _join(self, guild: Guild, member: Member) -> Payload:
        state: Payload = {
            "guild_id": str(guild.id),
            "channel_id": str(self._rng.choice(guild.voice_channels)),
            "user_id": str(member.user_id),
            "session_id": f"{self._rng.getrandbits(64):016x}",
            "request_to_speak_timestamp": None,
        }
        state |= dict.fromkeys(
            ("self_mute", "self_deaf", "self_stream", "self_video", "mute", "deaf", "suppress"), False
        )
        return self._put(guild, member, state)

    def _leave(self, guild: Guild, member: Member) -> Payload:
        del guild.present[member.user_id]
        return guild.voice.pop(member.user_id) | {"channel_id": None, "member": member.full()}

    def _put(self, guild: Guild, member: Member, state: Payload) -> Payload:
        guild.present[member.user_id] = member
        guild.voice[member.user_id] = state
        return state | {"member": member.full()}
