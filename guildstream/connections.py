"""Clients for Redis, made one way everywhere: binary-safe, with deadlines, named on the server."""

from __future__ import annotations

import redis
import redis.asyncio

from guildstream.errors import ConfigError

__all__ = ["connect_redis", "connect_redis_async"]

_TIMEOUT_SECONDS = 30.0


def connect_redis(url: str, *, name: str = "guildstream") -> redis.Redis:
    """A blocking client. Nothing is sent until its first command.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        name: shown by ``CLIENT LIST``.

    Raises:
        ConfigError: the URL can't be read.
    """
    try:
        return redis.Redis.from_url(
            url, decode_responses=False, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=5, client_name=name
        )
    except ValueError as error:
        raise _bad_url(error) from error


def connect_redis_async(url: str, *, name: str = "guildstream") -> redis.asyncio.Redis:
    """The same for asyncio. Close it with ``aclose()``."""
    try:
        return redis.asyncio.Redis.from_url(
            url, decode_responses=False, socket_timeout=_TIMEOUT_SECONDS, socket_connect_timeout=5, client_name=name
        )
    except ValueError as error:
        raise _bad_url(error) from error


def _bad_url(error: ValueError) -> ConfigError:
    return ConfigError(f"the Redis URL can't be used: {error}; expected redis://, rediss:// or unix://")
