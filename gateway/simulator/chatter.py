"""What people write: conversations in bursts, reactions, commands."""

from __future__ import annotations

import random
from typing import Any, Final

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
        payload = self.known_message(guild, message_id, channel_id, author) | {"timestamp": timestamp}
        rng = self._rng
        if rng.random() < 0.08:
            payload["attachments"] = [{"id": str(message_id + 1), "filename": "clip.png", "size": 1024}]
        if guild.recent and rng.random() < 0.15:
            replied, _, other = rng.choice(guild.recent)
            payload["type"] = 19
            payload["referenced_message"] = {"id": str(replied), "author": other.user()}
            payload["mentions"] = [other.user()]
        return author, payload

    def known_message(self, guild: Guild, message_id: int, channel_id: int, author: Member) -> Payload:
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
        made: dict[str, Any] = {
            "id": str(interaction_id),
            "application_id": str(BOT_USER_ID),
            "token": "simulated",
            "version": 1,
            "guild_id": str(guild.id),
            "channel_id": str(self._rng.choice(guild.text_channels)),
            "member": member.full(),
        }
        if self._rng.random() < 0.2:
            return made | {"type": 3, "data": {"component_type": 2, "custom_id": f"vote:{interaction_id}"}}
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
