"""Clients for Redis, made one way everywhere: binary-safe, with deadlines, named on the server.

They never repeat a command by themselves: an XADD or a commit whose reply was lost may have been
applied, and only its sender knows how to find out.

A URL names one server (``redis://``, ``rediss://`` with TLS, ``unix://``), the nodes of a Cluster
(``redis+cluster://host:port,host:port``), or Sentinels and what they call the service
(``redis+sentinel://host:port,host:port/service/db``); the latter two with TLS as ``rediss+…``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final, cast
from urllib.parse import SplitResult, parse_qsl, unquote, urlencode, urlsplit

import redis
import redis.asyncio
import redis.asyncio.sentinel
import redis.sentinel
from redis.asyncio.retry import Retry as AsyncRetry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry

from guildstream.cluster import Address, AsyncClusterRedis, ClusterRedis
from guildstream.errors import ConfigError

__all__ = ["connect_redis", "connect_redis_async", "fails_over"]

_TIMEOUT_SECONDS: Final = 30.0
#: A node that stands still must not hold up for long what goes to its successor.
_NODE_TIMEOUT_SECONDS: Final = 5.0
#: For those who are only asked where to go.
_HASTY: Final = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
_CONNECT_SECONDS: Final = 5.0
_MAX_CONNECTIONS: Final = 10_000
_PORTS: Final = {"cluster": 6379, "sentinel": 26379}
_FORMS: Final = "redis://, rediss:// or unix://, redis+cluster://host:port,… or redis+sentinel://host:port,…/service/db"


def fails_over(url: str) -> bool:
    """Whether a replica may take a server's place behind this URL, without the last acknowledged writes."""
    return _kind(url) != ""


def connect_redis(url: str, *, name: str = "guildstream", timeout_seconds: float | None = None) -> redis.Redis:
    """A blocking client. Nothing is sent until its first command.

    Args:
        url: as above.
        name: shown by ``CLIENT LIST``.
        timeout_seconds: how long one reply may take; 30, or 5 where a replica may take over.

    Raises:
        ConfigError: the URL can't be read.
    """
    common: dict[str, Any] = {**_common(url, name, timeout_seconds), "retry": Retry(NoBackoff(), 0)}
    if not fails_over(url):
        return cast("redis.Redis", _checked(redis.Redis.from_url, url, **common))
    target = _Target.read(url)
    if target.kind == "cluster":
        hasty: dict[str, Any] = {**common, **_HASTY}
        return ClusterRedis(
            target.hosts,
            lambda address: redis.Redis.from_url(target.node(address), **common),
            lambda address: redis.Redis.from_url(target.node(address), **hasty),
        )
    make: Any = redis.sentinel.Sentinel
    sentinel = make(target.hosts, sentinel_kwargs=target.sentinel_options())
    found: redis.Redis = sentinel.master_for(target.service, **{**target.connection_options(), **common})
    return found


def connect_redis_async(
    url: str, *, name: str = "guildstream", timeout_seconds: float | None = None
) -> redis.asyncio.Redis:
    """The same for asyncio. Close it with ``aclose()``."""
    common: dict[str, Any] = {**_common(url, name, timeout_seconds), "retry": AsyncRetry(NoBackoff(), 0)}
    if not fails_over(url):
        return cast("redis.asyncio.Redis", _checked(redis.asyncio.Redis.from_url, url, **common))
    target = _Target.read(url)
    if target.kind == "cluster":
        hasty: dict[str, Any] = {**common, **_HASTY}
        return AsyncClusterRedis(
            target.hosts,
            lambda address: redis.asyncio.Redis.from_url(target.node(address), **common),
            lambda address: redis.asyncio.Redis.from_url(target.node(address), **hasty),
        )
    sentinel: Any = cast("Any", redis.asyncio.sentinel).Sentinel(
        target.hosts, sentinel_kwargs=target.sentinel_options()
    )
    found: redis.asyncio.Redis = sentinel.master_for(target.service, **{**target.connection_options(), **common})
    return found


