-- Who joined and left, who was with whom, what nobody watched, what was decided and what was forgotten.
-- phase: before
ALTER TABLE guildstream.xp_awards ADD COLUMN note text, ADD COLUMN given_by bigint;

CREATE TABLE guildstream.event_participants (
    occurred_at timestamptz NOT NULL,
    event_id uuid NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE guildstream.event_participants IS
    'Who else was in the channel at a voice join, move or leave; not of crowds. Daily partitions (UTC).';
-- A B-tree would cost four times what the rows do. The sink writes each batch's rows in order of guilds, so
-- that a block has few of them.
CREATE INDEX event_participants_of ON guildstream.event_participants
    USING brin (guild_id, occurred_at) WITH (pages_per_range = 8, autosummarize = on);

CREATE TABLE guildstream.member_flow (
    occurred_at timestamptz NOT NULL,
    guild_id bigint NOT NULL,
    user_id bigint NOT NULL,
    kind text NOT NULL,
    invite text
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE guildstream.member_flow IS
    'Members joining and leaving, as far as the members intent shows it. Monthly partitions (UTC).';
CREATE INDEX member_flow_of ON guildstream.member_flow (guild_id, occurred_at);

CREATE TABLE guildstream.coverage_gaps (
    session text NOT NULL,
    shard integer,
    shard_count integer,
    guild_id bigint,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    cause text NOT NULL,
    UNIQUE NULLS NOT DISTINCT (session, shard, guild_id, started_at)
);
COMMENT ON TABLE guildstream.coverage_gaps IS
    'Stretches in which a guild, or where there is none a whole shard, was not observed; without an end while it lasts.';
CREATE INDEX coverage_gaps_of ON guildstream.coverage_gaps (guild_id, started_at);

CREATE TABLE guildstream.audit_log (
    event_id uuid PRIMARY KEY,
    occurred_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    guild_id bigint NOT NULL,
    action text NOT NULL,
    detail jsonb NOT NULL
);
COMMENT ON TABLE guildstream.audit_log IS
    'What was done to data by request. The receipt of an erasure counts what it removed and names nobody.';
CREATE INDEX audit_log_of ON guildstream.audit_log (guild_id, occurred_at);
