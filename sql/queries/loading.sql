-- name: totals_upsert
-- What members have in all after the batch; absolute values, sorted by key, so that sinks can't deadlock.
INSERT INTO guildstream.member_totals AS totals (
    guild_id, user_id, bot, xp, level, messages, voice_ms, reactions_given, first_active_at, last_active_at)
SELECT * FROM unnest(
    %s::bigint[], %s::bigint[], %s::boolean[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::timestamptz[], %s::timestamptz[])
ON CONFLICT (guild_id, user_id) DO UPDATE SET
    bot = EXCLUDED.bot, xp = EXCLUDED.xp, level = EXCLUDED.level, messages = EXCLUDED.messages,
    voice_ms = EXCLUDED.voice_ms, reactions_given = EXCLUDED.reactions_given,
    first_active_at = EXCLUDED.first_active_at, last_active_at = EXCLUDED.last_active_at;

-- name: sessions_upsert
-- Voice segments as they are after the batch.
INSERT INTO guildstream.voice_sessions (
    segment_id, visit_id, guild_id, channel_id, user_id, started_at, ended_at, counted_until, end_reason,
    voice_ms, voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms,
    alone_ms, afk_ms, audience_ms, inferred_ms, clipped_ms)
SELECT * FROM unnest(
    %s::uuid[], %s::uuid[], %s::bigint[], %s::bigint[], %s::bigint[], %s::timestamptz[], %s::timestamptz[],
    %s::timestamptz[], %s::text[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[],
    %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[])
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
