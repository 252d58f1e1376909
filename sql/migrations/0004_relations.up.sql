-- What analysts read: folded aggregates and the delta log together, regrouped, so that a read includes
-- everything loaded. A filter on the interval, guild, channel or user reaches both branches, since each
-- is a key of every grouping on the way.
-- phase: before
CREATE VIEW analytics.guild_hourly AS
SELECT bucket, guild_id,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp,
    active_members
FROM (
    SELECT bucket, guild_id,
        guildstream.total(messages) AS messages,
        guildstream.total(sized) AS sized,
        guildstream.total(chars) AS chars,
        guildstream.total(attachments) AS attachments,
        guildstream.total(replies) AS replies,
        guildstream.total(edits) AS edits,
        guildstream.total(deletes) AS deletes,
        guildstream.total(reactions_given) AS reactions_given,
        guildstream.total(reactions_received) AS reactions_received,
        guildstream.total(commands) AS commands,
        guildstream.total(voice_joins) AS voice_joins,
        guildstream.total(voice_ms) AS voice_ms,
        guildstream.total(voice_active_ms) AS voice_active_ms,
        guildstream.total(muted_ms) AS muted_ms,
        guildstream.total(deafened_ms) AS deafened_ms,
        guildstream.total(stream_ms) AS stream_ms,
        guildstream.total(video_ms) AS video_ms,
        guildstream.total(alone_ms) AS alone_ms,
        guildstream.total(afk_ms) AS afk_ms,
        guildstream.total(audience_ms) AS audience_ms,
        guildstream.total(inferred_ms) AS inferred_ms,
        guildstream.total(clipped_ms) AS clipped_ms,
        guildstream.total(xp) AS xp,
        count(*) FILTER (WHERE NOT bot AND user_id <> 0 AND (messages > 0 OR reactions_given > 0 OR commands > 0 OR voice_ms > 0)) AS active_members
    FROM (
        SELECT bucket, guild_id, user_id, bool_or(bot) AS bot,
            guildstream.total(messages) AS messages,
            guildstream.total(sized) AS sized,
            guildstream.total(chars) AS chars,
            guildstream.total(attachments) AS attachments,
            guildstream.total(replies) AS replies,
            guildstream.total(edits) AS edits,
            guildstream.total(deletes) AS deletes,
            guildstream.total(reactions_given) AS reactions_given,
            guildstream.total(reactions_received) AS reactions_received,
            guildstream.total(commands) AS commands,
            guildstream.total(voice_joins) AS voice_joins,
            guildstream.total(voice_ms) AS voice_ms,
            guildstream.total(voice_active_ms) AS voice_active_ms,
            guildstream.total(muted_ms) AS muted_ms,
            guildstream.total(deafened_ms) AS deafened_ms,
            guildstream.total(stream_ms) AS stream_ms,
            guildstream.total(video_ms) AS video_ms,
            guildstream.total(alone_ms) AS alone_ms,
            guildstream.total(afk_ms) AS afk_ms,
            guildstream.total(audience_ms) AS audience_ms,
            guildstream.total(inferred_ms) AS inferred_ms,
            guildstream.total(clipped_ms) AS clipped_ms,
            guildstream.total(xp) AS xp
        FROM (
            SELECT bucket AS bucket, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_hourly
            UNION ALL
            SELECT bucket, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_delta
        ) AS parts
        GROUP BY bucket, guild_id, user_id
    ) AS per_member
    GROUP BY bucket, guild_id
) AS sums;
COMMENT ON VIEW analytics.guild_hourly IS 'A guild''s activity by UTC hour.';

CREATE VIEW analytics.channel_hourly AS
SELECT bucket, guild_id, channel_id,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp,
    active_members
