-- Takes every fact with it.
DROP TABLE guildstream.member_totals, guildstream.xp_awards, guildstream.command_usage,
    guildstream.voice_sessions, guildstream.member_activity, guildstream.events;
DROP AGGREGATE guildstream.total (bigint);
DROP SCHEMA analytics;
COMMENT ON SCHEMA guildstream IS NULL;