def _common(url: str, name: str, timeout_seconds: float | None) -> dict[str, Any]:
    default = _NODE_TIMEOUT_SECONDS if fails_over(url) else _TIMEOUT_SECONDS
    return {
        "decode_responses": False,
        "socket_timeout": timeout_seconds or default,
        "socket_connect_timeout": _CONNECT_SECONDS,
        "client_name": name,
        # The library's own bound is 100: on a Cluster each partition reads over a connection of its own.
        "max_connections": _MAX_CONNECTIONS,
    }


def _checked(make: Any, url: str, **options: Any) -> Any:
    try:
        return make(url, **options)
    except ValueError as error:
        raise _bad_url(error) from error


def _kind(url: str) -> str:
    scheme = url.partition("://")[0]
    base, _, kind = scheme.partition("+")
    return kind if base in {"redis", "rediss"} and kind in _PORTS else ""


def _bad_url(error: object) -> ConfigError:
    return ConfigError(f"the Redis URL can't be used: {error}; expected {_FORMS}")


@dataclass(frozen=True, slots=True)
class _Target:
    """What a URL of several hosts says."""

    kind: str
    scheme: str
    user: str
    hosts: list[Address]
    path: list[str]
    query: dict[str, str]

    @classmethod
    def read(cls, url: str) -> _Target:
        parts = urlsplit(url)
        kind = _kind(url)
        user, _, hosts = parts.netloc.rpartition("@")
        try:
            addresses = [_address(host, _PORTS[kind]) for host in hosts.replace(";", ",").split(",") if host]
        except ValueError as error:
            raise _bad_url(error) from error
        path = [unquote(part) for part in parts.path.split("/") if part]
        found = cls(kind, parts.scheme.partition("+")[0], user, addresses, path, dict(parse_qsl(parts.query)))
        found.check()
        return found

    def check(self) -> None:
        """Raise ``ConfigError`` for what makes no sense."""
        if not self.hosts:
            raise _bad_url("it names no host")
        if self.kind == "cluster" and (self.path or ["0"]) != ["0"]:
            raise _bad_url(f"a Redis Cluster has only database 0, not {'/'.join(self.path)}")
        if self.kind == "sentinel" and not (1 <= len(self.path) <= 2 and self.database.isdigit()):
            raise _bad_url("it doesn't say what the Sentinels call the service, as …:26379/mymaster/0")

    @property
    def service(self) -> str:
        """What the Sentinels call the master."""
        return self.path[0]

    @property
    def database(self) -> str:
        """The database's number."""
        return self.path[1] if len(self.path) == 2 else "0"

    def node(self, address: Address) -> str:
        """The URL of one node."""
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        query = {name: value for name, value in self.query.items() if not name.startswith("sentinel_")}
        user = f"{self.user}@" if self.user else ""
        number = self.database if self.kind == "sentinel" else "0"
        return SplitResult(self.scheme, f"{user}{host}:{address[1]}", f"/{number}", urlencode(query), "").geturl()

    def connection_options(self) -> dict[str, Any]:
        """What a connection to the master needs but its address."""
        options: dict[str, Any] = cast("Any", parse_url)(self.node(self.hosts[0]))
        for name in ("host", "port", "connection_class"):
            options.pop(name, None)
        return {**options, "ssl": self.scheme == "rediss"}

    def sentinel_options(self) -> dict[str, Any]:
        """What a connection to a Sentinel needs: the same TLS, its own user and password."""
        options = {name: value for name, value in self.connection_options().items() if name.startswith("ssl")}
        for name in ("username", "password"):
            if f"sentinel_{name}" in self.query:
                options[name] = self.query[f"sentinel_{name}"]
        return {**options, **_HASTY}


def _address(text: str, default_port: int) -> Address:
    parts = urlsplit(f"//{text}")
    if not parts.hostname:
        msg = f"{text!r} is no host"
        raise ValueError(msg)
    return parts.hostname, parts.port or default_port