FROM (
    SELECT bucket, guild_id, channel_id,
        guildstream.total(messages) AS messages,
        guildstream.total(sized) AS sized,
        guildstream.total(chars) AS chars,
        guildstream.total(attachments) AS attachments,
        guildstream.total(replies) AS replies,
        guildstream.total(edits) AS edits,
        guildstream.total(deletes) AS deletes,
        guildstream.total(reactions_given) AS reactions_given,
        guildstream.total(reactions_received) AS reactions_received,
        guildstream.total(commands) AS commands,
        guildstream.total(voice_joins) AS voice_joins,
        guildstream.total(voice_ms) AS voice_ms,
        guildstream.total(voice_active_ms) AS voice_active_ms,
        guildstream.total(muted_ms) AS muted_ms,
        guildstream.total(deafened_ms) AS deafened_ms,
        guildstream.total(stream_ms) AS stream_ms,
        guildstream.total(video_ms) AS video_ms,
        guildstream.total(alone_ms) AS alone_ms,
        guildstream.total(afk_ms) AS afk_ms,
        guildstream.total(audience_ms) AS audience_ms,
        guildstream.total(inferred_ms) AS inferred_ms,
        guildstream.total(clipped_ms) AS clipped_ms,
        guildstream.total(xp) AS xp,
        count(*) FILTER (WHERE NOT bot AND user_id <> 0 AND (messages > 0 OR reactions_given > 0 OR commands > 0 OR voice_ms > 0)) AS active_members
    FROM (
        SELECT bucket, guild_id, channel_id, user_id, bool_or(bot) AS bot,
            guildstream.total(messages) AS messages,
            guildstream.total(sized) AS sized,
            guildstream.total(chars) AS chars,
            guildstream.total(attachments) AS attachments,
            guildstream.total(replies) AS replies,
            guildstream.total(edits) AS edits,
            guildstream.total(deletes) AS deletes,
            guildstream.total(reactions_given) AS reactions_given,
            guildstream.total(reactions_received) AS reactions_received,
            guildstream.total(commands) AS commands,
            guildstream.total(voice_joins) AS voice_joins,
            guildstream.total(voice_ms) AS voice_ms,
            guildstream.total(voice_active_ms) AS voice_active_ms,
            guildstream.total(muted_ms) AS muted_ms,
            guildstream.total(deafened_ms) AS deafened_ms,
            guildstream.total(stream_ms) AS stream_ms,
            guildstream.total(video_ms) AS video_ms,
            guildstream.total(alone_ms) AS alone_ms,
            guildstream.total(afk_ms) AS afk_ms,
            guildstream.total(audience_ms) AS audience_ms,
            guildstream.total(inferred_ms) AS inferred_ms,
            guildstream.total(clipped_ms) AS clipped_ms,
            guildstream.total(xp) AS xp
        FROM (
            SELECT bucket AS bucket, guild_id, channel_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_hourly
            UNION ALL
            SELECT bucket, guild_id, channel_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_delta
        ) AS parts
        GROUP BY bucket, guild_id, channel_id, user_id
    ) AS per_member
    GROUP BY bucket, guild_id, channel_id
) AS sums;
COMMENT ON VIEW analytics.channel_hourly IS 'A channel''s activity by UTC hour; channel 0: none in particular.';

CREATE VIEW analytics.member_hourly AS
SELECT bucket, guild_id, user_id, bool_or(bot) AS bot,
    guildstream.total(messages) AS messages,
    guildstream.total(sized) AS sized,
    guildstream.total(chars) AS chars,
    guildstream.total(attachments) AS attachments,
    guildstream.total(replies) AS replies,
    guildstream.total(edits) AS edits,
    guildstream.total(deletes) AS deletes,
    guildstream.total(reactions_given) AS reactions_given,
    guildstream.total(reactions_received) AS reactions_received,
    guildstream.total(commands) AS commands,
    guildstream.total(voice_joins) AS voice_joins,
    guildstream.total(voice_ms) AS voice_ms,
    guildstream.total(voice_active_ms) AS voice_active_ms,
    guildstream.total(muted_ms) AS muted_ms,
    guildstream.total(deafened_ms) AS deafened_ms,
    guildstream.total(stream_ms) AS stream_ms,
    guildstream.total(video_ms) AS video_ms,
    guildstream.total(alone_ms) AS alone_ms,
    guildstream.total(afk_ms) AS afk_ms,
    guildstream.total(audience_ms) AS audience_ms,
    guildstream.total(inferred_ms) AS inferred_ms,
    guildstream.total(clipped_ms) AS clipped_ms,
    guildstream.total(xp) AS xp
FROM (
    SELECT bucket AS bucket, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_hourly
    UNION ALL
    SELECT bucket, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_delta
) AS parts
WHERE user_id <> 0
GROUP BY bucket, guild_id, user_id;
COMMENT ON VIEW analytics.member_hourly IS 'A member''s activity by UTC hour.';

CREATE VIEW analytics.guild_daily AS
SELECT day, guild_id,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp,
    active_members
