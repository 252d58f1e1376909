-- name: refresh_status
-- How the fold is doing.
SELECT name, last_run_at, duration_ms, folded_rows, backlog_rows, error
FROM guildstream.refresh_state
ORDER BY name;

-- name: leaderboard
-- Members of a guild by a measure.
SELECT rank, user_id, display_name, value, level
FROM analytics.leaderboard(%(guild)s, %(period)s, %(measure)s, %(at)s, %(max_rows)s, %(skip)s);

-- name: member_rank
-- One member's place by a measure.
SELECT rank, user_id, display_name, value, level
FROM analytics.member_rank(%(guild)s, %(user)s, %(period)s, %(measure)s, %(at)s);
