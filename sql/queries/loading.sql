-- name: copy_events
-- Accepted events.
COPY guildstream.events (
    occurred_at, guild_id, channel_id, user_id, position, seq, event_id, part, partition, data, shard,
    replayed, type, session)
FROM STDIN (FORMAT binary);

-- name: copy_activity
-- Panes.
COPY guildstream.member_activity (
    bucket, local_day, guild_id, channel_id, user_id, bot,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp)
FROM STDIN (FORMAT binary);

-- name: copy_delta
-- The batch's sums, for the fold.
COPY guildstream.activity_delta (
    bucket, local_day, guild_id, channel_id, user_id, bot,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp)
FROM STDIN (FORMAT binary);

-- name: copy_awards
-- The ledger.
COPY guildstream.xp_awards (
    awarded_at, last_awarded_at, guild_id, channel_id, user_id, award_id, local_day, count, base, xp,
    settings_version, event_id, multiplier, reason)
FROM STDIN (FORMAT binary);

-- name: copy_commands
-- Uses of commands.
COPY guildstream.command_usage (bucket, guild_id, channel_id, user_id, uses, name, kind)
FROM STDIN (FORMAT binary);

-- name: staging_create
-- Where upserts wait within their transaction; temporary tables write no log.
CREATE TEMPORARY TABLE IF NOT EXISTS staged_totals (LIKE guildstream.member_totals) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_sessions (LIKE guildstream.voice_sessions) ON COMMIT DELETE ROWS;

-- name: stage_totals
-- What members have in all after the batch.
COPY staged_totals (
    guild_id, user_id, bot, xp, level, messages, voice_ms, reactions_given, first_active_at, last_active_at)
FROM STDIN (FORMAT binary);

-- name: totals_upsert
-- The same into its table; absolute values, in key order, so that sinks can't deadlock.
INSERT INTO guildstream.member_totals AS totals (
    guild_id, user_id, bot, xp, level, messages, voice_ms, reactions_given, first_active_at, last_active_at)
SELECT guild_id, user_id, bot, xp, level, messages, voice_ms, reactions_given, first_active_at, last_active_at
FROM staged_totals
ORDER BY guild_id, user_id
ON CONFLICT (guild_id, user_id) DO UPDATE SET
    bot = EXCLUDED.bot, xp = EXCLUDED.xp, level = EXCLUDED.level, messages = EXCLUDED.messages,
    voice_ms = EXCLUDED.voice_ms, reactions_given = EXCLUDED.reactions_given,
    first_active_at = EXCLUDED.first_active_at, last_active_at = EXCLUDED.last_active_at;

-- name: stage_sessions
-- Voice segments as they are after the batch.
COPY staged_sessions (
    segment_id, visit_id, guild_id, channel_id, user_id, started_at,
    counted_until, voice_ms, voice_active_ms, muted_ms, deafened_ms, stream_ms,
    video_ms, alone_ms, afk_ms, audience_ms, inferred_ms, clipped_ms,
    ended_at, end_reason)
FROM STDIN (FORMAT binary);

-- name: sessions_upsert
-- The same into their table.
INSERT INTO guildstream.voice_sessions (
    segment_id, visit_id, guild_id, channel_id, user_id, started_at,
    counted_until, voice_ms, voice_active_ms, muted_ms, deafened_ms, stream_ms,
    video_ms, alone_ms, afk_ms, audience_ms, inferred_ms, clipped_ms,
    ended_at, end_reason)
SELECT
    segment_id, visit_id, guild_id, channel_id, user_id, started_at,
    counted_until, voice_ms, voice_active_ms, muted_ms, deafened_ms, stream_ms,
    video_ms, alone_ms, afk_ms, audience_ms, inferred_ms, clipped_ms,
    ended_at, end_reason
FROM staged_sessions
ORDER BY started_at, segment_id
ON CONFLICT (segment_id, started_at) DO UPDATE SET
    ended_at = EXCLUDED.ended_at, counted_until = EXCLUDED.counted_until, end_reason = EXCLUDED.end_reason,
    voice_ms = EXCLUDED.voice_ms,
    voice_active_ms = EXCLUDED.voice_active_ms,
    muted_ms = EXCLUDED.muted_ms,
    deafened_ms = EXCLUDED.deafened_ms,
    stream_ms = EXCLUDED.stream_ms,
    video_ms = EXCLUDED.video_ms,
    alone_ms = EXCLUDED.alone_ms,
    afk_ms = EXCLUDED.afk_ms,
    audience_ms = EXCLUDED.audience_ms,
    inferred_ms = EXCLUDED.inferred_ms,
    clipped_ms = EXCLUDED.clipped_ms;
