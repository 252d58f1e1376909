-- name: fold_lock
-- One fold at a time; a statement of its own, so that the fold's snapshot is taken after the lock.
SELECT pg_advisory_xact_lock(hashtextextended('guildstream.fold', 0));

-- name: fold
-- Move the delta log into every level at once; sorted, so that pages are visited once.
WITH taken AS (
    DELETE FROM guildstream.activity_delta RETURNING *
), hourly AS (
    INSERT INTO guildstream.activity_hourly AS folded (
        bucket, guild_id, channel_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp)
    SELECT bucket, guild_id, channel_id, user_id, bool_or(bot),
        sum(messages)::bigint,
        sum(sized)::bigint,
        sum(chars)::bigint,
        sum(attachments)::bigint,
        sum(replies)::bigint,
        sum(edits)::bigint,
        sum(deletes)::bigint,
        sum(reactions_given)::bigint,
        sum(reactions_received)::bigint,
        sum(commands)::bigint,
        sum(voice_joins)::bigint,
        sum(voice_ms)::bigint,
        sum(voice_active_ms)::bigint,
        sum(muted_ms)::bigint,
        sum(deafened_ms)::bigint,
        sum(stream_ms)::bigint,
        sum(video_ms)::bigint,
        sum(alone_ms)::bigint,
        sum(afk_ms)::bigint,
        sum(audience_ms)::bigint,
        sum(inferred_ms)::bigint,
        sum(clipped_ms)::bigint,
        sum(xp)::bigint
    FROM taken
    GROUP BY guild_id, bucket, channel_id, user_id
    ORDER BY guild_id, bucket, channel_id, user_id
    ON CONFLICT (guild_id, bucket, channel_id, user_id) DO UPDATE SET
        bot = folded.bot OR EXCLUDED.bot,
        messages = folded.messages + EXCLUDED.messages,
        sized = folded.sized + EXCLUDED.sized,
        chars = folded.chars + EXCLUDED.chars,
        attachments = folded.attachments + EXCLUDED.attachments,
        replies = folded.replies + EXCLUDED.replies,
        edits = folded.edits + EXCLUDED.edits,
        deletes = folded.deletes + EXCLUDED.deletes,
        reactions_given = folded.reactions_given + EXCLUDED.reactions_given,
        reactions_received = folded.reactions_received + EXCLUDED.reactions_received,
        commands = folded.commands + EXCLUDED.commands,
        voice_joins = folded.voice_joins + EXCLUDED.voice_joins,
        voice_ms = folded.voice_ms + EXCLUDED.voice_ms,
        voice_active_ms = folded.voice_active_ms + EXCLUDED.voice_active_ms,
        muted_ms = folded.muted_ms + EXCLUDED.muted_ms,
        deafened_ms = folded.deafened_ms + EXCLUDED.deafened_ms,
        stream_ms = folded.stream_ms + EXCLUDED.stream_ms,
        video_ms = folded.video_ms + EXCLUDED.video_ms,
        alone_ms = folded.alone_ms + EXCLUDED.alone_ms,
        afk_ms = folded.afk_ms + EXCLUDED.afk_ms,
        audience_ms = folded.audience_ms + EXCLUDED.audience_ms,
        inferred_ms = folded.inferred_ms + EXCLUDED.inferred_ms,
        clipped_ms = folded.clipped_ms + EXCLUDED.clipped_ms,
        xp = folded.xp + EXCLUDED.xp
), daily AS (
    INSERT INTO guildstream.activity_daily AS folded (
        day, guild_id, channel_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp)
    SELECT local_day, guild_id, channel_id, user_id, bool_or(bot),
        sum(messages)::bigint,
        sum(sized)::bigint,
        sum(chars)::bigint,
        sum(attachments)::bigint,
        sum(replies)::bigint,
        sum(edits)::bigint,
        sum(deletes)::bigint,
        sum(reactions_given)::bigint,
        sum(reactions_received)::bigint,
        sum(commands)::bigint,
        sum(voice_joins)::bigint,
        sum(voice_ms)::bigint,
        sum(voice_active_ms)::bigint,
        sum(muted_ms)::bigint,
        sum(deafened_ms)::bigint,
        sum(stream_ms)::bigint,
        sum(video_ms)::bigint,
        sum(alone_ms)::bigint,
        sum(afk_ms)::bigint,
        sum(audience_ms)::bigint,
        sum(inferred_ms)::bigint,
        sum(clipped_ms)::bigint,
        sum(xp)::bigint
    FROM taken
    GROUP BY guild_id, local_day, channel_id, user_id
    ORDER BY guild_id, local_day, channel_id, user_id
    ON CONFLICT (guild_id, day, channel_id, user_id) DO UPDATE SET
        bot = folded.bot OR EXCLUDED.bot,
        messages = folded.messages + EXCLUDED.messages,
        sized = folded.sized + EXCLUDED.sized,
        chars = folded.chars + EXCLUDED.chars,
        attachments = folded.attachments + EXCLUDED.attachments,
        replies = folded.replies + EXCLUDED.replies,
        edits = folded.edits + EXCLUDED.edits,
        deletes = folded.deletes + EXCLUDED.deletes,
        reactions_given = folded.reactions_given + EXCLUDED.reactions_given,
        reactions_received = folded.reactions_received + EXCLUDED.reactions_received,
        commands = folded.commands + EXCLUDED.commands,
        voice_joins = folded.voice_joins + EXCLUDED.voice_joins,
        voice_ms = folded.voice_ms + EXCLUDED.voice_ms,
        voice_active_ms = folded.voice_active_ms + EXCLUDED.voice_active_ms,
        muted_ms = folded.muted_ms + EXCLUDED.muted_ms,
        deafened_ms = folded.deafened_ms + EXCLUDED.deafened_ms,
        stream_ms = folded.stream_ms + EXCLUDED.stream_ms,
        video_ms = folded.video_ms + EXCLUDED.video_ms,
        alone_ms = folded.alone_ms + EXCLUDED.alone_ms,
        afk_ms = folded.afk_ms + EXCLUDED.afk_ms,
        audience_ms = folded.audience_ms + EXCLUDED.audience_ms,
        inferred_ms = folded.inferred_ms + EXCLUDED.inferred_ms,
        clipped_ms = folded.clipped_ms + EXCLUDED.clipped_ms,
        xp = folded.xp + EXCLUDED.xp
)
SELECT count(*) FROM taken;

-- name: fold_done
-- What the last fold did.
UPDATE guildstream.refresh_state
SET last_run_at = clock_timestamp(), duration_ms = %(duration_ms)s, folded_rows = %(folded_rows)s,
    backlog_rows = 0, error = NULL
WHERE name = 'fold';

-- name: fold_failed
-- Why the last fold failed.
UPDATE guildstream.refresh_state
SET last_run_at = clock_timestamp(), error = %(error)s,
    backlog_rows = (SELECT count(*) FROM guildstream.activity_delta)
WHERE name = 'fold';