FROM (
    SELECT day, guild_id,
        guildstream.total(messages) AS messages,
        guildstream.total(sized) AS sized,
        guildstream.total(chars) AS chars,
        guildstream.total(attachments) AS attachments,
        guildstream.total(replies) AS replies,
        guildstream.total(edits) AS edits,
        guildstream.total(deletes) AS deletes,
        guildstream.total(reactions_given) AS reactions_given,
        guildstream.total(reactions_received) AS reactions_received,
        guildstream.total(commands) AS commands,
        guildstream.total(voice_joins) AS voice_joins,
        guildstream.total(voice_ms) AS voice_ms,
        guildstream.total(voice_active_ms) AS voice_active_ms,
        guildstream.total(muted_ms) AS muted_ms,
        guildstream.total(deafened_ms) AS deafened_ms,
        guildstream.total(stream_ms) AS stream_ms,
        guildstream.total(video_ms) AS video_ms,
        guildstream.total(alone_ms) AS alone_ms,
        guildstream.total(afk_ms) AS afk_ms,
        guildstream.total(audience_ms) AS audience_ms,
        guildstream.total(inferred_ms) AS inferred_ms,
        guildstream.total(clipped_ms) AS clipped_ms,
        guildstream.total(xp) AS xp,
        count(*) FILTER (WHERE NOT bot AND user_id <> 0 AND (messages > 0 OR reactions_given > 0 OR commands > 0 OR voice_ms > 0)) AS active_members
    FROM (
        SELECT day, guild_id, user_id, bool_or(bot) AS bot,
            guildstream.total(messages) AS messages,
            guildstream.total(sized) AS sized,
            guildstream.total(chars) AS chars,
            guildstream.total(attachments) AS attachments,
            guildstream.total(replies) AS replies,
            guildstream.total(edits) AS edits,
            guildstream.total(deletes) AS deletes,
            guildstream.total(reactions_given) AS reactions_given,
            guildstream.total(reactions_received) AS reactions_received,
            guildstream.total(commands) AS commands,
            guildstream.total(voice_joins) AS voice_joins,
            guildstream.total(voice_ms) AS voice_ms,
            guildstream.total(voice_active_ms) AS voice_active_ms,
            guildstream.total(muted_ms) AS muted_ms,
            guildstream.total(deafened_ms) AS deafened_ms,
            guildstream.total(stream_ms) AS stream_ms,
            guildstream.total(video_ms) AS video_ms,
            guildstream.total(alone_ms) AS alone_ms,
            guildstream.total(afk_ms) AS afk_ms,
            guildstream.total(audience_ms) AS audience_ms,
            guildstream.total(inferred_ms) AS inferred_ms,
            guildstream.total(clipped_ms) AS clipped_ms,
            guildstream.total(xp) AS xp
        FROM (
            SELECT day AS day, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_daily
            UNION ALL
            SELECT local_day, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_delta
        ) AS parts
        GROUP BY day, guild_id, user_id
    ) AS per_member
    GROUP BY day, guild_id
) AS sums;
COMMENT ON VIEW analytics.guild_daily IS 'A guild''s activity by its local day.';

CREATE VIEW analytics.channel_daily AS
SELECT day, guild_id, channel_id,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp,
    active_members
