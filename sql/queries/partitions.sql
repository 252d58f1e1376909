-- name: make_partitions
-- Make what is missing; returns how many that were.
SELECT guildstream.make_partitions(%(parent)s, %(unit)s, %(starts)s::date[]);

-- name: existing_partitions
-- Names of the partitions of the fact tables.
SELECT inhparent::regclass::text, inhrelid::regclass::text
FROM pg_inherits
WHERE inhparent = ANY (%(parents)s::regclass[]);
