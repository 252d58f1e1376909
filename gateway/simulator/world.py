"""Who lives in the simulated Discord: guilds of zipf sizes with channels, roles and people, from a seed."""

from __future__ import annotations

import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from gateway.simulator.shapes import ROLE, channel
from guildstream.discord.payloads import DISCORD_EPOCH_MS

__all__ = ["BOT_USER_ID", "Guild", "Member", "Payload", "SnowflakeMaker", "iso", "make_world"]

Payload = dict[str, Any]

BOT_USER_ID: Final = 1_100_000_000_000_000_001
_FOUNDED_FROM_MS: Final = 1_451_606_400_000  # 2016
_FOUNDED_TO_MS: Final = 1_704_067_200_000  # 2024
_LARGEST_GUILD: Final = 400
_SMALLEST_GUILD: Final = 5
_SYLLABLES: Final = ("ka", "lo", "mi", "ren", "tas", "vo", "el", "dra", "shi", "bun", "or", "pix", "zu", "nim", "fa")
_PLACES: Final = ("general", "off-topic", "memes", "help", "music", "art", "dev", "trading", "lfg", "news", "clips")


class SnowflakeMaker:
    """Ids as Discord makes them: the time, then a counter that keeps them apart."""

    def __init__(self) -> None:
        self._count = 0

    def make(self, ms: int) -> int:
        """A new id of that time."""
        self._count += 1
        return ((ms - DISCORD_EPOCH_MS) << 22) | (self._count & 0x3FFFFF)


def iso(ms: int, microseconds: int = 0) -> str:
    """A time as Discord writes it."""
    at = datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000 + microseconds)
    return at.isoformat(timespec="microseconds")


@dataclass(slots=True)
class Member:
    """One person in one guild. ``version`` rises with every change of what payloads show."""

    user_id: int
    username: str
    display_name: str | None
    bot: bool
    joined_at: str
    roles: list[int]
    nick: str | None = None
    version: int = 0

    def user(self) -> Payload:
        """The user object."""
        made: Payload = {
            "id": str(self.user_id),
            "username": self.username,
            "global_name": self.display_name,
            "discriminator": "0",
            "avatar": None,
            "public_flags": 0,
        }
        return made | {"bot": True} if self.bot else made

    def member(self) -> Payload:
        """The member object without its user."""
        return {
            "roles": [str(role) for role in self.roles],
            "nick": self.nick,
            "joined_at": self.joined_at,
            "premium_since": None,
            "avatar": None,
            "mute": False,
            "deaf": False,
            "pending": False,
            "flags": 0,
        }

    def full(self) -> Payload:
        """The member object with its user."""
        return {"user": self.user(), **self.member()}


@dataclass(slots=True)
class Guild:
    """A guild and what is going on in it."""

    id: int
    name: str
    members: list[Member]
    text_channels: list[int]
    voice_channels: list[int]
    afk_channel: int
    stage_channel: int
    roles: list[int]
    offset_hours: int
    channel_names: dict[int, str]
    voice: dict[int, Payload] = field(default_factory=dict)
    recent: deque[tuple[int, int, Member]] = field(default_factory=lambda: deque(maxlen=50))
    reactions: deque[Payload] = field(default_factory=lambda: deque(maxlen=50))
    talks: list[tuple[int, list[Member], int]] = field(default_factory=list)
    present: dict[int, Member] = field(default_factory=dict)

    def channels(self) -> list[Payload]:
        """The channel objects."""
        kinds = dict.fromkeys(self.text_channels, 0) | dict.fromkeys(self.voice_channels, 2)
        kinds |= {self.afk_channel: 2, self.stage_channel: 13}
        return [self.channel(channel_id, kind, place) for place, (channel_id, kind) in enumerate(kinds.items())]

    def channel(self, channel_id: int, kind: int, position: int) -> Payload:
        """One channel object."""
        return channel(channel_id, kind, self.channel_names[channel_id], position)

    def role_objects(self) -> list[Payload]:
        """The role objects; the first is everyone's."""
        return [ROLE | {"id": str(role), "name": f"role {at}", "position": at} for at, role in enumerate(self.roles)]


def make_world(seed: int, guilds: int, now_ms: int) -> list[Guild]:
    """The guilds, largest first; the same seed gives the same people."""
    rng = random.Random(seed)  # noqa: S311  # invented people need no secrets
    pool = [_person(rng) for _ in range(_LARGEST_GUILD + 40 * guilds)]
    return [_guild(rng, rank, pool, now_ms) for rank in range(1, guilds + 1)]


def _person(rng: random.Random) -> tuple[int, str, str | None, bool]:
    name = "".join(rng.choices(_SYLLABLES, k=rng.randint(2, 4)))
    user_id = _snowflake_between(rng, _FOUNDED_FROM_MS, _FOUNDED_TO_MS)
    return user_id, f"{name}{rng.randint(1, 999)}", name.title() if rng.random() < 0.6 else None, rng.random() < 0.04


def _guild(rng: random.Random, rank: int, pool: list[tuple[int, str, str | None, bool]], now_ms: int) -> Guild:
    guild_id = _snowflake_between(rng, _FOUNDED_FROM_MS, _FOUNDED_TO_MS)
    roles = [guild_id, *(guild_id + 100 + number for number in range(4))]
    size = max(_SMALLEST_GUILD, round(_LARGEST_GUILD / rank))
    texts = max(2, min(8, size // 20))
    voices = max(1, min(5, size // 40))
    channels = [guild_id + 1 + number for number in range(texts + voices + 2)]
    names = dict(zip(channels, [*rng.sample(_PLACES, texts), *(f"voice {n + 1}" for n in range(voices))], strict=False))
    afk, stage = channels[-2:]
    return Guild(
        id=guild_id,
        name="".join(rng.choices(_SYLLABLES, k=3)).title(),
        members=[_member(rng, person, roles, now_ms) for person in rng.sample(pool, size)],
        text_channels=channels[:texts],
        voice_channels=channels[texts:-2],
        afk_channel=afk,
        stage_channel=stage,
        roles=roles,
        offset_hours=rng.choice((-8, -5, -3, 0, 1, 1, 2, 3, 5, 8, 9)),
        channel_names=names | {afk: "away", stage: "stage"},
    )


def _member(rng: random.Random, person: tuple[int, str, str | None, bool], roles: list[int], now_ms: int) -> Member:
    user_id, username, display_name, bot = person
    joined_at = iso(rng.randrange(_FOUNDED_TO_MS, now_ms))
    held = sorted(rng.sample(roles[1:], k=rng.choice((0, 0, 1, 1, 2))))
    return Member(user_id, username, display_name, bot, joined_at, held)


def _snowflake_between(rng: random.Random, from_ms: int, to_ms: int) -> int:
    return ((rng.randrange(from_ms, to_ms) - DISCORD_EPOCH_MS) << 22) | (rng.getrandbits(10) << 12)
