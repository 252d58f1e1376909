"""What the people of the simulated Discord do, as dispatches; and which events each of them means."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

from gateway.simulator.chatter import Chatter
from gateway.simulator.shapes import GUILD
from gateway.simulator.voice import VoiceLife
from gateway.simulator.world import Guild, Member, Payload, SnowflakeMaker, iso

__all__ = ["Dispatch", "Traffic", "guild_create"]

_GUILDS, _MEMBERS, _MODERATION, _VOICE, _MESSAGES, _REACTIONS, _TYPING = 1, 2, 4, 128, 512, 1024, 2048
_RHYTHM_SECONDS: Final = 10.0


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One dispatch.

    Attributes:
        guild_id: where it happens.
        name: Discord's event name.
        payload: its ``d``.
        intent: the intent that a session needs to get it, 0 for none.
        events: the contract's event types that it means, ``member_update`` by showing somebody apart.
        shown: members whose name and roles the payload shows.
    """

    guild_id: int
    name: str
    payload: Payload
    intent: int
    events: tuple[str, ...]
    shown: tuple[Member, ...] = ()


class Traffic:
    """An endless stream of dispatches; the same seed and the same clock give the same one.

    Args:
        guilds: the world.
        seed: of everything that happens.
    """

    def __init__(self, guilds: Sequence[Guild], seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311  # invented people need no secrets
        self._guilds = guilds
        self._snowflakes = SnowflakeMaker()
        self._chatter = Chatter(self._rng)
        self._voice = VoiceLife(self._rng)
        self._edits = 0
        self._weights: list[float] = []
        self._weights_at_ms = 0
        actions: dict[Callable[[Guild, int], Dispatch | None], float] = {
            self._message: 60,
            self._reaction_add: 14,
            self._reaction_remove: 1.5,
            self._voice_change: 13,
            self._edit: 3,
            self._preview: 1,
            self._delete: 1.2,
            self._command: 3,
            self._typing: 2,
            self._welcome: 0.2,
            self._join: 0.2,
            self._leave: 0.1,
            self._rename: 0.2,
            self._channel_update: 0.05,
            self._audit: 0.05,
        }
        self._actions = list(actions)
        self._action_weights = list(accumulate(actions.values()))

    def next(self, now_ms: int) -> Dispatch:
        """The next thing that happens, now."""
        if now_ms - self._weights_at_ms > _RHYTHM_SECONDS * 1000:
            self._weights = list(accumulate(_liveliness(guild, now_ms) for guild in self._guilds))
            self._weights_at_ms = now_ms
        while True:
            guild = self._rng.choices(self._guilds, cum_weights=self._weights)[0]
            action = self._rng.choices(self._actions, cum_weights=self._action_weights)[0]
            if (dispatch := action(guild, now_ms)) is not None:
                return dispatch

    def _somebody(self, guild: Guild) -> Member:
        """Few people do most: the first of the list more often than the last."""
        return guild.members[int(len(guild.members) * self._rng.random() ** 2)]

    def _message(self, guild: Guild, now_ms: int) -> Dispatch:
        message_id = self._snowflakes.make(now_ms)
        author, payload = self._chatter.message(guild, message_id, iso(now_ms))
        guild.recent.append((message_id, int(payload["channel_id"]), author))
        return Dispatch(guild.id, "MESSAGE_CREATE", payload, _MESSAGES, ("message_create",), (author,))

    def _welcome(self, guild: Guild, now_ms: int) -> Dispatch:
        """A join message: Discord writes it, nobody said anything."""
        _, payload = self._chatter.message(guild, self._snowflakes.make(now_ms), iso(now_ms))
        return Dispatch(guild.id, "MESSAGE_CREATE", payload | {"type": 7, "content": ""}, _MESSAGES, ())

    def _edit(self, guild: Guild, now_ms: int) -> Dispatch | None:
        # No two edits at the same time, or the second would look like an update that edits nothing.
        self._edits = (self._edits + 1) % 1000
        return self._update(guild, now_ms, iso(now_ms, self._edits), ("message_update",))

    def _preview(self, guild: Guild, now_ms: int) -> Dispatch | None:
        """A link's preview arrives: an update that edits nothing."""
        return self._update(guild, now_ms, None, ())

    def _update(self, guild: Guild, now_ms: int, edited: str | None, events: tuple[str, ...]) -> Dispatch | None:
        if not guild.recent:
            return None
        message_id, channel_id, author = self._rng.choice(guild.recent)
        payload = self._chatter.known_message(guild, message_id, channel_id, author, iso(now_ms))
        payload["edited_timestamp"] = edited
        return Dispatch(guild.id, "MESSAGE_UPDATE", payload, _MESSAGES, events)

    def _delete(self, guild: Guild, _now_ms: int) -> Dispatch | None:
        if not guild.recent:
            return None
        message_id, channel_id, _ = guild.recent.pop()
        payload = {"id": str(message_id), "channel_id": str(channel_id), "guild_id": str(guild.id)}
        if self._rng.random() < 0.1 and guild.recent:
            both = [payload.pop("id"), str(guild.recent.pop()[0])]
            bulk = payload | {"ids": both}
            return Dispatch(guild.id, "MESSAGE_DELETE_BULK", bulk, _MESSAGES, ("message_delete_bulk",))
        return Dispatch(guild.id, "MESSAGE_DELETE", payload, _MESSAGES, ("message_delete",))

    def _reaction_add(self, guild: Guild, _now_ms: int) -> Dispatch | None:
        if not guild.recent:
            return None
        payload, member = self._chatter.reaction(guild, self._somebody(guild))
        guild.reactions.append(payload)
        shown = {"member": member.full()}
        return Dispatch(guild.id, "MESSAGE_REACTION_ADD", payload | shown, _REACTIONS, ("reaction_add",), (member,))

    def _reaction_remove(self, guild: Guild, _now_ms: int) -> Dispatch | None:
        if not guild.reactions:
            return None
        payload = guild.reactions.pop()
        kind = self._rng.random()
        where = {key: payload[key] for key in ("guild_id", "channel_id", "message_id")}
        if kind < 0.05:
            return Dispatch(guild.id, "MESSAGE_REACTION_REMOVE_ALL", where, _REACTIONS, ("reaction_clear",))
        if kind < 0.1:
            one = where | {"emoji": payload["emoji"]}
            return Dispatch(guild.id, "MESSAGE_REACTION_REMOVE_EMOJI", one, _REACTIONS, ("reaction_clear",))
        return Dispatch(guild.id, "MESSAGE_REACTION_REMOVE", payload, _REACTIONS, ("reaction_remove",))

    def _voice_change(self, guild: Guild, _now_ms: int) -> Dispatch:
        member, payload = self._voice.change(guild, self._somebody(guild))
        return Dispatch(guild.id, "VOICE_STATE_UPDATE", payload, _VOICE, ("voice_state",), (member,))

    def _command(self, guild: Guild, now_ms: int) -> Dispatch:
        member = self._somebody(guild)
        payload = self._chatter.interaction(guild, member, self._snowflakes.make(now_ms))
        return Dispatch(guild.id, "INTERACTION_CREATE", payload, 0, ("command",), (member,))

    def _typing(self, guild: Guild, now_ms: int) -> Dispatch:
        member = self._somebody(guild)
        payload = {
            "guild_id": str(guild.id),
            "channel_id": str(self._rng.choice(guild.text_channels)),
            "user_id": str(member.user_id),
            "timestamp": now_ms // 1000,
            "member": member.full(),
        }
        return Dispatch(guild.id, "TYPING_START", payload, _TYPING, ())

    def _join(self, guild: Guild, now_ms: int) -> Dispatch:
        name = f"newcomer{self._rng.randint(1, 99_999)}"
        member = Member(self._snowflakes.make(now_ms), name, None, False, iso(now_ms), [])
        guild.members.append(member)
        payload = {"guild_id": str(guild.id), **member.full()}
        return Dispatch(guild.id, "GUILD_MEMBER_ADD", payload, _MEMBERS, ("member_join",), (member,))

    def _leave(self, guild: Guild, _now_ms: int) -> Dispatch | None:
        member = guild.members[-1]
        if len(guild.members) < 4 or member.user_id in guild.voice:
            return None
        guild.members.pop()
        payload = {"guild_id": str(guild.id), "user": member.user()}
        return Dispatch(guild.id, "GUILD_MEMBER_REMOVE", payload, _MEMBERS, ("member_leave",))

    def _rename(self, guild: Guild, _now_ms: int) -> Dispatch:
        member = self._somebody(guild)
        member.nick = f"{member.username} {self._rng.randint(1, 9_999)}"
        member.version += 1
        payload = {"guild_id": str(guild.id), **member.full()}
        return Dispatch(guild.id, "GUILD_MEMBER_UPDATE", payload, _MEMBERS, ("member_update",), (member,))

    def _channel_update(self, guild: Guild, _now_ms: int) -> Dispatch:
        channel_id = self._rng.choice(guild.text_channels)
        payload = guild.channel(channel_id, 0, guild.text_channels.index(channel_id))
        return Dispatch(guild.id, "CHANNEL_UPDATE", payload | {"guild_id": str(guild.id)}, _GUILDS, ("channel_update",))

    def _audit(self, guild: Guild, now_ms: int) -> Dispatch:
        payload: dict[str, Any] = {
            "guild_id": str(guild.id),
            "id": str(self._snowflakes.make(now_ms)),
            "user_id": str(guild.members[0].user_id),
            "target_id": str(self._somebody(guild).user_id),
            "action_type": self._rng.choice((20, 22, 24, 25)),
            "reason": "as agreed",
        }
        return Dispatch(guild.id, "GUILD_AUDIT_LOG_ENTRY_CREATE", payload, _MODERATION, ("moderation",))


def guild_create(guild: Guild, member_count: int) -> Dispatch:
    """GUILD_CREATE, as a session gets it after READY: with those in voice, and a few more members."""
    shown = tuple({member.user_id: member for member in (*guild.present.values(), *guild.members[:10])}.values())
    payload = GUILD | {
        "id": str(guild.id),
        "joined_at": guild.members[0].joined_at,
        "name": guild.name,
        "owner_id": str(guild.members[0].user_id),
        "afk_channel_id": str(guild.afk_channel),
        "member_count": member_count,
        "large": member_count > 250,
        "unavailable": False,
        "channels": guild.channels(),
        "threads": [],
        "roles": guild.role_objects(),
        "members": [member.full() for member in shown],
        # As Discord sends them: without guild_id and member.
        "voice_states": [
            {key: value for key, value in state.items() if key not in {"guild_id", "member"}}
            for state in guild.voice.values()
        ],
        "presences": [],
    }
    return Dispatch(guild.id, "GUILD_CREATE", payload, _GUILDS, ("guild_update", "voice_snapshot"), shown)


def _liveliness(guild: Guild, now_ms: int) -> float:
    """Larger guilds do more, and evenings are livelier than nights."""
    hour = (now_ms / 3_600_000 + guild.offset_hours) % 24
    return len(guild.members) * (0.15 + 0.85 * (0.5 + 0.5 * math.cos((hour - 20) / 24 * 2 * math.pi)) ** 2)
