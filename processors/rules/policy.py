"""A guild's settings compiled to what the rules read per event."""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from guildstream.guild_settings import Multipliers, curve_of, read_settings, thousandths
from processors.rules.conditions import Columns, columns_of, excluding_bits
from processors.rules.levels import LevelCurve
from processors.rules.local_time import local_days

__all__ = ["ONE", "Policy", "policy_of"]

#: A multiplier of 1, in thousandths.
ONE: Final = 1000


class Policy:
    """Settings of a guild, shared by all guilds that have the same. Constant but for what it remembers.

    Attributes:
        settings: what it was made of.
        days: the local days of the guild's time zone.
        curve: from XP to levels.
        cooldown_ms: between two message awards of a member.
        command_xp: points of a command.
        reaction_given: points of a reaction, to who gave it.
        reaction_received: the same to whose message it is.
        per_minute: points of a full active minute in voice.
        bots_earn: bots are not ignored.
        daily_cap: the most a member earns in a local day, None without a limit.
        plain: no multiplier, ignore list or cap is set, so what is earned is what is awarded.
        by_roles: a member's roles matter to what they earn.
        outage: what becomes of blind time: ``clip``, ``credit`` or ``drop``.
    """

    __slots__ = (
        "_columns",
        "_excluding",
        "_factors",
        "_ignored",
        "_ignored_roles",
        "_min",
        "_rewards",
        "_rewards_stack",
        "_role_factors",
        "_span",
        "_stacking",
        "bots_earn",
        "by_roles",
        "command_xp",
        "cooldown_ms",
        "curve",
        "daily_cap",
        "days",
        "outage",
        "per_minute",
        "plain",
        "reaction_given",
        "reaction_received",
        "settings",
    )

    def __init__(self, stored: bytes) -> None:
        self.settings = settings = read_settings(stored)
        self.days = local_days(settings.timezone)
        self.curve = LevelCurve(curve_of(settings.levels.curve))
        self._rewards = sorted((reward.level, int(reward.role_id)) for reward in settings.rewards)
        self._rewards_stack = settings.rewards_stack
        message = settings.xp.message
        self.cooldown_ms = message.cooldown_seconds * 1000
        self._min = message.min
        self._span = message.max - message.min + 1
        self.command_xp = settings.xp.command
        self.reaction_given = settings.xp.reaction.given
        self.reaction_received = settings.xp.reaction.received
        self.per_minute = settings.xp.voice.per_minute
        self.bots_earn = not settings.xp.ignore.bots
        self.outage = settings.voice.outage
        self._excluding = excluding_bits(settings.xp.voice.require)
        self._columns: dict[int, Columns] = {}
        self.daily_cap = settings.xp.daily_cap
        ignore = settings.xp.ignore
        self._ignored = frozenset(int(its) for its in (*ignore.users, *ignore.channels))
        self._ignored_roles = frozenset(int(role) for role in ignore.roles)
        self._set_multipliers(settings.xp.multipliers)
        self.by_roles = bool(self._role_factors or self._ignored_roles)
        self.plain = not (self.by_roles or self._ignored or self._factors or self.daily_cap is not None)

    def _set_multipliers(self, multipliers: Multipliers) -> None:
        self._stacking = multipliers.stacking
        self._role_factors = {int(role): thousandths(value) for role, value in multipliers.roles.items()}
        self._factors = {int(channel): thousandths(value) for channel, value in multipliers.channels.items()}

    def ignores(self, user_id: int, channel_id: int, parent_id: int | None, roles: Iterable[int] | None) -> bool:
        """Whether an ignore list names the member, a role of theirs, the channel or its parent."""
        ignored = self._ignored
        if user_id in ignored or channel_id in ignored or parent_id in ignored:
            return True
        return roles is not None and not self._ignored_roles.isdisjoint(roles)

    def multiplier(self, channel_id: int, parent_id: int | None, roles: Iterable[int] | None) -> int:
        """The factor that applies, in thousandths: of the roles, and of the channel or else its parent."""
        factors = [self._role_factors[role] for role in roles or () if role in self._role_factors]
        place = self._factors.get(channel_id)
        if place is None and parent_id is not None:
            place = self._factors.get(parent_id)
        if place is not None:
            factors.append(place)
        if not factors:
            return ONE
        if self._stacking == "highest":
            return max(factors)
        if self._stacking == "add":
            return max(0, ONE + sum(factor - ONE for factor in factors))
        product = ONE
        for factor in factors:
            product = product * factor // ONE
        return product

    def roles_of(self, level: int) -> set[int]:
        """The roles that a level brings: all up to it, or those of the last rewarded level alone."""
        reached = [(its, role) for its, role in self._rewards if its <= level]
        return {role for its, role in reached if self._rewards_stack or its == reached[-1][0]}

    def roles_between(self, old: int, new: int) -> tuple[list[int], list[int]]:
        """Roles that come and roles that go with another level."""
        if not self._rewards:
            return [], []
        had, has = self.roles_of(old), self.roles_of(new)
        return sorted(has - had), sorted(had - has)

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
