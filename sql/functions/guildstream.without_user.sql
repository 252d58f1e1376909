-- Ids are numbers or decimal strings; both name the same user.
CREATE OR REPLACE FUNCTION guildstream.without_user(data jsonb, erased bigint)
RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(key, CASE
        WHEN key = 'states' AND jsonb_typeof(value) = 'array' THEN (
            SELECT coalesce(jsonb_agg(state), '[]') FROM jsonb_array_elements(value) AS state
            WHERE ltrim(state ->> 'user_id', '0') IS DISTINCT FROM erased::text)
        ELSE value END), '{}')
    FROM jsonb_each(CASE jsonb_typeof(data) WHEN 'object' THEN data ELSE '{}' END)
    WHERE NOT (key IN ('reply_to', 'author_id', 'target_id', 'by', 'owner_id', 'user_id')
        AND ltrim(value #>> '{}', '0') = erased::text)
$$;
COMMENT ON FUNCTION guildstream.without_user(jsonb, bigint) IS 'An event''s data without the id of a user.';
