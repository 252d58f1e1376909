-- The delta log, the aggregates it is folded into, and the accounts of the sink.
-- phase: before
CREATE TABLE guildstream.activity_delta (
    bucket timestamptz NOT NULL,
    local_day date NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL,
    bot boolean NOT NULL,
    messages bigint NOT NULL,
    sized bigint NOT NULL,
    chars bigint NOT NULL,
    attachments bigint NOT NULL,
    replies bigint NOT NULL,
    edits bigint NOT NULL,
    deletes bigint NOT NULL,
    reactions_given bigint NOT NULL,
    reactions_received bigint NOT NULL,
    commands bigint NOT NULL,
    voice_joins bigint NOT NULL,
    voice_ms bigint NOT NULL,
    voice_active_ms bigint NOT NULL,
    muted_ms bigint NOT NULL,
    deafened_ms bigint NOT NULL,
    stream_ms bigint NOT NULL,
    video_ms bigint NOT NULL,
    alone_ms bigint NOT NULL,
    afk_ms bigint NOT NULL,
    audience_ms bigint NOT NULL,
    inferred_ms bigint NOT NULL,
    clipped_ms bigint NOT NULL,
    xp bigint NOT NULL
);
COMMENT ON TABLE guildstream.activity_delta IS
    'Sums of loaded batches by UTC hour, local day, guild, channel and member that wait to be folded.';

-- The member grain is kept at each level, so that active members are counted, never estimated. Keys begin
-- with the guild and the time: what is read together lies together.
CREATE TABLE guildstream.activity_hourly (
    bucket timestamptz NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL,
    bot boolean NOT NULL,
    messages bigint NOT NULL,
    sized bigint NOT NULL,
    chars bigint NOT NULL,
    attachments bigint NOT NULL,
    replies bigint NOT NULL,
    edits bigint NOT NULL,
    deletes bigint NOT NULL,
    reactions_given bigint NOT NULL,
    reactions_received bigint NOT NULL,
    commands bigint NOT NULL,
    voice_joins bigint NOT NULL,
    voice_ms bigint NOT NULL,
    voice_active_ms bigint NOT NULL,
    muted_ms bigint NOT NULL,
    deafened_ms bigint NOT NULL,
    stream_ms bigint NOT NULL,
    video_ms bigint NOT NULL,
    alone_ms bigint NOT NULL,
    afk_ms bigint NOT NULL,
    audience_ms bigint NOT NULL,
    inferred_ms bigint NOT NULL,
    clipped_ms bigint NOT NULL,
    xp bigint NOT NULL,
    PRIMARY KEY (guild_id, bucket, channel_id, user_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE guildstream.activity_hourly IS 'Folded sums by UTC hour; read analytics.*_hourly, which add what is not folded yet.';

CREATE TABLE guildstream.activity_daily (
    day date NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL,
    bot boolean NOT NULL,
    messages bigint NOT NULL,
    sized bigint NOT NULL,
    chars bigint NOT NULL,
    attachments bigint NOT NULL,
    replies bigint NOT NULL,
    edits bigint NOT NULL,
    deletes bigint NOT NULL,
    reactions_given bigint NOT NULL,
    reactions_received bigint NOT NULL,
    commands bigint NOT NULL,
    voice_joins bigint NOT NULL,
    voice_ms bigint NOT NULL,
    voice_active_ms bigint NOT NULL,
    muted_ms bigint NOT NULL,
    deafened_ms bigint NOT NULL,
    stream_ms bigint NOT NULL,
    video_ms bigint NOT NULL,
    alone_ms bigint NOT NULL,
    afk_ms bigint NOT NULL,
    audience_ms bigint NOT NULL,
    inferred_ms bigint NOT NULL,
    clipped_ms bigint NOT NULL,
    xp bigint NOT NULL,
    PRIMARY KEY (guild_id, day, channel_id, user_id)
) WITH (fillfactor = 80);
COMMENT ON TABLE guildstream.activity_daily IS
    'Folded sums by the guild''s local day; read analytics.*_daily, which add what is not folded yet.';

CREATE TABLE guildstream.refresh_state (
    name text PRIMARY KEY,
    last_run_at timestamptz,
    duration_ms double precision,
    folded_rows bigint NOT NULL DEFAULT 0,
    backlog_rows bigint NOT NULL DEFAULT 0,
    error text
);
COMMENT ON TABLE guildstream.refresh_state IS 'How the policies that the sink runs are doing.';
INSERT INTO guildstream.refresh_state (name) VALUES ('fold');

CREATE TABLE guildstream.sink_offsets (
    deployment text NOT NULL,
    generation integer NOT NULL,
    partition integer NOT NULL,
    results_id text NOT NULL DEFAULT '0-0',
    commit bigint NOT NULL DEFAULT 0,
    events_id text NOT NULL DEFAULT '0-0',
    position bigint NOT NULL DEFAULT 0,
    loaded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (deployment, generation, partition)
) WITH (fillfactor = 50);
COMMENT ON TABLE guildstream.sink_offsets IS
    'Up to where each partition is loaded; written in the transaction that loads the rows.';
