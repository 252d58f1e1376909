"""What voice events, and events that end or interrupt voice, do to a guild's voice."""

from __future__ import annotations

from msgspec import UnsetType, json

from guildstream.errors import ConfigError, InvalidEvent
from guildstream.events import (
    ChannelDelete,
    Gap,
    GuildRemove,
    GuildUnavailable,
    GuildUpdate,
    MemberJoin,
    MemberLeave,
    MemberUpdate,
    SettingsChange,
    VoiceFlags,
    VoiceSnapshot,
    VoiceState,
    snowflake,
)
from guildstream.guild_settings import change_settings
from processors.rules.awards import derived_id, event_id
from processors.rules.conditions import BOT, INFERRED, flag_bits
from processors.rules.guild import Guild
from processors.rules.messages import required
from processors.rules.policy import policy_of
from processors.rules.records import Removal
from processors.rules.voice import Voice

__all__ = [
    "channel_delete",
    "gap",
    "gap_row",
    "guild_remove",
    "guild_unavailable",
    "guild_update",
    "member_join",
    "member_leave",
    "member_update",
    "pass_over",
    "settings_change",
    "voice_snapshot",
    "voice_state",
]


def voice_state(voice: Voice, event: VoiceState, owned: bool) -> None:
    """Somebody's state changed. While voice is frozen the next snapshot decides instead."""
    user_id = required(event.user_id, event, "user_id")
    if not owned or voice.guild.record.frozen:
        return
    at_ms = voice.advance(event.ts)
    segment = voice.segments.get(user_id)
    if segment is not None and event.replayed:
        source = voice.guild.source
        voice.settle(segment, min(at_ms, source.heartbeat_ms if source else 0))
        voice.end_slice(segment)
        voice.settle(segment, at_ms, INFERRED)
        voice.end_slice(segment)
    if event.data.roles is not None:
        voice.see_roles(user_id, event.data.roles, at_ms, owned=owned)
    channel_id = event.channel_id
    if channel_id is None:
        if segment is not None:
            voice.close(segment, at_ms, "leave")
            _list_others(voice, event, segment.channel_id, user_id)
        return
    channel_id, flags = int(channel_id), _flags(voice.guild, user_id, event.data)
    if segment is None:
        identity = event_id(event)
        voice.open(user_id, channel_id, flags, at_ms, (identity, identity), joined=True)
        _list_others(voice, event, channel_id, user_id)
    elif segment.channel_id == channel_id:
        voice.change(segment, at_ms, flags)
    else:
        voice.close(segment, at_ms, "move", moves_on=True)
        voice.open(user_id, channel_id, flags, at_ms, (event_id(event), segment.visit_id), joined=False)
        _list_others(voice, event, channel_id, user_id)


def _list_others(voice: Voice, event: VoiceState, channel_id: int, user_id: int) -> None:
    """Who else is in the channel that somebody joined, moved to or left."""
    others = voice.others(channel_id, user_id)
    if others:
        guild = voice.guild
        guild.outbox.participants.append([event_id(event), event.ts, guild.id, channel_id, others])


def voice_snapshot(voice: Voice, event: VoiceSnapshot, _owned: bool) -> None:
    """Everybody who is in voice now; time since the voice stood still was blind."""
    guild = voice.guild
    states = {snowflake(state.user_id): (snowflake(state.channel_id), state) for state in event.data.states}
    if guild.has_erased:
        states = {user_id: its for user_id, its in states.items() if not guild.is_forgotten(user_id, event.ts)}
    voice.give_up()
    stand_ms = voice.now_ms()
    guild.record.frozen = False
    at_ms = max(event.ts, stand_ms, voice.now_ms())
    visits: dict[int, bytes] = {}
    # In an order that does not depend on where the segments came from: who leaves first leaves others alone.
    for user_id, segment in sorted(voice.segments.items()):
        now_in = states[user_id][0] if user_id in states else None
        if now_in == segment.channel_id and guild.policy.outage != "drop":
            continue
        moved = now_in is not None and now_in != segment.channel_id
        voice.close(segment, stand_ms, "move" if moved else "timeout", moves_on=moved and at_ms == stand_ms)
        if moved:
            visits[user_id] = segment.visit_id
    pass_over(voice, stand_ms, at_ms)
    guild.record.voice_ms = at_ms
    if guild.record.outage is not None:
        began_ms, session, shard = guild.record.outage
        guild.outbox.gaps.append([session, shard, None, guild.id, began_ms, max(at_ms, began_ms), "outage"])
        guild.record.outage = None
    guild.save()
    cause = event_id(event)
    for user_id, (channel_id, state) in states.items():
        if state.roles is not None:
            voice.see_roles(user_id, state.roles, at_ms, owned=True)
        open_segment = voice.segments.get(user_id)
        flags = _flags(guild, user_id, state)
        if open_segment is not None:
            voice.change(open_segment, at_ms, flags)
            continue
        identity = derived_id(cause, user_id)
        voice.open(
            user_id,
            channel_id,
            flags,
            at_ms,
            (identity, visits.get(user_id, identity)),
            joined=user_id not in visits,
        )


def pass_over(voice: Voice, from_ms: int, to_ms: int) -> None:
    """Everybody stays where they are over blind time, counted as the guild's policy says."""
    extra = INFERRED if voice.guild.policy.outage == "credit" else None
    for segment in voice.segments.values():
        voice.settle(segment, from_ms)
        voice.go_blind(segment, to_ms, extra)


