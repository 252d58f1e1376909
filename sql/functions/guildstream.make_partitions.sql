-- Runs as the owner of the tables, since only the owner may attach a partition.
CREATE OR REPLACE FUNCTION guildstream.make_partitions(parent text, unit text, starts date[])
RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low date;
    child text;
    made integer := 0;
BEGIN
    IF parent NOT IN ('events', 'member_activity', 'xp_awards', 'voice_sessions', 'command_usage',
            'event_participants', 'member_flow')
        OR unit NOT IN ('day', 'month') THEN
        RAISE EXCEPTION 'no partitions by % are made for %', unit, parent;
    END IF;
    -- Several sinks may need the same partition at once: the second one finds it made.
    PERFORM pg_advisory_xact_lock(hashtextextended('guildstream.partitions', 0));
    FOREACH low IN ARRAY starts LOOP
        child := parent || to_char(low, CASE unit WHEN 'day' THEN '_YYYYMMDD' ELSE '_YYYYMM' END);
        CONTINUE WHEN to_regclass('guildstream.' || child) IS NOT NULL;
        -- Attached, not created in place: that would wait for every reader of the table. A new table is
        -- empty, so that the check of its rows at ATTACH needs no constraint to be cheap.
        EXECUTE format('CREATE TABLE guildstream.%I (LIKE guildstream.%I INCLUDING ALL)', child, parent);
        EXECUTE format('COMMENT ON TABLE guildstream.%I IS %L', child,
            format('Partition of %s: the %s that begins on %s (UTC).', parent, unit, low));
        EXECUTE format('ALTER TABLE guildstream.%I ATTACH PARTITION guildstream.%I FOR VALUES FROM (%L) TO (%L)',
            parent, child, low || ' 00:00:00+00', (low + ('1 ' || unit)::interval)::date || ' 00:00:00+00');
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$;
COMMENT ON FUNCTION guildstream.make_partitions(text, text, date[]) IS
    'Make the partitions of a fact table that begin on these days and do not exist; returns how many it made.';
