-- What each guild has set, and when it set it.
-- phase: before
CREATE TABLE guildstream.guild_settings (
    guild_id bigint PRIMARY KEY,
    settings_version bigint NOT NULL,
    settings jsonb NOT NULL,
    updated_at timestamptz NOT NULL
);
COMMENT ON TABLE guildstream.guild_settings IS 'What of a guild''s settings differs from the defaults.';

CREATE TABLE guildstream.settings_history (
    guild_id bigint NOT NULL,
    settings_version bigint NOT NULL,
    changed_at timestamptz NOT NULL,
    patch jsonb NOT NULL,
    settings jsonb NOT NULL,
    event_id uuid NOT NULL
);
COMMENT ON TABLE guildstream.settings_history IS 'Every change of a guild''s settings, in the order of its stream.';
CREATE INDEX settings_history_of ON guildstream.settings_history (guild_id, settings_version);