def guild_unavailable(voice: Voice, event: GuildUnavailable, owned: bool) -> None:
    """An outage: voice stands still until the next snapshot."""
    if not owned:
        return
    voice.give_up()
    voice.advance(event.ts)
    record = voice.guild.record
    record.frozen = True
    if record.outage is None:
        record.outage = (event.ts, event.session, event.shard)
        voice.guild.outbox.gaps.append([event.session, event.shard, None, voice.guild.id, event.ts, None, "outage"])
    voice.guild.save()


def guild_remove(voice: Voice, event: GuildRemove, owned: bool) -> None:
    """The bot was removed: everybody's voice ends, and after a while the guild is erased."""
    if not owned:
        return
    _close_all(voice, event.ts, "guild_remove", None)
    guild = voice.guild
    guild.outbox.removed[guild.id] = event.ts
    guild.tables.removals.put(guild.key, Removal(1, event.ts))


def channel_delete(voice: Voice, event: ChannelDelete, owned: bool) -> None:
    """A channel is gone, and the voice in it ends."""
    channel_id = event.data.channel_id if event.data.channel_id is not None else event.channel_id
    if owned and channel_id is not None:
        _close_all(voice, event.ts, "channel_delete", snowflake(channel_id))


def member_leave(voice: Voice, event: MemberLeave, owned: bool) -> None:
    """Somebody left the guild; Discord may not say that they left voice."""
    user_id = required(event.user_id, event, "user_id")
    voice.guild.outbox.flow.append([event.ts, voice.guild.id, user_id, "leave", None])
    voice.give_up()
    segment = voice.segments.get(user_id)
    if owned and segment is not None:
        voice.close(segment, voice.advance(event.ts), "member_leave")


def member_join(voice: Voice, event: MemberJoin, owned: bool) -> None:
    """Somebody joined the guild."""
    user_id = required(event.user_id, event, "user_id")
    voice.guild.outbox.flow.append([event.ts, voice.guild.id, user_id, "join", event.data.invite])
    member_update(voice, event, owned)


def member_update(voice: Voice, event: MemberJoin | MemberUpdate, owned: bool) -> None:
    """Keep what earning and leaderboards need to know of a member."""
    data = event.data
    user_id = required(event.user_id, event, "user_id")
    if data.bot and not voice.guild.is_bot(user_id):
        voice.find_bot(user_id)
    if data.roles is not None:
        voice.see_roles(user_id, data.roles, event.ts, owned=owned)


def guild_update(voice: Voice, event: GuildUpdate, owned: bool) -> None:
    """Keep the AFK channel; a change of it cuts everybody's slice."""
    afk = event.data.afk_channel_id
    if not owned or isinstance(afk, UnsetType):
        return
    afk_channel_id = 0 if afk is None else snowflake(afk)
    record = voice.guild.record
    if afk_channel_id == record.afk_channel_id:
        return
    if voice.segments:
        voice.cut(voice.advance(event.ts))
    record.afk_channel_id = afk_channel_id
    voice.reread()
    voice.guild.save()


def settings_change(voice: Voice, event: SettingsChange, _owned: bool) -> None:
    """A merge patch of the guild's settings, in force from here on.

    Raises:
        InvalidEvent: the outcome is not valid.
    """
    guild = voice.guild
    try:
        stored = change_settings(guild.record.settings, event.data)
    except ConfigError as error:
        raise InvalidEvent("bad_settings", str(error)) from error
    if voice.segments:
        voice.cut(voice.advance(event.ts))
    guild.record.settings = stored
    guild.record.settings_version += 1
    before, guild.policy = guild.policy.settings, policy_of(stored)
    after = guild.policy.settings
    if (before.rewards, before.rewards_stack) != (after.rewards, after.rewards_stack):
        guild.record.reward_version += 1
    document, patch = (stored or b"{}").decode(), json.encode(event.data).decode()
    version = guild.record.settings_version
    guild.outbox.settings.append([guild.id, version, event.ts, document, patch, event_id(event)])
    guild.window_from = guild.window_to = 0
    voice.reread()
    guild.save()


def gap(voice: Voice, event: Gap, _owned: bool) -> None:
    """The source was blind to this guild for a while."""
    voice.guild.outbox.gaps.append(gap_row(event))


def gap_row(event: Gap) -> list[object]:
    """A gap as a row of ``guildstream.results``; where a bound is missing it is the event's own time."""
    data, ts = event.data, event.ts
    started_ms = ts if data.from_ms is None else data.from_ms
    ended_ms = max(ts if data.to_ms is None else data.to_ms, started_ms)
    guild_id = None if event.guild_id is None else int(event.guild_id)
    return [event.session, event.shard, data.shard_count, guild_id, started_ms, ended_ms, data.cause or "unknown"]


def _close_all(voice: Voice, ts_ms: int, reason: str, channel_id: int | None) -> None:
    voice.give_up()
    if not voice.segments:
        return
    at_ms = voice.advance(ts_ms)
    for _, segment in sorted(voice.segments.items()):
        if channel_id is None or segment.channel_id == channel_id:
            voice.close(segment, at_ms, reason)


def _flags(guild: Guild, user_id: int, state: VoiceFlags) -> int:
    return flag_bits(state) | (BOT if state.bot or guild.is_bot(user_id) else 0)
