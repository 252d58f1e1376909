"""Reactions: given and received, and undone while they are remembered (DESIGN §5.4)."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import Any, Final

from guildstream.events import Event, ReactionAdd, ReactionClear, ReactionRemove, snowflake
from guildstream.measures import M
from processors.rules.awards import award_event, correct_points, derived_id, event_id
from processors.rules.messages import channel_of, required
from processors.rules.reaction_memory import Keys, bucket_key, bucket_keys
from processors.rules.records import Reaction
from processors.rules.voice import Voice

__all__ = ["REACTIONS", "buckets_of", "people_of", "reaction_add", "reaction_clear", "reaction_remove"]

REACTIONS: Final = frozenset({ReactionAdd, ReactionRemove, ReactionClear})


def buckets_of(event: Any) -> Sequence[str]:
    """Keys of the buckets that a reaction event may touch; none where it lacks an id."""
    guild_id: int = event.guild_id
    if isinstance(event, ReactionClear):
        return tuple(bucket_keys(guild_id, snowflake(event.data.message_id)))
    if event.user_id is None:
        return ()
    return (bucket_key(guild_id, snowflake(event.data.message_id), event.user_id),)


def people_of(voice: Voice, events: Sequence[Event]) -> Generator[Keys, None, None]:
    """Keys of the members whose reactions these events of one guild take back; their buckets are loaded.

    Also sweeps a part of what is forgotten.

    Yields:
        Keys to fetch before it is resumed.
    """
    guild = voice.guild
    takes = [key for event in events if event.__class__ is not ReactionAdd for key in buckets_of(event)]
    if takes:
        yield {"members": {guild.key_of(user_id) for user_id in guild.reactions.people(takes)}}
    yield from guild.reactions.sweep()


def reaction_add(voice: Voice, event: ReactionAdd, _owned: bool) -> None:
    """Count a reaction for who gave it and whose message it is, and remember it for a while."""
    guild, data, ts = voice.guild, event.data, event.ts
    user_id, channel_id = required(event.user_id, event, "user_id"), channel_of(event)
    author_id = 0 if data.author_id is None else snowflake(data.author_id)
    if guild.is_forgotten(author_id, ts):
        author_id = 0
    row = guild.row(ts, channel_id, user_id)
    row[M.REACTIONS_GIVEN] += 1
    member = guild.member(user_id)
    member.reactions_given += 1
    member.last_active_ms = max(member.last_active_ms, ts)
    member.first_active_ms = min(member.first_active_ms or ts, ts)
    policy = guild.policy
    given = received = 0
    if policy.reaction_given and (not member.bot or policy.bots_earn):
        given = award_event(voice, event, user_id, member, row, "reaction_given", policy.reaction_given, None)
    if author_id:
        row = guild.row(ts, channel_id, author_id)
        row[M.REACTIONS_RECEIVED] += 1
        base = policy.reaction_received
        if base and (policy.bots_earn or not guild.is_bot(author_id)):
            author, award_id = guild.member(author_id), derived_id(event_id(event), author_id)
            received = award_event(voice, event, author_id, author, row, "reaction_received", base, None, award_id)
    guild.reactions.advance(ts)
    key = bucket_key(guild.id, snowflake(data.message_id), user_id)
    reaction = Reaction(ts, 0, guild.day, channel_id, author_id, given, received)
    guild.reactions.remember(key, user_id, data.emoji, reaction)


def reaction_remove(voice: Voice, event: ReactionRemove, _owned: bool) -> None:
    """Undo a reaction that is remembered; of another it is only counted that there was one."""
    guild = voice.guild
    user_id = required(event.user_id, event, "user_id")
    guild.reactions.advance(event.ts)
    key = bucket_key(guild.id, snowflake(event.data.message_id), user_id)
    reaction = guild.reactions.take(key, user_id, event.data.emoji, event.ts)
    if reaction is None:
        guild.outbox.counters["unmatched"] += 1
    else:
        _undo(voice, event, user_id, reaction, 0)


def reaction_clear(voice: Voice, event: ReactionClear, _owned: bool) -> None:
    """Undo all remembered reactions of a message, or those of one emoji."""
    guild, message_id = voice.guild, snowflake(event.data.message_id)
    guild.reactions.advance(event.ts)
    taken = guild.reactions.take_all(bucket_keys(guild.id, message_id), event.data.emoji, event.ts)
    for number, (user_id, reaction) in enumerate(taken):
        _undo(voice, event, user_id, reaction, number)


def _undo(voice: Voice, event: Event, user_id: int, reaction: Reaction, number: int) -> None:
    """Book one less, and the points back, at the time of the addition; for nobody where they were erased."""
    guild, at_ms = voice.guild, reaction.at_ms
    place = (at_ms, reaction.day, reaction.channel_id)
    parts = (
        (user_id, M.REACTIONS_GIVEN, reaction.given, "reaction_given"),
        (reaction.author_id, M.REACTIONS_RECEIVED, reaction.received, "reaction_received"),
    )
    for part, (someone, measure, points, reason) in enumerate(parts):
        if not someone:
            continue
        who = max(someone, 0)
        row = guild.row_of_day(at_ms, reaction.day, (reaction.channel_id, who), who != 0 and guild.is_bot(who))
        row[measure] -= 1
        if who and measure == M.REACTIONS_GIVEN:
            guild.member(who).reactions_given -= 1
        if points:
            correct_points(
                voice, event, who, -points, reason=reason, place=place, number=2 * number + part, capped=True
            )
