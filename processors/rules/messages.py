"""Messages and commands: what they count for and what they earn."""

from __future__ import annotations

from typing import Any

from guildstream.errors import InvalidEvent
from guildstream.events import (
    Command,
    Event,
    MessageCreate,
    MessageDelete,
    MessageDeleteBulk,
    MessageUpdate,
    snowflake,
)
from guildstream.measures import M
from processors.rules.awards import award_event
from processors.rules.voice import Voice

__all__ = [
    "channel_of",
    "command",
    "message_create",
    "message_delete",
    "message_delete_bulk",
    "message_update",
    "required",
]

#: Kinds of interaction that are a command; the others are clicks and keystrokes.
_COMMAND_KINDS = frozenset({"slash", "user", "message"})
_SPLIT_KINDS = frozenset({"component", "modal"})
_NAME_CHARS = 64

_MESSAGES, _SIZED, _CHARS, _ATTACHMENTS, _REPLIES = M.MESSAGES, M.SIZED, M.CHARS, M.ATTACHMENTS, M.REPLIES


def required(value: int | str | None, event: Event, name: str) -> int:
    """An id that this type of event can't be without.

    Raises:
        InvalidEvent: it is absent.
    """
    if value is None:
        raise InvalidEvent("missing_key", f"{event.type} needs {name}")
    return value if isinstance(value, int) else snowflake(value)


# The hot path of everything: branches cost less than calls here.
def message_create(voice: Voice, event: MessageCreate, owned: bool) -> None:  # noqa: C901
    """Count a message, and award it where the cooldown allows."""
    guild, data, ts = voice.guild, event.data, event.ts
    user_id: Any = event.user_id
    channel_id: Any = event.channel_id
    if user_id is None or channel_id is None:
        raise InvalidEvent("missing_key", f"{event.type} needs user_id and channel_id")
    member = guild.members.get(user_id)
    if member is None:
        member = guild.member(user_id)
    if not guild.window_from <= ts < guild.window_to:
        guild.turn_to(ts)
    if (data.bot or data.webhook) and not member.bot:
        voice.find_bot(user_id)
        guild.window.bots.add(user_id)
    place = (channel_id, user_id)
    row = guild.rows.get(place)
    if row is None:
        row = guild.new_row(place, member.bot)
    row[_MESSAGES] += 1
    if data.chars is not None:
        row[_SIZED] += 1
        row[_CHARS] += data.chars
    if data.attachments:
        row[_ATTACHMENTS] += data.attachments
    if data.reply_to is not None:
        row[_REPLIES] += 1
    member.messages += 1
    member.last_active_ms = max(member.last_active_ms, ts)
    if ts < member.first_active_ms or not member.first_active_ms:
        member.first_active_ms = ts
    if data.roles is not None and data.roles != member.roles:
        voice.see_roles(user_id, data.roles, ts, owned=owned)
    policy = guild.policy
    if ts - member.awarded_ms >= policy.cooldown_ms and (not member.bot or policy.bots_earn):
        base = policy.message_xp(snowflake(data.message_id))
        if base and award_event(voice, event, user_id, member, row, "message", base, data.thread_of):
            member.awarded_ms = ts


def message_update(voice: Voice, event: MessageUpdate, _owned: bool) -> None:
    """Count an edit, for its author where the event names them."""
    voice.guild.row(event.ts, channel_of(event), user_of(event))[M.EDITS] += 1


def message_delete(voice: Voice, event: MessageDelete, _owned: bool) -> None:
    """Count a deletion, for nobody: Discord doesn't say whose message it was."""
    voice.guild.row(event.ts, channel_of(event), 0)[M.DELETES] += 1


def message_delete_bulk(voice: Voice, event: MessageDeleteBulk, _owned: bool) -> None:
    """Count the deletions of a bulk, each message once."""
    deleted = len({snowflake(message_id) for message_id in event.data.message_ids})
    if deleted:
        voice.guild.row(event.ts, channel_of(event), 0)[M.DELETES] += deleted


def command(voice: Voice, event: Command, _owned: bool) -> None:
    """Count an interaction by name and kind, and as a command if it is one."""
    guild, data, ts = voice.guild, event.data, event.ts
    user_id, channel_id = required(event.user_id, event, "user_id"), channel_of(event)
    name = data.name.split(":", 1)[0] if data.kind in _SPLIT_KINDS else data.name
    guild.row(ts, channel_id, user_id)
    use = (guild.window_start, guild.id, channel_id, user_id, name[:_NAME_CHARS], data.kind)
    uses = guild.outbox.commands
    uses[use] = uses.get(use, 0) + 1
    if data.kind not in _COMMAND_KINDS:
        return
    row = guild.row(ts, channel_id, user_id)
    row[M.COMMANDS] += 1
    member = guild.member(user_id)
    member.last_active_ms = max(member.last_active_ms, ts)
    member.first_active_ms = min(member.first_active_ms or ts, ts)
    base = guild.policy.command_xp
    if base and (not member.bot or guild.policy.bots_earn):
        award_event(voice, event, user_id, member, row, "command", base, None)


def channel_of(event: Event) -> int:
    """The channel, 0 where the event names none."""
    return 0 if event.channel_id is None else int(event.channel_id)


def user_of(event: Event) -> int:
    """The user, 0 where the event names none."""
    return 0 if event.user_id is None else int(event.user_id)
