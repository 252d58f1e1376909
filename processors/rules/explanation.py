"""Why an event earned nothing, and what keeps somebody's time in voice from counting."""

from __future__ import annotations

from guildstream.events import Command, Event, MessageCreate, ReactionAdd
from guildstream.events import snowflake as number
from processors.rules.conditions import AFK, ALONE, AUDIENCE, BOT, DEAF, IGNORED, MUTED
from processors.rules.policy import ONE
from processors.rules.voice import Voice

__all__ = ["describe_voice", "why_nothing"]

_NAMES = {
    MUTED: "muted",
    DEAF: "deafened",
    ALONE: "alone",
    AFK: "in the AFK channel",
    AUDIENCE: "in the audience",
    BOT: "a bot",
    IGNORED: "on an ignore list",
}


def why_nothing(voice: Voice, event: Event) -> str | None:  # noqa: PLR0911 - a return a rule
    """Which rule refuses points to an event that is about to be applied; None where none does."""
    base, setting = _base(voice, event)
    if not base:
        return f"no points are set for it ({setting})" if setting else "events of this type earn nothing"
    guild, policy, user_id = voice.guild, voice.guild.policy, int(event.user_id or 0)
    member = guild.known(user_id)
    bot = member.bot or (isinstance(event, MessageCreate) and (event.data.bot or event.data.webhook))
    if bot and not policy.bots_earn:
        return "bots earn nothing (xp.ignore.bots)"
    wait_ms = policy.cooldown_ms - (event.ts - member.awarded_ms)
    if isinstance(event, MessageCreate) and wait_ms > 0:
        return f"cooldown: {wait_ms / 1000:g} s more (xp.message.cooldown_seconds)"
    channel_id = int(event.channel_id or 0)
    parent = event.data.thread_of if isinstance(event, MessageCreate) else None
    parent_id = None if parent is None else number(parent)
    if policy.ignores(user_id, channel_id, parent_id, member.roles):
        return "the member, a role or the channel is on an ignore list (xp.ignore)"
    points = base * policy.multiplier(channel_id, parent_id, member.roles) // ONE
    if not points:
        return "the multiplier leaves nothing (xp.multipliers)"
    if not guild.allowance(member, policy.days.day(event.ts), points):
        return "the day's cap is reached (xp.daily_cap)"
    return None


def _base(voice: Voice, event: Event) -> tuple[int, str]:
    """Points before everything else, and the setting that says so."""
    policy = voice.guild.policy
    if isinstance(event, MessageCreate):
        return policy.message_xp(number(event.data.message_id)), "xp.message"
    if isinstance(event, ReactionAdd):
        return policy.reaction_given, "xp.reaction.given"
    if isinstance(event, Command):
        return policy.command_xp, "xp.command"
    return 0, ""


def describe_voice(voice: Voice, user_id: int) -> str | None:
    """Where somebody is in voice and whether that counts; None where they are not."""
    segment = voice.segments.get(user_id)
    if segment is None:
        return None
    _, active = voice.guild.policy.columns(segment.bits)
    held = ", ".join(name for bit, name in _NAMES.items() if segment.bits & bit) or "nothing against it"
    counts = "counts" if active else "does not count"
    required = ", ".join(voice.guild.policy.settings.xp.voice.require)
    return f"in voice channel {segment.channel_id}: {held}; the time {counts} (xp.voice.require: {required})"
