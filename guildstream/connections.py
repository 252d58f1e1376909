"""Clients for Redis, made one way everywhere: binary-safe, with deadlines, named on the server.

They never repeat a command by themselves: an XADD or a commit whose reply was lost may have been
applied, and only its sender knows how to find out.
"""

from __future__ import annotations

import redis
import redis.asyncio
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.retry import Retry

from guildstream.errors import ConfigError

__all__ = ["connect_redis", "connect_redis_async"]

_TIMEOUT_SECONDS = 30.0


def connect_redis(url: str, *, name: str = "guildstream", timeout_seconds: float = _TIMEOUT_SECONDS) -> redis.Redis:
    """A blocking client. Nothing is sent until its first command.

    Args:
        url: ``redis://``, ``rediss://`` or ``unix://``.
        name: shown by ``CLIENT LIST``.
        timeout_seconds: how long one reply may take.

    Raises:
        ConfigError: the URL can't be read.
    """
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=False,
            socket_timeout=timeout_seconds,
            socket_connect_timeout=5,
            client_name=name,
            retry=Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise _bad_url(error) from error


def connect_redis_async(url: str, *, name: str = "guildstream") -> redis.asyncio.Redis:
    """The same for asyncio. Close it with ``aclose()``."""
    try:
        return redis.asyncio.Redis.from_url(
            url,
            decode_responses=False,
            socket_timeout=_TIMEOUT_SECONDS,
            socket_connect_timeout=5,
            client_name=name,
            retry=AsyncRetry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise _bad_url(error) from error


def _bad_url(error: ValueError) -> ConfigError:
    return ConfigError(f"the Redis URL can't be used: {error}; expected redis://, rediss:// or unix://")
