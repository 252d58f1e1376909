"""The oracle forgets somebody: everything that names them goes through its hands."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

if TYPE_CHECKING:
    from .oracle import Oracle


def erase_member(oracle: Oracle, guild: int, user: int, nobody: int) -> None:
    """What was a member's is somebody's who is nobody else."""
    for key in [key for key in oracle.rows if (key[2], key[4]) == (guild, user)]:
        oracle.rows[*key[:4], nobody] = oracle.rows.pop(key)
    for its in (*oracle.stays, *oracle.segments):
        if (its.guild, its.user) == (guild, user):
            its.user = nobody
    for key in [key for key in oracle.reactions if (key[0], key[3]) == (guild, user)]:
        oracle.reactions[*key[:3], nobody] = oracle.reactions.pop(key)
    for reacted in oracle.reactions.values():
        for row in reacted.rows:
            row[3] = (guild, nobody) if row[3] == (guild, user) else row[3]
    oracle.limits.forget(guild, user)
    oracle.xp.pop((guild, user), None)
    oracle.awarded.pop((guild, user), None)
    oracle.bots.discard((guild, user))
    for flow in oracle.flow:
        flow[2] = 0 if (flow[1], flow[2]) == (guild, user) else flow[2]


def erase_guild(oracle: Oracle, guild: int) -> None:
    """A guild is as if it had never been, but for who owns it."""
    rows = {key: row for key, row in oracle.rows.items() if key[2] != guild}
    oracle.rows = defaultdict(oracle.rows.default_factory, rows)
    oracle.stays = [its for its in oracle.stays if its.guild != guild]
    for its in oracle.segments:
        its.guild = None if its.guild == guild else its.guild
    oracle.reactions = {key: its for key, its in oracle.reactions.items() if key[0] != guild}
    oracle.limits.forget(guild)
    for key in [key for key in oracle.xp if key[0] == guild]:
        del oracle.xp[key]
    oracle.awarded = {who: at for who, at in oracle.awarded.items() if who[0] != guild}
    oracle.bots = {who for who in oracle.bots if who[0] != guild}
    oracle.flow = [row for row in oracle.flow if row[1] != guild]
    oracle.inside[guild] = {}
    oracle.stand[guild] = oracle.clock[guild] = 0
    oracle.afk[guild] = None
    oracle.frozen.discard(guild)
    oracle.outage.pop(guild, None)
    oracle.removed.pop(guild, None)
    oracle.settings[guild], oracle.zones[guild] = {}, ZoneInfo("UTC")
