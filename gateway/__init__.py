"""The gateway: hikari shards to events in Redis."""
