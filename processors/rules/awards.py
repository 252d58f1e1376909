"""Points for single events: given with a ledger row, taken back, or changed by decision (DESIGN §5.4)."""

from __future__ import annotations

from functools import lru_cache
from hashlib import blake2b
from typing import Any

from guildstream.event_ids import event_uuid
from guildstream.events import Event
from guildstream.measures import M
from processors.rules.policy import ONE, Policy
from processors.rules.records import MemberRecord
from processors.rules.slices import uuid8
from processors.rules.voice import Voice

__all__ = ["award_event", "correct_points", "derived_id", "event_id"]

_XP = M.XP

#: An instant, the guild's local day then, and a channel.
Place = tuple[int, int, int]


@lru_cache(maxsize=1024)
def _id_prefix(session: str) -> bytes:
    """The half of an event's id that its session alone decides."""
    return event_uuid(session, 0, 0)[:8]


def event_id(event: Event) -> bytes:
    """``event_uuid`` of an event, at a third of its cost where ``seq`` and ``part`` are of usual size."""
    seq, part = event.seq, event.part
    if seq >> 46 or part >> 16:
        return event_uuid(event.session, seq, part)
    return _id_prefix(event.session) + (1 << 63 | seq << 16 | part).to_bytes(8, "big")


def derived_id(cause: bytes, *what: int) -> bytes:
    """An id of one of several things that an event did."""
    return uuid8(blake2b(cause + b"".join(its.to_bytes(8, "big") for its in what), digest_size=16).digest())


def award_event(  # noqa: PLR0917 - on the path of every message
    voice: Voice,
    event: Event,
    user_id: int,
    member: MemberRecord,
    row: list[int],
    reason: str,
    base: int,
    thread_of: int | str | None,
    award_id: bytes | None = None,
) -> int:
    """Points for one event at its time, with their ledger row.

    Minutes in voice that are complete come first, so that the order of a member's awards does not
    depend on when voice is settled. The current window must be that of the event.

    Args:
        voice: of the guild.
        event: what it is for.
        user_id: who gets them.
        member: their record.
        row: their row of the event's window.
        reason: of the ledger row.
        base: points before multiplier and cap.
        thread_of: the channel's parent, as far as the event says.
        award_id: of the ledger row; the event's own where absent.

    Returns:
        The points; 0 is no award and leaves no trace.
    """
    guild, ts = voice.guild, event.ts
    segment = voice.segments.get(user_id)
    if segment is not None:
        voice.settle(segment, voice.now_ms())
    points, multiplier, policy = base, ONE, guild.policy
    if not policy.plain:
        multiplier = _multiplier(policy, event, user_id, member, thread_of)
        points = guild.allowance(member, guild.day, base * multiplier // ONE)
        if points <= 0:
            return 0
    row[_XP] += points
    guild.award(user_id, member, guild.day, ts, points, points=points)
    identity, day, version = event_id(event), guild.day, guild.record.settings_version
    place = (guild.id, event.channel_id or 0, user_id)
    guild.outbox.awards.append(
        [award_id or identity, ts, ts, day, *place, reason, 1, base, multiplier, points, version, identity],
    )
    return points


def _multiplier(policy: Policy, event: Event, user_id: int, member: MemberRecord, thread_of: int | str | None) -> int:
    """What multiplies the points of an event; 0 where an ignore list has a say."""
    channel_id: Any = event.channel_id or 0
    parent_id = None if thread_of is None else int(thread_of)
    if policy.ignores(user_id, channel_id, parent_id, member.roles):
        return 0
    return policy.multiplier(channel_id, parent_id, member.roles)


def correct_points(
    voice: Voice,
    event: Event,
    user_id: int,
    points: int,
    *,
    reason: str,
    place: Place,
    number: int,
    capped: bool,
    decision: tuple[str | None, int | None] | None = None,
) -> None:
    """Change a member's points by something that is no award; never below 0.

    Args:
        voice: of the guild.
        event: the cause.
        user_id: whose; of user 0, nobody, there are always enough.
        points: to add, or to take where negative.
        reason: of the ledger row.
        place: when, the local day then, and the channel.
        number: tells the corrections apart that an event makes to one member.
        capped: it undoes what counted for that day's cap.
        decision: of a decision, what was said for it and who made it; it has a ledger row even where it
            changes nothing.
    """
    guild, (at_ms, day, channel_id) = voice.guild, place
    segment = voice.segments.get(user_id)
    if segment is not None:
        voice.settle(segment, voice.now_ms())
    changed, bot = points, False
    if user_id:
        member = guild.member(user_id)
        changed, bot = max(points, -member.xp), member.bot
        if changed:
            guild.correct(user_id, member, day, at_ms, changed, capped=capped)
    if not changed and decision is None:
        return
    guild.row_of_day(at_ms, day, (channel_id, user_id), bot)[_XP] += changed
    identity = event_id(event)
    award_id = derived_id(identity, user_id, number)
    version = guild.record.settings_version
    who = (guild.id, channel_id, user_id)
    base = points if decision is not None else changed
    guild.outbox.awards.append(
        [award_id, at_ms, at_ms, day, *who, reason, 1, base, ONE, changed, version, identity, *(decision or ())]
    )
