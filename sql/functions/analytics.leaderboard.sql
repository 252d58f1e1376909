-- Only members with something to show have a place: a value above 0.
CREATE OR REPLACE FUNCTION analytics.leaderboard(
    guild bigint,
    period text,
    measure text DEFAULT 'xp',
    at date DEFAULT NULL,
    max_rows integer DEFAULT 10,
    skip integer DEFAULT 0
)
RETURNS TABLE (rank bigint, user_id bigint, display_name text, value bigint, level bigint)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Every guild's today is UTC's until guilds can set a time zone.
    today date := coalesce(at, (now() AT TIME ZONE 'UTC')::date);
    first_day date;
    last_day date;
    source text;
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_attribute
        WHERE attrelid = 'analytics.member_daily'::regclass AND attname = measure
            AND atttypid = 'bigint'::regtype AND attnum > 0 AND attname NOT LIKE '%\_id'
    ) THEN
        RAISE EXCEPTION 'there is no measure %', quote_nullable(measure)
            USING ERRCODE = 'invalid_parameter_value', HINT = 'See the columns of analytics.member_daily.';
    END IF;
    CASE period
        WHEN 'all' THEN
            first_day := '-infinity';
            last_day := 'infinity';
        WHEN 'day' THEN
            first_day := today;
            last_day := today;
        WHEN 'week' THEN
            first_day := date_trunc('week', today::timestamp)::date;
            last_day := first_day + 6;
        WHEN 'month' THEN
            first_day := date_trunc('month', today::timestamp)::date;
            last_day := (first_day + interval '1 month')::date - 1;
        WHEN 'rolling_7d' THEN
            first_day := today - 6;
            last_day := today;
        WHEN 'rolling_30d' THEN
            first_day := today - 29;
            last_day := today;
        ELSE
            RAISE EXCEPTION 'there is no period %', quote_nullable(period)
                USING ERRCODE = 'invalid_parameter_value',
                    HINT = 'all, day, week, month, rolling_7d or rolling_30d';
    END CASE;
    IF period = 'all' AND measure IN ('xp', 'messages', 'voice_ms', 'reactions_given') THEN
        source := format('SELECT user_id, %I AS value FROM analytics.members WHERE guild_id = $1 AND NOT bot', measure);
    ELSE
        source := format(
            'SELECT user_id, guildstream.total(%I) AS value FROM analytics.member_daily '
            'WHERE guild_id = $1 AND day BETWEEN $2 AND $3 GROUP BY user_id HAVING NOT bool_or(bot)', measure);
    END IF;
    -- Ranked before names are looked up, so that names cost only the rows shown.
    RETURN QUERY EXECUTE format(
        'WITH place AS ('
        '    SELECT rank() OVER (ORDER BY value DESC) AS rank, user_id, value FROM (%s) AS sums'
        '    WHERE value > 0 AND NOT EXISTS ('
        '        SELECT FROM analytics.members AS bots'
        '        WHERE bots.guild_id = $1 AND bots.user_id = sums.user_id AND bots.bot)'
        '    ORDER BY rank, user_id LIMIT $4 OFFSET $5'
        ') '
        'SELECT place.rank, place.user_id, members.display_name, place.value, coalesce(members.level, 0) '
        'FROM place LEFT JOIN analytics.members ON members.guild_id = $1 AND members.user_id = place.user_id '
        'ORDER BY place.rank, place.user_id', source)
        USING guild, first_day, last_day, max_rows, skip;
END
$$;
COMMENT ON FUNCTION analytics.leaderboard(bigint, text, text, date, integer, integer) IS
    'Members of a guild by a measure, without bots; ties share a rank. Periods: all, day, week, month (that of "at", today if absent), rolling_7d, rolling_30d (ending at "at").';
