"""A guild's settings compiled to what the rules read per event."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b

from guildstream.guild_settings import curve_of, read_settings
from processors.rules.conditions import Columns, columns_of, excluding_bits
from processors.rules.levels import LevelCurve
from processors.rules.local_time import local_days

__all__ = ["Policy", "policy_of"]


class Policy:
    """Settings of a guild, shared by all guilds that have the same. Constant but for what it remembers.

    Attributes:
        settings: what it was made of.
        days: the local days of the guild's time zone.
        curve: from XP to levels.
        cooldown_ms: between two message awards of a member.
        command_xp: points of a command.
        per_minute: points of a full active minute in voice.
        bots_earn: bots are not ignored.
        outage: what becomes of blind time: ``clip``, ``credit`` or ``drop``.
    """

    __slots__ = (
        "_columns",
        "_excluding",
        "_min",
        "_span",
        "bots_earn",
        "command_xp",
        "cooldown_ms",
        "curve",
        "days",
        "outage",
        "per_minute",
        "settings",
    )

    def __init__(self, stored: bytes) -> None:
        self.settings = settings = read_settings(stored)
        self.days = local_days(settings.timezone)
        self.curve = LevelCurve(curve_of(settings.levels.curve))
        message = settings.xp.message
        self.cooldown_ms = message.cooldown_seconds * 1000
        self._min = message.min
        self._span = message.max - message.min + 1
        self.command_xp = settings.xp.command
        self.per_minute = settings.xp.voice.per_minute
        self.bots_earn = not settings.xp.ignore.bots
        self.outage = settings.voice.outage
        self._excluding = excluding_bits(settings.xp.voice.require)
        self._columns: dict[int, Columns] = {}

    def message_xp(self, message_id: int) -> int:
        """The points of a message: random to people, equal in every replay."""
        digest = blake2b(message_id.to_bytes(8, "big"), digest_size=8).digest()
        return self._min + int.from_bytes(digest, "big") % self._span

    def columns(self, bits: int) -> Columns:
        """Which voice measures count under these conditions, and whether the time is active."""
        found = self._columns.get(bits)
        if found is None:
            found = self._columns[bits] = columns_of(bits, self._excluding)
        return found


@lru_cache(maxsize=1024)
def policy_of(stored: bytes) -> Policy:
    """The compiled form of stored settings."""
    return Policy(stored)
