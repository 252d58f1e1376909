-- name: make_partitions
-- Make what is missing; returns how many that were.
SELECT guildstream.make_partitions(%(parent)s, %(unit)s, %(starts)s::date[]);
