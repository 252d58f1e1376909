CREATE OR REPLACE FUNCTION guildstream.erase_guild(erased_guild bigint)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    receipt jsonb := '{}';
    counted bigint;
    relation text;
BEGIN
    -- Deleting from guilds takes channels, roles and members with it.
    FOREACH relation IN ARRAY ARRAY['events', 'member_activity', 'activity_delta', 'activity_hourly', 'activity_daily',
        'voice_sessions', 'command_usage', 'xp_awards', 'member_flow', 'event_participants', 'member_totals',
        'coverage_gaps', 'guild_settings', 'settings_history', 'guilds'] LOOP
        EXECUTE format('DELETE FROM guildstream.%I WHERE guild_id = $1', relation) USING erased_guild;
        GET DIAGNOSTICS counted = ROW_COUNT;
        receipt := receipt || jsonb_build_object(relation, counted);
    END LOOP;
    RETURN receipt;
END
$$;
COMMENT ON FUNCTION guildstream.erase_guild(bigint) IS 'Delete everything of a guild; returns how many rows of each table.';
