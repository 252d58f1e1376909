CREATE OR REPLACE FUNCTION analytics.member_rank(
    guild bigint,
    member bigint,
    period text,
    measure text DEFAULT 'xp',
    at date DEFAULT NULL
)
RETURNS TABLE (rank bigint, user_id bigint, display_name text, value bigint, level bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT place.rank, place.user_id, place.display_name, place.value, place.level
    FROM analytics.leaderboard(guild, period, measure, at, NULL, 0) AS place
    WHERE place.user_id = member
$$;
COMMENT ON FUNCTION analytics.member_rank(bigint, bigint, text, text, date) IS
    'One member''s row of the leaderboard; no row where the member has no place in it.';
