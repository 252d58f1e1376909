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
        guildstream.total(messages),
        guildstream.total(sized),
        guildstream.total(chars),
        guildstream.total(attachments),
        guildstream.total(replies),
        guildstream.total(edits),
        guildstream.total(deletes),
        guildstream.total(reactions_given),
        guildstream.total(reactions_received),
        guildstream.total(commands),
        guildstream.total(voice_joins),
        guildstream.total(voice_ms),
        guildstream.total(voice_active_ms),
        guildstream.total(muted_ms),
        guildstream.total(deafened_ms),
        guildstream.total(stream_ms),
        guildstream.total(video_ms),
        guildstream.total(alone_ms),
        guildstream.total(afk_ms),
        guildstream.total(audience_ms),
        guildstream.total(inferred_ms),
        guildstream.total(clipped_ms),
        guildstream.total(xp)
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
        guildstream.total(messages),
        guildstream.total(sized),
        guildstream.total(chars),
        guildstream.total(attachments),
        guildstream.total(replies),
        guildstream.total(edits),
        guildstream.total(deletes),
        guildstream.total(reactions_given),
        guildstream.total(reactions_received),
        guildstream.total(commands),
        guildstream.total(voice_joins),
        guildstream.total(voice_ms),
        guildstream.total(voice_active_ms),
        guildstream.total(muted_ms),
        guildstream.total(deafened_ms),
        guildstream.total(stream_ms),
        guildstream.total(video_ms),
        guildstream.total(alone_ms),
        guildstream.total(afk_ms),
        guildstream.total(audience_ms),
        guildstream.total(inferred_ms),
        guildstream.total(clipped_ms),
        guildstream.total(xp)
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