FROM (
    SELECT day, guild_id, channel_id,
        guildstream.total(messages) AS messages,
        guildstream.total(sized) AS sized,
        guildstream.total(chars) AS chars,
        guildstream.total(attachments) AS attachments,
        guildstream.total(replies) AS replies,
        guildstream.total(edits) AS edits,
        guildstream.total(deletes) AS deletes,
        guildstream.total(reactions_given) AS reactions_given,
        guildstream.total(reactions_received) AS reactions_received,
        guildstream.total(commands) AS commands,
        guildstream.total(voice_joins) AS voice_joins,
        guildstream.total(voice_ms) AS voice_ms,
        guildstream.total(voice_active_ms) AS voice_active_ms,
        guildstream.total(muted_ms) AS muted_ms,
        guildstream.total(deafened_ms) AS deafened_ms,
        guildstream.total(stream_ms) AS stream_ms,
        guildstream.total(video_ms) AS video_ms,
        guildstream.total(alone_ms) AS alone_ms,
        guildstream.total(afk_ms) AS afk_ms,
        guildstream.total(audience_ms) AS audience_ms,
        guildstream.total(inferred_ms) AS inferred_ms,
        guildstream.total(clipped_ms) AS clipped_ms,
        guildstream.total(xp) AS xp,
        count(*) FILTER (WHERE NOT bot AND user_id <> 0 AND (messages > 0 OR reactions_given > 0 OR commands > 0 OR voice_ms > 0)) AS active_members
    FROM (
        SELECT day, guild_id, channel_id, user_id, bool_or(bot) AS bot,
            guildstream.total(messages) AS messages,
            guildstream.total(sized) AS sized,
            guildstream.total(chars) AS chars,
            guildstream.total(attachments) AS attachments,
            guildstream.total(replies) AS replies,
            guildstream.total(edits) AS edits,
            guildstream.total(deletes) AS deletes,
            guildstream.total(reactions_given) AS reactions_given,
            guildstream.total(reactions_received) AS reactions_received,
            guildstream.total(commands) AS commands,
            guildstream.total(voice_joins) AS voice_joins,
            guildstream.total(voice_ms) AS voice_ms,
            guildstream.total(voice_active_ms) AS voice_active_ms,
            guildstream.total(muted_ms) AS muted_ms,
            guildstream.total(deafened_ms) AS deafened_ms,
            guildstream.total(stream_ms) AS stream_ms,
            guildstream.total(video_ms) AS video_ms,
            guildstream.total(alone_ms) AS alone_ms,
            guildstream.total(afk_ms) AS afk_ms,
            guildstream.total(audience_ms) AS audience_ms,
            guildstream.total(inferred_ms) AS inferred_ms,
            guildstream.total(clipped_ms) AS clipped_ms,
            guildstream.total(xp) AS xp
        FROM (
            SELECT day AS day, guild_id, channel_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_daily
            UNION ALL
            SELECT local_day, guild_id, channel_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_delta
        ) AS parts
        GROUP BY day, guild_id, channel_id, user_id
    ) AS per_member
    GROUP BY day, guild_id, channel_id
) AS sums;
COMMENT ON VIEW analytics.channel_daily IS 'A channel''s activity by its guild''s local day; channel 0: none in particular.';

CREATE VIEW analytics.member_daily AS
SELECT day, guild_id, user_id, bool_or(bot) AS bot,
    guildstream.total(messages) AS messages,
    guildstream.total(sized) AS sized,
    guildstream.total(chars) AS chars,
    guildstream.total(attachments) AS attachments,
    guildstream.total(replies) AS replies,
    guildstream.total(edits) AS edits,
    guildstream.total(deletes) AS deletes,
    guildstream.total(reactions_given) AS reactions_given,
    guildstream.total(reactions_received) AS reactions_received,
    guildstream.total(commands) AS commands,
    guildstream.total(voice_joins) AS voice_joins,
    guildstream.total(voice_ms) AS voice_ms,
    guildstream.total(voice_active_ms) AS voice_active_ms,
    guildstream.total(muted_ms) AS muted_ms,
    guildstream.total(deafened_ms) AS deafened_ms,
    guildstream.total(stream_ms) AS stream_ms,
    guildstream.total(video_ms) AS video_ms,
    guildstream.total(alone_ms) AS alone_ms,
    guildstream.total(afk_ms) AS afk_ms,
    guildstream.total(audience_ms) AS audience_ms,
    guildstream.total(inferred_ms) AS inferred_ms,
    guildstream.total(clipped_ms) AS clipped_ms,
    guildstream.total(xp) AS xp
FROM (
    SELECT day AS day, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_daily
    UNION ALL
    SELECT local_day, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_delta
) AS parts
WHERE user_id <> 0
GROUP BY day, guild_id, user_id;
COMMENT ON VIEW analytics.member_daily IS 'A member''s activity by the guild''s local day.';

