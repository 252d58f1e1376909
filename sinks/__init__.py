"""The sinks: results into PostgreSQL, and the aggregates kept fresh."""
