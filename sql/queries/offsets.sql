-- name: offsets_create
-- A row for each partition that has none yet.
INSERT INTO guildstream.sink_offsets (deployment, generation, partition)
SELECT %(deployment)s, %(generation)s, partition
FROM unnest(%(partitions)s::integer[]) AS partition
ORDER BY partition
ON CONFLICT DO NOTHING;

-- name: offsets_read
-- Up to where each partition is loaded.
SELECT partition, results_id, commit, events_id, position
FROM guildstream.sink_offsets
WHERE deployment = %(deployment)s AND generation = %(generation)s;

-- name: offsets_lock
-- The same for a batch's partitions, held until the batch is committed; in order, so that sinks can't deadlock.
SELECT partition, results_id, commit, events_id, position
FROM guildstream.sink_offsets
WHERE deployment = %(deployment)s AND generation = %(generation)s AND partition = ANY (%(partitions)s)
ORDER BY partition
FOR UPDATE;

-- name: offsets_advance
-- Up to where a batch's partitions are loaded with it.
UPDATE guildstream.sink_offsets AS offsets
SET results_id = loaded.results_id, commit = loaded.commit, events_id = loaded.events_id,
    position = loaded.position, loaded_at = clock_timestamp()
FROM unnest(
    %(partitions)s::integer[], %(results_ids)s::text[], %(commits)s::bigint[],
    %(events_ids)s::text[], %(positions)s::bigint[]
) AS loaded (partition, results_id, commit, events_id, position)
WHERE offsets.deployment = %(deployment)s AND offsets.generation = %(generation)s
    AND offsets.partition = loaded.partition;

-- name: offsets_elsewhere
-- Other deployments that this database holds results of.
SELECT DISTINCT deployment FROM guildstream.sink_offsets
WHERE deployment <> %(deployment)s AND commit > 0
ORDER BY deployment;
