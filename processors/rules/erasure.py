"""Forgetting a member, or a guild (DESIGN §5.4).

What a guild's sums need stays, booked to nobody (user 0). Of a member remain a keyed hash and the time,
so that whatever is older is dropped, wherever it comes from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from guildstream.events import Erase, snowflake
from processors.rules.awards import derived_id, event_id
from processors.rules.guild import Guild
from processors.rules.records import GuildRecord
from processors.rules.voice import Voice

__all__ = ["erase_guild", "erase_member", "purge_guild"]

_GUILD: Final = 4
_USER: Final = 6
_BY: Final = 15


def erase_member(voice: Voice, event: Erase, reactions: Iterable[str]) -> None:
    """Forget a member: their state is as if they had never been there, their facts are nobody's.

    Args:
        voice: of their guild.
        event: names them.
        reactions: keys of stored buckets of reactions that name them, loaded.
    """
    guild, user_id = voice.guild, snowflake(event.user_id or 0)
    voice.give_up()
    segment = voice.segments.get(user_id)
    if segment is not None:
        voice.close(segment, voice.advance(event.ts), "erase")
    member = guild.known(user_id)
    guild.take_off_boards(user_id, member)
    guild.members.pop(user_id, None)
    guild.tables.members.delete(guild.key_of(user_id))
    for window in guild.windows.values():
        guild.outbox.pending_rows -= window.move_to_nobody(user_id)
    guild.reactions.forget(user_id, reactions)
    _move_outbox(guild, user_id)
    guild.entomb(user_id, event.ts, keep_out=event.data.keep_out)
    guild.outbox.erased.append([guild.id, user_id, event.ts, -1, event.data.keep_out, event_id(event)])


def _move_outbox(guild: Guild, user_id: int) -> None:
    """What waits for the next drain and names the member, names nobody."""
    outbox, guild_id = guild.outbox, guild.id
    for award in outbox.awards:
        if award[_GUILD] == guild_id:
            _move_award(award, user_id)
    for session in outbox.sessions.values():
        if (session[2], session[4]) == (guild_id, user_id):
            session[4] = 0
    commands, outbox.commands = outbox.commands, {}
    for (bucket_ms, its_guild, channel_id, its_user, name, kind), uses in commands.items():
        who = 0 if (its_guild, its_user) == (guild_id, user_id) else its_user
        use = (bucket_ms, its_guild, channel_id, who, name, kind)
        outbox.commands[use] = outbox.commands.get(use, 0) + uses
    outbox.notices = [its for its in outbox.notices if (its["guild_id"], its["user_id"]) != (guild_id, user_id)]
    for flow in outbox.flow:
        if (flow[1], flow[2]) == (guild_id, user_id):
            flow[2] = 0
    for row in outbox.participants:
        if row[2] == guild_id:
            row[4] = [its for its in row[4] if its != user_id]


def _move_award(award: list[Any], user_id: int) -> None:
    if award[_USER] == user_id:
        award[_USER], award[13] = 0, None
        del award[14:]
    elif len(award) > _BY and award[_BY] == user_id:
        award[_BY] = None


def erase_guild(voice: Voice, event: Erase, keys: Mapping[str, Iterable[str]]) -> None:
    """Forget all of a guild but that it was erased, and when.

    Args:
        voice: the guild's.
        event: names no user.
        keys: of all state of the guild that may be stored, by table.
    """
    identity = event_id(event)
    _begin_anew(voice, keys, event.ts, keep_out=event.data.keep_out)
    voice.guild.outbox.erased.append([voice.guild.id, None, event.ts, -1, event.data.keep_out, identity])


def purge_guild(voice: Voice, keys: Mapping[str, Iterable[str]], removed_ms: int) -> None:
    """Forget a guild that the bot was removed from long ago.

    Args:
        voice: the guild's.
        keys: of all state of the guild that may be stored, by table.
        removed_ms: when; whatever is not newer will be dropped.
    """
    guild = voice.guild
    keep_out = guild.record.keep_out
    _begin_anew(voice, keys, removed_ms, keep_out=keep_out)
    identity = derived_id(b"purge", guild.id, removed_ms)
    guild.outbox.erased.append([guild.id, None, removed_ms, -1, keep_out, identity])


def _begin_anew(voice: Voice, keys: Mapping[str, Iterable[str]], ts: int, *, keep_out: bool) -> None:
    guild = voice.guild
    guild.outbox.removed.pop(guild.id, None)
    guild.tables.removals.delete(guild.key)
    for segment in list(voice.segments.values()):
        guild.tables.voice.delete(guild.key_of(segment.user_id))
        guild.tables.members.unpin(guild.key_of(segment.user_id))
    voice.segments.clear()
    voice.rooms.clear()
    for window in guild.windows.values():
        guild.outbox.pending_rows -= len(window.rows)
        guild.tables.windows.delete(window.key)
    guild.windows.clear()
    recent = map(guild.key_of, (*guild.members, *guild.members_before))
    for key in {*keys.get("members", ()), *guild.member_keys.values(), *recent}:
        guild.tables.members.delete(key)
    for key in {*keys.get("reactions", ()), *guild.reactions.touched}:
        guild.tables.reactions.delete(key)
    for key in guild.reactions.list_keys():
        guild.tables.reaction_lists.delete(key)
    guild.outbox.drop_guild(guild.id)
    former = guild.record
    erased_ms = max(ts, former.erased_ms)
    left = GuildRecord(owner=former.owner, erased=former.erased, erased_ms=erased_ms, keep_out=keep_out)
    guild.begin_anew(left)