CREATE VIEW analytics.member_channel_daily AS
SELECT day, guild_id, channel_id, user_id, bool_or(bot) AS bot,
    guildstream.total(messages) AS messages,
    guildstream.total(sized) AS sized,
    guildstream.total(chars) AS chars,
    guildstream.total(attachments) AS attachments,
    guildstream.total(replies) AS replies,
    guildstream.total(edits) AS edits,
    guildstream.total(deletes) AS deletes,
    guildstream.total(reactions_given) AS reactions_given,
    guildstream.total(reactions_received) AS reactions_received,
    guildstream.total(commands) AS commands,
    guildstream.total(voice_joins) AS voice_joins,
    guildstream.total(voice_ms) AS voice_ms,
    guildstream.total(voice_active_ms) AS voice_active_ms,
    guildstream.total(muted_ms) AS muted_ms,
    guildstream.total(deafened_ms) AS deafened_ms,
    guildstream.total(stream_ms) AS stream_ms,
    guildstream.total(video_ms) AS video_ms,
    guildstream.total(alone_ms) AS alone_ms,
    guildstream.total(afk_ms) AS afk_ms,
    guildstream.total(audience_ms) AS audience_ms,
    guildstream.total(inferred_ms) AS inferred_ms,
    guildstream.total(clipped_ms) AS clipped_ms,
    guildstream.total(xp) AS xp
FROM (
    SELECT day AS day, guild_id, channel_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_daily
    UNION ALL
    SELECT local_day, guild_id, channel_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_delta
) AS parts
WHERE user_id <> 0
GROUP BY day, guild_id, channel_id, user_id;
COMMENT ON VIEW analytics.member_channel_daily IS 'A member''s activity in one channel by the guild''s local day.';

CREATE VIEW analytics.guild_weekly AS
SELECT week, guild_id,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp,
    active_members
FROM (
    SELECT week, guild_id,
        guildstream.total(messages) AS messages,
        guildstream.total(sized) AS sized,
        guildstream.total(chars) AS chars,
        guildstream.total(attachments) AS attachments,
        guildstream.total(replies) AS replies,
        guildstream.total(edits) AS edits,
        guildstream.total(deletes) AS deletes,
        guildstream.total(reactions_given) AS reactions_given,
        guildstream.total(reactions_received) AS reactions_received,
        guildstream.total(commands) AS commands,
        guildstream.total(voice_joins) AS voice_joins,
        guildstream.total(voice_ms) AS voice_ms,
        guildstream.total(voice_active_ms) AS voice_active_ms,
        guildstream.total(muted_ms) AS muted_ms,
        guildstream.total(deafened_ms) AS deafened_ms,
        guildstream.total(stream_ms) AS stream_ms,
        guildstream.total(video_ms) AS video_ms,
        guildstream.total(alone_ms) AS alone_ms,
        guildstream.total(afk_ms) AS afk_ms,
        guildstream.total(audience_ms) AS audience_ms,
        guildstream.total(inferred_ms) AS inferred_ms,
        guildstream.total(clipped_ms) AS clipped_ms,
        guildstream.total(xp) AS xp,
        count(*) FILTER (WHERE NOT bot AND user_id <> 0 AND (messages > 0 OR reactions_given > 0 OR commands > 0 OR voice_ms > 0)) AS active_members
    FROM (
        SELECT week, guild_id, user_id, bool_or(bot) AS bot,
            guildstream.total(messages) AS messages,
            guildstream.total(sized) AS sized,
            guildstream.total(chars) AS chars,
            guildstream.total(attachments) AS attachments,
            guildstream.total(replies) AS replies,
            guildstream.total(edits) AS edits,
            guildstream.total(deletes) AS deletes,
            guildstream.total(reactions_given) AS reactions_given,
            guildstream.total(reactions_received) AS reactions_received,
            guildstream.total(commands) AS commands,
            guildstream.total(voice_joins) AS voice_joins,
            guildstream.total(voice_ms) AS voice_ms,
            guildstream.total(voice_active_ms) AS voice_active_ms,
            guildstream.total(muted_ms) AS muted_ms,
            guildstream.total(deafened_ms) AS deafened_ms,
            guildstream.total(stream_ms) AS stream_ms,
            guildstream.total(video_ms) AS video_ms,
            guildstream.total(alone_ms) AS alone_ms,
            guildstream.total(afk_ms) AS afk_ms,
            guildstream.total(audience_ms) AS audience_ms,
            guildstream.total(inferred_ms) AS inferred_ms,
            guildstream.total(clipped_ms) AS clipped_ms,
            guildstream.total(xp) AS xp
        FROM (
            SELECT date_trunc('week', day::timestamp)::date AS week, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_daily
            UNION ALL
            SELECT date_trunc('week', local_day::timestamp)::date, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_delta
        ) AS parts
        GROUP BY week, guild_id, user_id
    ) AS per_member
    GROUP BY week, guild_id
) AS sums;
COMMENT ON VIEW analytics.guild_weekly IS 'A guild''s activity by week; week is its Monday.';

