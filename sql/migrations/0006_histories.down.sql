DROP TABLE guildstream.audit_log, guildstream.coverage_gaps, guildstream.member_flow, guildstream.event_participants;
ALTER TABLE guildstream.xp_awards DROP COLUMN note, DROP COLUMN given_by;
