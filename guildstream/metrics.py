"""Every metric of every component, in one list, with what it means.

A component increments what it does; what it doesn't do stays at zero in its ``/metrics``. Names and
labels are a contract with ``deploy/``: alert rules and dashboards use these and no others.
"""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

# --- every component

#: Which release runs as which component; always 1.
BUILD_INFO = Gauge("guildstream_build_info", "Release and component of this process.", ["version", "component"])

# --- publishing: gateway, Publisher

#: Dispatches that Discord sent, by its event name, whether or not they become events.
GATEWAY_DISPATCHES = Counter("guildstream_gateway_dispatches", "Dispatches received from Discord.", ["name"])
#: Events handed over for publishing, before any outcome.
EVENTS_IN = Counter("guildstream_publish_events_in", "Events given to the publisher.")
#: Events that Redis has acknowledged.
EVENTS_PUBLISHED = Counter("guildstream_publish_events", "Events acknowledged by Redis.")
#: Entries that Redis has acknowledged; events divided by entries is how well packing works.
ENTRIES_PUBLISHED = Counter("guildstream_publish_entries", "Stream entries acknowledged by Redis.")
#: Attempts to write to Redis that failed and will be repeated.
PUBLISH_ERRORS = Counter("guildstream_publish_errors", "Failed writes to Redis; repeated later.")
#: Time from sending a batch to Redis' acknowledgement.
PUBLISH_SECONDS = Histogram("guildstream_publish_seconds", "Time of one write to Redis.", buckets=_SECONDS)
#: Bytes waiting in the disk spool while Redis is away or slow.
SPOOL_BYTES = Gauge("guildstream_spool_bytes", "Bytes in the disk spool.")
#: Events that are not in Redis yet: in memory or in the spool.
PUBLISH_PENDING = Gauge("guildstream_publish_pending_events", "Events accepted but not acknowledged by Redis.")
#: 0: Redis has room; 1: publishing is slowed down; 2: it is stopped until Redis has room again.
PUBLISH_HELD = Gauge("guildstream_publish_held", "Whether a full Redis holds publishing back.")
#: Events given up, by reason. Anything but 0 deserves a look.
EVENTS_DROPPED = Counter("guildstream_publish_dropped_events", "Events that were not published.", ["reason"])
#: 1 while the shard's session is connected.
SHARD_CONNECTED = Gauge("guildstream_shard_connected", "Whether the shard is connected.", ["shard"])
#: Connections made, by how they began: identify (a blind stretch before it) or resume (none).
SHARD_CONNECTS = Counter("guildstream_shard_connects", "Connections to the Discord gateway.", ["shard", "how"])

# --- processor

#: Events by what became of them: accepted, duplicate, invalid, unknown, superseded, heartbeat, poison.
PROCESSOR_EVENTS = Counter("guildstream_processor_events", "Events processed, by outcome.", ["outcome"])
#: Chunks handed to agents.
PROCESSOR_CHUNKS = Counter("guildstream_processor_chunks", "Chunks handed to agents.")
#: Commits that Redis has applied.
PROCESSOR_COMMITS = Counter("guildstream_processor_commits", "Atomic commits applied.")
#: Time of one commit, from the first byte sent to the reply.
COMMIT_SECONDS = Histogram("guildstream_processor_commit_seconds", "Time of one commit.", buckets=_SECONDS)
#: Bytes written by commits: state, results, notices.
COMMIT_BYTES = Counter("guildstream_processor_commit_bytes", "Bytes written by commits.")
#: Partitions that this worker owns.
PARTITIONS_OWNED = Gauge("guildstream_processor_partitions", "Partitions owned by this worker.")
#: Entries after the committed position, by partition.
LAG_ENTRIES = Gauge("guildstream_processor_lag_entries", "Entries not committed yet.", ["partition"])
#: Age of the oldest entry after the committed position, by partition; 0 where there is none.
LAG_SECONDS = Gauge("guildstream_processor_lag_seconds", "Age of the oldest uncommitted entry.", ["partition"])
#: Memory that a partition's keyed state takes in Redis, estimated there from samples about once a minute.
STATE_BYTES = Gauge("guildstream_processor_state_bytes", "Memory of keyed state in Redis.", ["partition"])
#: Memory of cached keyed state, estimated from the size of its values as they are stored.
STATE_CACHE_BYTES = Gauge("guildstream_processor_state_cache_bytes", "Bytes of cached keyed state.")
#: State keys read from Redis: cache misses.
STATE_READS = Counter("guildstream_processor_state_reads", "Keys of keyed state read from Redis.")
#: Dead letters, by reason.
DEAD_LETTERS = Counter("guildstream_processor_dead_letters", "Events moved to the dead-letter stream.", ["reason"])
#: Chunks thrown away and read again because an agent raised.
ROLLBACKS = Counter("guildstream_processor_rollbacks", "Partitions read again from their last commit.")
#: Commits refused because another worker owned the partition.
FENCED = Counter("guildstream_processor_fenced", "Commits refused by the fence.")
#: Commits that Redis acknowledged and a failover lost; what they covered is processed again as far as it is there.
COMMITS_LOST = Counter("guildstream_processor_commits_lost", "Acknowledged commits that a failover lost.")

# --- sink

#: Transactions committed in PostgreSQL.
SINK_BATCHES = Counter("guildstream_sink_batches", "Transactions loaded into PostgreSQL.")
#: Rows written, by table.
SINK_ROWS = Counter("guildstream_sink_rows", "Rows written to PostgreSQL.", ["table"])
#: Results entries loaded.
SINK_RESULTS = Counter("guildstream_sink_results", "Results entries loaded.")
#: Time of one load transaction.
SINK_LOAD_SECONDS = Histogram("guildstream_sink_load_seconds", "Time of one load transaction.", buckets=_SECONDS)
#: Seconds from an event's entry in Redis to its commit in PostgreSQL, for the newest of a batch.
SINK_FRESHNESS_SECONDS = Gauge("guildstream_sink_freshness_seconds", "Age of the newest loaded entry when loaded.")
#: Results entries waiting in Redis, by partition.
SINK_LAG_ENTRIES = Gauge("guildstream_sink_lag_entries", "Results entries not loaded yet.", ["partition"])
#: Transactions repeated, by cause: database away, deadlock, serialization.
SINK_RETRIES = Counter("guildstream_sink_retries", "Load transactions repeated.", ["cause"])
#: Rows of the delta log folded into aggregates.
FOLD_ROWS = Counter("guildstream_sink_fold_rows", "Delta rows folded into the aggregates.")
#: Time of one fold.
FOLD_SECONDS = Histogram("guildstream_sink_fold_seconds", "Time of one fold.", buckets=_SECONDS)
#: Partitions that stopped because their results don't continue what was loaded. Must be 0.
SINK_DAMAGED = Gauge("guildstream_sink_damaged_partitions", "Partitions stopped by a damaged stream.")
