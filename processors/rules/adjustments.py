"""Someone's decision about a member: points given, taken, reset or imported (DESIGN §3, §5.4)."""

from __future__ import annotations

from typing import Final

from guildstream.events import Adjust, snowflake
from guildstream.measures import M
from processors.rules.awards import correct_points
from processors.rules.messages import channel_of, required
from processors.rules.records import MemberRecord
from processors.rules.voice import Voice

__all__ = ["adjust"]

#: No total goes beyond this: it is the last that every reader of JSON holds exactly.
_MOST: Final = 2**53


def adjust(voice: Voice, event: Adjust, _owned: bool) -> None:
    """Change a member's points, messages and voice time, none of them below 0; always a ledger row.

    ``set_xp`` comes before ``xp`` where an event has both. Cooldown, caps and multipliers have no say.
    """
    guild, data, ts = voice.guild, event.data, event.ts
    user_id, channel_id = required(event.user_id, event, "user_id"), channel_of(event)
    segment = voice.segments.get(user_id)
    if segment is not None:
        voice.settle(segment, voice.now_ms())
    member = guild.member(user_id)
    row = guild.row(ts, channel_id, user_id)
    if data.messages:
        messages = _within(data.messages, member.messages)
        row[M.MESSAGES] += messages
        member.messages += messages
    if data.voice_ms:
        voice_ms = _within(data.voice_ms, member.voice_ms)
        guild.voice_row_at(ts, (channel_id, user_id), member.bot)[M.VOICE_MS] += voice_ms
        member.voice_ms += voice_ms
    by = None if data.by is None else snowflake(data.by)
    correct_points(
        voice,
        event,
        user_id,
        _points(member, data.set_xp, data.xp or 0),
        reason="adjust",
        place=(ts, guild.day, channel_id),
        number=0,
        capped=False,
        decision=(data.reason, by),
    )


def _points(member: MemberRecord, set_xp: int | None, xp: int) -> int:
    """What has to be added to a member's points."""
    start = 0 if set_xp is None else set_xp - member.xp
    return min(start + xp, _MOST - member.xp)


def _within(change: int, total: int) -> int:
    """A change that keeps a total between 0 and the most there is."""
    return min(max(change, -total), _MOST - total)