CREATE VIEW analytics.member_weekly AS
SELECT week, guild_id, user_id, bool_or(bot) AS bot,
    guildstream.total(messages) AS messages,
    guildstream.total(sized) AS sized,
    guildstream.total(chars) AS chars,
    guildstream.total(attachments) AS attachments,
    guildstream.total(replies) AS replies,
    guildstream.total(edits) AS edits,
    guildstream.total(deletes) AS deletes,
    guildstream.total(reactions_given) AS reactions_given,
    guildstream.total(reactions_received) AS reactions_received,
    guildstream.total(commands) AS commands,
    guildstream.total(voice_joins) AS voice_joins,
    guildstream.total(voice_ms) AS voice_ms,
    guildstream.total(voice_active_ms) AS voice_active_ms,
    guildstream.total(muted_ms) AS muted_ms,
    guildstream.total(deafened_ms) AS deafened_ms,
    guildstream.total(stream_ms) AS stream_ms,
    guildstream.total(video_ms) AS video_ms,
    guildstream.total(alone_ms) AS alone_ms,
    guildstream.total(afk_ms) AS afk_ms,
    guildstream.total(audience_ms) AS audience_ms,
    guildstream.total(inferred_ms) AS inferred_ms,
    guildstream.total(clipped_ms) AS clipped_ms,
    guildstream.total(xp) AS xp
FROM (
    SELECT date_trunc('week', day::timestamp)::date AS week, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_daily
    UNION ALL
    SELECT date_trunc('week', local_day::timestamp)::date, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_delta
) AS parts
WHERE user_id <> 0
GROUP BY week, guild_id, user_id;
COMMENT ON VIEW analytics.member_weekly IS 'A member''s activity by week; week is its Monday.';

CREATE VIEW analytics.guild_monthly AS
SELECT month, guild_id,
    messages, sized, chars, attachments, replies, edits,
    deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
    voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
    afk_ms, audience_ms, inferred_ms, clipped_ms, xp,
    active_members
FROM (
    SELECT month, guild_id,
        guildstream.total(messages) AS messages,
        guildstream.total(sized) AS sized,
        guildstream.total(chars) AS chars,
        guildstream.total(attachments) AS attachments,
        guildstream.total(replies) AS replies,
        guildstream.total(edits) AS edits,
        guildstream.total(deletes) AS deletes,
        guildstream.total(reactions_given) AS reactions_given,
        guildstream.total(reactions_received) AS reactions_received,
        guildstream.total(commands) AS commands,
        guildstream.total(voice_joins) AS voice_joins,
        guildstream.total(voice_ms) AS voice_ms,
        guildstream.total(voice_active_ms) AS voice_active_ms,
        guildstream.total(muted_ms) AS muted_ms,
        guildstream.total(deafened_ms) AS deafened_ms,
        guildstream.total(stream_ms) AS stream_ms,
        guildstream.total(video_ms) AS video_ms,
        guildstream.total(alone_ms) AS alone_ms,
        guildstream.total(afk_ms) AS afk_ms,
        guildstream.total(audience_ms) AS audience_ms,
        guildstream.total(inferred_ms) AS inferred_ms,
        guildstream.total(clipped_ms) AS clipped_ms,
        guildstream.total(xp) AS xp,
        count(*) FILTER (WHERE NOT bot AND user_id <> 0 AND (messages > 0 OR reactions_given > 0 OR commands > 0 OR voice_ms > 0)) AS active_members
    FROM (
        SELECT month, guild_id, user_id, bool_or(bot) AS bot,
            guildstream.total(messages) AS messages,
            guildstream.total(sized) AS sized,
            guildstream.total(chars) AS chars,
            guildstream.total(attachments) AS attachments,
            guildstream.total(replies) AS replies,
            guildstream.total(edits) AS edits,
            guildstream.total(deletes) AS deletes,
            guildstream.total(reactions_given) AS reactions_given,
            guildstream.total(reactions_received) AS reactions_received,
            guildstream.total(commands) AS commands,
            guildstream.total(voice_joins) AS voice_joins,
            guildstream.total(voice_ms) AS voice_ms,
            guildstream.total(voice_active_ms) AS voice_active_ms,
            guildstream.total(muted_ms) AS muted_ms,
            guildstream.total(deafened_ms) AS deafened_ms,
            guildstream.total(stream_ms) AS stream_ms,
            guildstream.total(video_ms) AS video_ms,
            guildstream.total(alone_ms) AS alone_ms,
            guildstream.total(afk_ms) AS afk_ms,
            guildstream.total(audience_ms) AS audience_ms,
            guildstream.total(inferred_ms) AS inferred_ms,
            guildstream.total(clipped_ms) AS clipped_ms,
            guildstream.total(xp) AS xp
        FROM (
            SELECT date_trunc('month', day::timestamp)::date AS month, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_daily
            UNION ALL
            SELECT date_trunc('month', local_day::timestamp)::date, guild_id, user_id, bot,
                messages, sized, chars, attachments, replies, edits,
                deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
                voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
                afk_ms, audience_ms, inferred_ms, clipped_ms, xp
            FROM guildstream.activity_delta
        ) AS parts
        GROUP BY month, guild_id, user_id
    ) AS per_member
    GROUP BY month, guild_id
) AS sums;
COMMENT ON VIEW analytics.guild_monthly IS 'A guild''s activity by month; month is its first day.';

