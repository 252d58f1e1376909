-- Schemas and the tables of facts: what happened, as it was accepted and counted.
-- phase: before
CREATE SCHEMA analytics;
COMMENT ON SCHEMA guildstream IS 'Facts, current attributes, aggregates and the sink''s own accounts.';
COMMENT ON SCHEMA analytics IS 'What analysts read: stable relations and functions.';

-- sum(bigint) adds up in numeric, which costs more than all the rest of a fold; this one stays bigint and
-- raises where it would overflow.
CREATE AGGREGATE guildstream.total (bigint) (
    SFUNC = int8pl, STYPE = bigint, COMBINEFUNC = int8pl, PARALLEL = SAFE
);
COMMENT ON AGGREGATE guildstream.total (bigint) IS 'Sum of bigints as a bigint; null of no rows.';

CREATE TABLE guildstream.events (
    occurred_at timestamptz NOT NULL,
    guild_id bigint,
    channel_id bigint,
    user_id bigint,
    position bigint NOT NULL,
    seq bigint NOT NULL,
    event_id uuid NOT NULL,
    part integer NOT NULL,
    partition integer NOT NULL,
    shard integer,
    replayed boolean NOT NULL,
    type text NOT NULL,
    session text NOT NULL,
    data jsonb NOT NULL
) PARTITION BY RANGE (occurred_at);
COMMENT ON TABLE guildstream.events IS 'Every accepted event but heartbeats, one row each. Daily partitions (UTC).';
-- No index: its day is what a question over events is cut down to, and an index on each day doubles what
-- a new partition costs.

CREATE TABLE guildstream.member_activity (
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
) PARTITION BY RANGE (bucket);
COMMENT ON TABLE guildstream.member_activity IS
    'Panes: what a window adds to a member''s activity. Several rows may share a key: add them up. Daily partitions (UTC).';

CREATE TABLE guildstream.voice_sessions (
    segment_id uuid NOT NULL,
    visit_id uuid NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz,
    counted_until timestamptz NOT NULL,
    end_reason text,
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
    PRIMARY KEY (segment_id, started_at)
) PARTITION BY RANGE (started_at);
COMMENT ON TABLE guildstream.voice_sessions IS
    'One stay of one user in one voice channel, updated while it lasts. Monthly partitions (UTC).';
CREATE INDEX voice_sessions_of ON guildstream.voice_sessions (guild_id, user_id, started_at);

CREATE TABLE guildstream.command_usage (
    bucket timestamptz NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    uses bigint NOT NULL
) PARTITION BY RANGE (bucket);
COMMENT ON TABLE guildstream.command_usage IS
    'Uses of application commands. Several rows may share a key: add them up. Monthly partitions (UTC).';
CREATE INDEX command_usage_of ON guildstream.command_usage (guild_id, bucket);

CREATE TABLE guildstream.xp_awards (
    awarded_at timestamptz NOT NULL,
    last_awarded_at timestamptz NOT NULL,
    guild_id bigint NOT NULL,
    channel_id bigint NOT NULL,
    user_id bigint NOT NULL,
    award_id uuid NOT NULL,
    event_id uuid,
    local_day date NOT NULL,
    count bigint NOT NULL,
    base bigint NOT NULL,
    xp bigint NOT NULL,
    settings_version bigint NOT NULL,
    multiplier numeric NOT NULL,
    reason text NOT NULL
) PARTITION BY RANGE (awarded_at);
COMMENT ON TABLE guildstream.xp_awards IS
    'The ledger: every award with its reason. The voice awards of one slice are one row with a count. Daily partitions (UTC).';
-- The ledger answers "why does this member have that"; it is a fraction of the events, so a B-tree is cheap.
CREATE INDEX xp_awards_of ON guildstream.xp_awards (guild_id, user_id, awarded_at);

CREATE TABLE guildstream.member_totals (
    guild_id bigint NOT NULL,
    user_id bigint NOT NULL,
    bot boolean NOT NULL,
    xp bigint NOT NULL,
    level bigint NOT NULL,
    messages bigint NOT NULL,
    voice_ms bigint NOT NULL,
    reactions_given bigint NOT NULL,
    first_active_at timestamptz,
    last_active_at timestamptz,
    PRIMARY KEY (guild_id, user_id)
) PARTITION BY HASH (guild_id);
COMMENT ON TABLE guildstream.member_totals IS
    'What a member has in all, as the processor last knew it. Eight hash partitions by guild.';
DO $$
BEGIN
    FOR remainder IN 0..7 LOOP
        -- Free space on each page keeps updates of hot members on their page (no index entries).
        EXECUTE format(
            'CREATE TABLE guildstream.member_totals_%s PARTITION OF guildstream.member_totals '
            'FOR VALUES WITH (MODULUS 8, REMAINDER %s) WITH (fillfactor = 80)', remainder, remainder);
        EXECUTE format('COMMENT ON TABLE guildstream.member_totals_%s IS %L', remainder,
            format('member_totals of guilds whose hash leaves %s.', remainder));
    END LOOP;
END
$$;
