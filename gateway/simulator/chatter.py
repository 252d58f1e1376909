"""What people write: conversations in bursts, reactions, commands."""

from __future__ import annotations

import random
from typing import Any, Final

from gateway.simulator.shapes import INTERACTION, attachment
from gateway.simulator.world import BOT_USER_ID, Guild, Member, Payload

__all__ = ["Chatter"]

_WORDS: Final = (
    "so",
    "the",
    "game",
    "tonight",
    "was",
    "great",
    "but",
    "maybe",
    "later",
    "who",
    "is",
    "in",
    "lol",
    "yes",
)
_EMOJI: Final = ("👍", "😂", "🎉", "❤️", "🔥")
_COMMANDS: Final = ("rank", "play", "poll", "remind", "settings")
_MAX_TALKS: Final = 6


class Chatter:
    """Makes message, reaction and interaction payloads."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng

    def message(self, guild: Guild, message_id: int, timestamp: str) -> tuple[Member, Payload]:
        """The next message of one of the guild's conversations, and who wrote it."""
        channel_id, author = self._talk(guild)
        payload = self.known_message(guild, message_id, channel_id, author, timestamp)
        rng = self._rng
        if rng.random() < 0.08:
            payload["attachments"] = [attachment(message_id + 1)]
        if guild.recent and rng.random() < 0.15:
            replied, place, other = rng.choice(guild.recent)
            payload["type"] = 19
            payload["message_reference"] = {"message_id": str(replied), "channel_id": str(place), "type": 0}
            payload["referenced_message"] = self.known_message(guild, replied, place, other, timestamp)
            payload["mentions"] = [other.user()]
        return author, payload

    def known_message(self, guild: Guild, message_id: int, channel_id: int, author: Member, timestamp: str) -> Payload:
        """A message object."""
        words = self._rng.choices(_WORDS, k=1 + int(self._rng.expovariate(0.15)))
        return {
            "id": str(message_id),
            "type": 0,
            "guild_id": str(guild.id),
            "channel_id": str(channel_id),
            "author": author.user(),
            "member": author.member(),
            "content": " ".join(words),
            "timestamp": timestamp,
            "edited_timestamp": None,
            "tts": False,
            "pinned": False,
            "flags": 0,
            "mention_everyone": False,
            "mentions": [],
            "mention_roles": [],
            "attachments": [],
            "embeds": [],
            "components": [],
        }

    def reaction(self, guild: Guild, member: Member) -> tuple[Payload, Member]:
        """A reaction to a recent message, and whose it is."""
        message_id, channel_id, author = self._rng.choice(guild.recent)
        return {
            "guild_id": str(guild.id),
            "channel_id": str(channel_id),
            "message_id": str(message_id),
            "message_author_id": str(author.user_id),
            "user_id": str(member.user_id),
            "emoji": {"id": None, "name": self._rng.choice(_EMOJI)},
            "burst": False,
            "type": 0,
        }, member

    def interaction(self, guild: Guild, member: Member, interaction_id: int) -> Payload:
        """A slash command, or a click on a button."""
        channel_id = self._rng.choice(guild.text_channels)
        made: dict[str, Any] = INTERACTION | {
            "id": str(interaction_id),
            "application_id": str(BOT_USER_ID),
            "guild_id": str(guild.id),
            "channel_id": str(channel_id),
            "channel": {"id": str(channel_id), "type": 0, "permissions": "0"},
            "member": member.full() | {"permissions": "0"},
        }
        if self._rng.random() < 0.2:
            clicked = self.known_message(guild, interaction_id - 1, channel_id, member, member.joined_at)
            data = {"component_type": 2, "custom_id": f"vote:{interaction_id}"}
            return made | {"type": 3, "data": data, "message": clicked}
        name = self._rng.choice(_COMMANDS)
        options = [{"type": 1, "name": "show", "options": []}] if name == "settings" else []
        return made | {"type": 2, "data": {"id": str(BOT_USER_ID), "type": 1, "name": name, "options": options}}

    def _talk(self, guild: Guild) -> tuple[int, Member]:
        """Go on with a conversation, or begin one: a channel, a few people, some ten messages."""
        rng = self._rng
        if not guild.talks or (len(guild.talks) < _MAX_TALKS and rng.random() < 0.05):
            people = rng.sample(guild.members, k=min(len(guild.members), rng.randint(2, 6)))
            guild.talks.append((rng.choice(guild.text_channels), people, 3 + int(rng.expovariate(0.1))))
        at = rng.randrange(len(guild.talks))
        channel_id, people, left = guild.talks[at]
        if left <= 1:
            del guild.talks[at]
        else:
            guild.talks[at] = (channel_id, people, left - 1)
        return channel_id, rng.choice(people)