CREATE VIEW analytics.member_monthly AS
SELECT month, guild_id, user_id, bool_or(bot) AS bot,
    guildstream.total(messages) AS messages,
    guildstream.total(sized) AS sized,
    guildstream.total(chars) AS chars,
    guildstream.total(attachments) AS attachments,
    guildstream.total(replies) AS replies,
    guildstream.total(edits) AS edits,
    guildstream.total(deletes) AS deletes,
    guildstream.total(reactions_given) AS reactions_given,
    guildstream.total(reactions_received) AS reactions_received,
    guildstream.total(commands) AS commands,
    guildstream.total(voice_joins) AS voice_joins,
    guildstream.total(voice_ms) AS voice_ms,
    guildstream.total(voice_active_ms) AS voice_active_ms,
    guildstream.total(muted_ms) AS muted_ms,
    guildstream.total(deafened_ms) AS deafened_ms,
    guildstream.total(stream_ms) AS stream_ms,
    guildstream.total(video_ms) AS video_ms,
    guildstream.total(alone_ms) AS alone_ms,
    guildstream.total(afk_ms) AS afk_ms,
    guildstream.total(audience_ms) AS audience_ms,
    guildstream.total(inferred_ms) AS inferred_ms,
    guildstream.total(clipped_ms) AS clipped_ms,
    guildstream.total(xp) AS xp
FROM (
    SELECT date_trunc('month', day::timestamp)::date AS month, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_daily
    UNION ALL
    SELECT date_trunc('month', local_day::timestamp)::date, guild_id, user_id, bot,
        messages, sized, chars, attachments, replies, edits,
        deletes, reactions_given, reactions_received, commands, voice_joins, voice_ms,
        voice_active_ms, muted_ms, deafened_ms, stream_ms, video_ms, alone_ms,
        afk_ms, audience_ms, inferred_ms, clipped_ms, xp
    FROM guildstream.activity_delta
) AS parts
WHERE user_id <> 0
GROUP BY month, guild_id, user_id;
COMMENT ON VIEW analytics.member_monthly IS 'A member''s activity by month; month is its first day.';

-- Every guild's day is UTC's until guilds can set a time zone.
CREATE VIEW analytics.command_daily AS
SELECT (bucket AT TIME ZONE 'UTC')::date AS day, guild_id, name, kind,
    guildstream.total(uses) AS uses,
    count(DISTINCT user_id) AS users
FROM guildstream.command_usage
GROUP BY 1, guild_id, name, kind;
COMMENT ON VIEW analytics.command_daily IS 'Uses of commands by day.';

CREATE VIEW analytics.members AS
SELECT totals.guild_id, totals.user_id,
    coalesce(members.nick, users.display_name, users.username) AS display_name,
    totals.bot OR coalesce(users.bot, false) AS bot,
    totals.xp, totals.level, totals.messages, totals.voice_ms, totals.reactions_given,
    totals.first_active_at, totals.last_active_at, members.joined_at, members.left_at
FROM guildstream.member_totals AS totals
LEFT JOIN guildstream.members USING (guild_id, user_id)
LEFT JOIN guildstream.users USING (user_id);
COMMENT ON VIEW analytics.members IS 'Members with their totals and names.';
