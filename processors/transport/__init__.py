"""A Faust transport over Redis Streams. It knows nothing of Discord."""
