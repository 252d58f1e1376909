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
    settings_version, event_id, multiplier, reason, note, given_by)
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

-- name: copy_participants
-- Who else was in the channel.
COPY guildstream.event_participants (occurred_at, event_id, guild_id, channel_id, user_id)
FROM STDIN (FORMAT binary);

-- name: copy_flow
-- Joins and leaves.
COPY guildstream.member_flow (occurred_at, guild_id, user_id, kind, invite)
FROM STDIN (FORMAT binary);

-- name: gaps_upsert
-- What nobody watched; every partition tells of a whole shard's gap.
INSERT INTO guildstream.coverage_gaps AS known (session, shard, shard_count, guild_id, started_at, ended_at, cause)
SELECT * FROM unnest(
    %s::text[], %s::integer[], %s::integer[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::text[])
ON CONFLICT (session, shard, guild_id, started_at) DO UPDATE SET
    shard_count = coalesce(EXCLUDED.shard_count, known.shard_count),
    ended_at = coalesce(EXCLUDED.ended_at, known.ended_at), cause = EXCLUDED.cause;

-- name: erase_member
-- Forget a member, with a receipt; none for one that is there.
INSERT INTO guildstream.audit_log (event_id, occurred_at, guild_id, action, detail)
SELECT %(event)s, %(at)s, %(guild)s, 'erase_member',
    guildstream.erase_member(%(guild)s::bigint, %(user)s::bigint) || jsonb_build_object('keep_out', %(keep_out)s::boolean)
ON CONFLICT (event_id) DO NOTHING;

-- name: erase_guild
-- Forget a guild, with a receipt.
INSERT INTO guildstream.audit_log (event_id, occurred_at, guild_id, action, detail)
SELECT %(event)s, %(at)s, %(guild)s, 'erase_guild',
    guildstream.erase_guild(%(guild)s::bigint) || jsonb_build_object('keep_out', %(keep_out)s::boolean)
ON CONFLICT (event_id) DO NOTHING;

-- name: erase_mentions
-- The id of a forgotten member in others' events.
UPDATE guildstream.events SET data = guildstream.without_user(data, %(user)s::bigint)
WHERE guild_id = %(guild)s AND data::text LIKE '%%' || %(user)s::text || '%%'
    AND occurred_at >= (%(bounds)s::timestamptz[])[1] AND occurred_at < (%(bounds)s::timestamptz[])[2];

-- name: settings_upsert
-- The last settings of each guild; absolute, so the last wins.
INSERT INTO guildstream.guild_settings (guild_id, settings_version, updated_at, settings)
SELECT DISTINCT ON (guild_id) guild_id, version, changed_at, settings::jsonb
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[]) AS new (guild_id, version, changed_at, settings)
ORDER BY guild_id, version DESC
ON CONFLICT (guild_id) DO UPDATE SET
    settings_version = EXCLUDED.settings_version, settings = EXCLUDED.settings, updated_at = EXCLUDED.updated_at;

-- name: settings_record
-- Every change.
INSERT INTO guildstream.settings_history (guild_id, settings_version, changed_at, settings, patch, event_id)
SELECT guild_id, version, changed_at, settings::jsonb, patch::jsonb, event_id
FROM unnest(%s::bigint[], %s::bigint[], %s::timestamptz[], %s::text[], %s::text[], %s::uuid[])
    AS new (guild_id, version, changed_at, settings, patch, event_id);
