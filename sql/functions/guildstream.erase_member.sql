-- Runs inside the transaction that loads an erasure, after the fold's lock was taken, so that no fold moves
-- rows from under it.
CREATE OR REPLACE FUNCTION guildstream.erase_member(erased_guild bigint, erased_user bigint)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    receipt jsonb := '{}';
    counted bigint;
BEGIN
    UPDATE guildstream.member_activity SET user_id = 0, bot = false
    WHERE guild_id = erased_guild AND user_id = erased_user;
    GET DIAGNOSTICS counted = ROW_COUNT;
    receipt := receipt || jsonb_build_object('activity', counted);
    UPDATE guildstream.activity_delta SET user_id = 0, bot = false
    WHERE guild_id = erased_guild AND user_id = erased_user;
    WITH taken AS (
        DELETE FROM guildstream.activity_hourly WHERE guild_id = erased_guild AND user_id = erased_user RETURNING *
    )
    INSERT INTO guildstream.activity_hourly AS folded (
            bucket, guild_id, channel_id, user_id, bot,
            messages, sized, chars, attachments, replies, edits, deletes, reactions_given,
            reactions_received, commands, voice_joins, voice_ms, voice_active_ms, muted_ms,
            deafened_ms, stream_ms, video_ms, alone_ms, afk_ms, audience_ms, inferred_ms,
            clipped_ms, xp)
    SELECT bucket, guild_id, channel_id, 0, false,
            guildstream.total(messages), guildstream.total(sized), guildstream.total(chars),
            guildstream.total(attachments), guildstream.total(replies), guildstream.total(edits),
            guildstream.total(deletes), guildstream.total(reactions_given),
            guildstream.total(reactions_received), guildstream.total(commands),
            guildstream.total(voice_joins), guildstream.total(voice_ms),
            guildstream.total(voice_active_ms), guildstream.total(muted_ms),
            guildstream.total(deafened_ms), guildstream.total(stream_ms),
            guildstream.total(video_ms), guildstream.total(alone_ms), guildstream.total(afk_ms),
            guildstream.total(audience_ms), guildstream.total(inferred_ms),
            guildstream.total(clipped_ms), guildstream.total(xp)
    FROM taken GROUP BY bucket, guild_id, channel_id ORDER BY guild_id, bucket, channel_id
    ON CONFLICT (guild_id, bucket, channel_id, user_id) DO UPDATE SET
            messages = folded.messages + EXCLUDED.messages, sized = folded.sized + EXCLUDED.sized,
            chars = folded.chars + EXCLUDED.chars, attachments = folded.attachments +
            EXCLUDED.attachments, replies = folded.replies + EXCLUDED.replies, edits = folded.edits
            + EXCLUDED.edits, deletes = folded.deletes + EXCLUDED.deletes, reactions_given =
            folded.reactions_given + EXCLUDED.reactions_given, reactions_received =
            folded.reactions_received + EXCLUDED.reactions_received, commands = folded.commands +
            EXCLUDED.commands, voice_joins = folded.voice_joins + EXCLUDED.voice_joins, voice_ms =
            folded.voice_ms + EXCLUDED.voice_ms, voice_active_ms = folded.voice_active_ms +
            EXCLUDED.voice_active_ms, muted_ms = folded.muted_ms + EXCLUDED.muted_ms, deafened_ms =
            folded.deafened_ms + EXCLUDED.deafened_ms, stream_ms = folded.stream_ms +
            EXCLUDED.stream_ms, video_ms = folded.video_ms + EXCLUDED.video_ms, alone_ms =
            folded.alone_ms + EXCLUDED.alone_ms, afk_ms = folded.afk_ms + EXCLUDED.afk_ms,
            audience_ms = folded.audience_ms + EXCLUDED.audience_ms, inferred_ms =
            folded.inferred_ms + EXCLUDED.inferred_ms, clipped_ms = folded.clipped_ms +
            EXCLUDED.clipped_ms, xp = folded.xp + EXCLUDED.xp;
    WITH taken AS (
        DELETE FROM guildstream.activity_daily WHERE guild_id = erased_guild AND user_id = erased_user RETURNING *
    )
    INSERT INTO guildstream.activity_daily AS folded (
            day, guild_id, channel_id, user_id, bot,
            messages, sized, chars, attachments, replies, edits, deletes, reactions_given,
            reactions_received, commands, voice_joins, voice_ms, voice_active_ms, muted_ms,
            deafened_ms, stream_ms, video_ms, alone_ms, afk_ms, audience_ms, inferred_ms,
            clipped_ms, xp)
    SELECT day, guild_id, channel_id, 0, false,
            guildstream.total(messages), guildstream.total(sized), guildstream.total(chars),
            guildstream.total(attachments), guildstream.total(replies), guildstream.total(edits),
            guildstream.total(deletes), guildstream.total(reactions_given),
            guildstream.total(reactions_received), guildstream.total(commands),
            guildstream.total(voice_joins), guildstream.total(voice_ms),
            guildstream.total(voice_active_ms), guildstream.total(muted_ms),
            guildstream.total(deafened_ms), guildstream.total(stream_ms),
            guildstream.total(video_ms), guildstream.total(alone_ms), guildstream.total(afk_ms),
            guildstream.total(audience_ms), guildstream.total(inferred_ms),
            guildstream.total(clipped_ms), guildstream.total(xp)
    FROM taken GROUP BY day, guild_id, channel_id ORDER BY guild_id, day, channel_id
    ON CONFLICT (guild_id, day, channel_id, user_id) DO UPDATE SET
            messages = folded.messages + EXCLUDED.messages, sized = folded.sized + EXCLUDED.sized,
            chars = folded.chars + EXCLUDED.chars, attachments = folded.attachments +
            EXCLUDED.attachments, replies = folded.replies + EXCLUDED.replies, edits = folded.edits
            + EXCLUDED.edits, deletes = folded.deletes + EXCLUDED.deletes, reactions_given =
            folded.reactions_given + EXCLUDED.reactions_given, reactions_received =
            folded.reactions_received + EXCLUDED.reactions_received, commands = folded.commands +
            EXCLUDED.commands, voice_joins = folded.voice_joins + EXCLUDED.voice_joins, voice_ms =
            folded.voice_ms + EXCLUDED.voice_ms, voice_active_ms = folded.voice_active_ms +
            EXCLUDED.voice_active_ms, muted_ms = folded.muted_ms + EXCLUDED.muted_ms, deafened_ms =
            folded.deafened_ms + EXCLUDED.deafened_ms, stream_ms = folded.stream_ms +
            EXCLUDED.stream_ms, video_ms = folded.video_ms + EXCLUDED.video_ms, alone_ms =
            folded.alone_ms + EXCLUDED.alone_ms, afk_ms = folded.afk_ms + EXCLUDED.afk_ms,
            audience_ms = folded.audience_ms + EXCLUDED.audience_ms, inferred_ms =
            folded.inferred_ms + EXCLUDED.inferred_ms, clipped_ms = folded.clipped_ms +
            EXCLUDED.clipped_ms, xp = folded.xp + EXCLUDED.xp;
    UPDATE guildstream.voice_sessions SET user_id = 0 WHERE guild_id = erased_guild AND user_id = erased_user;
    GET DIAGNOSTICS counted = ROW_COUNT;
    receipt := receipt || jsonb_build_object('sessions', counted);
    UPDATE guildstream.command_usage SET user_id = 0 WHERE guild_id = erased_guild AND user_id = erased_user;
    UPDATE guildstream.xp_awards SET user_id = 0, event_id = NULL, note = NULL, given_by = NULL
    WHERE guild_id = erased_guild AND user_id = erased_user;
    GET DIAGNOSTICS counted = ROW_COUNT;
    receipt := receipt || jsonb_build_object('awards', counted);
    UPDATE guildstream.xp_awards SET given_by = NULL WHERE guild_id = erased_guild AND given_by = erased_user;
    UPDATE guildstream.member_flow SET user_id = 0 WHERE guild_id = erased_guild AND user_id = erased_user;
    DELETE FROM guildstream.event_participants WHERE guild_id = erased_guild AND user_id = erased_user;
    DELETE FROM guildstream.member_totals WHERE guild_id = erased_guild AND user_id = erased_user;
    DELETE FROM guildstream.members WHERE guild_id = erased_guild AND user_id = erased_user;
    DELETE FROM guildstream.users AS known WHERE user_id = erased_user
        AND NOT EXISTS (SELECT FROM guildstream.members WHERE members.user_id = known.user_id);
    UPDATE guildstream.guilds SET owner_id = NULL WHERE guild_id = erased_guild AND owner_id = erased_user;
    DELETE FROM guildstream.events WHERE guild_id = erased_guild AND user_id = erased_user;
    GET DIAGNOSTICS counted = ROW_COUNT;
    receipt := receipt || jsonb_build_object('events', counted);
    UPDATE guildstream.events SET data = guildstream.without_user(data, erased_user)
    WHERE guild_id = erased_guild AND data::text LIKE '%' || erased_user || '%';
    GET DIAGNOSTICS counted = ROW_COUNT;
    RETURN receipt || jsonb_build_object('mentions', counted);
END
$$;
COMMENT ON FUNCTION guildstream.erase_member(bigint, bigint) IS
    'Book a member''s facts to user 0 and delete their own events, names and mentions; returns what was touched.';
