"""What one run of the program works with: settings, and servers that are found or started for it."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar, cast

import click
from pydantic import SecretStr

from guildstream.errors import ConfigError
from guildstream.services import ServiceUrls, find_services, start_services, stop_services
from guildstream.settings import Settings, default_data_dir, load_settings

__all__ = ["Invocation", "data_dir_option", "database_dsn", "json_option", "redis_url_of"]

_F = TypeVar("_F", bound=Callable[..., Any])
_URLS = ("GUILDSTREAM_REDIS_URL", "GUILDSTREAM_DATABASE_URL")


@dataclass(slots=True)
class Invocation:
    """The command line as far as all commands share it.

    Attributes:
        data_dir: what ``--data-dir`` said, before or after the command.
    """

    data_dir: Path | None = None

    def settings(self, *, ignore_urls: bool = False) -> Settings:
        """The settings; with ``--data-dir`` URLs of the environment don't count.

        Args:
            ignore_urls: leave the environment's URLs out in any case.

        Raises:
            ConfigError: a variable is unknown or out of range.
        """
        environ = dict(os.environ)
        if ignore_urls or self.data_dir is not None:
            for name in _URLS:
                environ.pop(name, None)
        settings = load_settings(environ, data_dir=self.data_dir)
        return settings.model_copy(update={"data_dir": (settings.data_dir or default_data_dir()).absolute()})

    @contextmanager
    def running_servers(self, *, redis: bool = True, database: bool = True) -> Generator[Settings, None, None]:
        """Settings with URLs of servers that run: given, found under the data directory, or started now.

        What was started here stops at the end, or with this process. A data directory that holds
        nothing is an error: a question about it can only be a mistake.
        """
        settings = self.settings()
        if _has_urls(settings, redis=redis, database=database):
            yield settings
            return
        data_dir = _data_dir(settings)
        if not data_dir.is_dir() or not any(data_dir.iterdir()):
            raise ConfigError(
                f"nothing is at {data_dir} yet: name a data directory with --data-dir, set "
                f"{' and '.join(_URLS)}, or start one with `guildstream up`"
            )
        with ExitStack() as stack:
            yield with_urls(settings, _found_or_started(data_dir, stack))

    @contextmanager
    def own_servers(self, *, ignore_urls: bool = False) -> Generator[tuple[Settings, bool], None, None]:
        """Settings with URLs for a whole pipeline, starting embedded servers where none are given.

        Yields:
            The settings, and whether the servers were started here (they then stop at the end).
        """
        settings = self.settings(ignore_urls=ignore_urls)
        if _has_urls(settings, redis=True, database=True):
            yield settings, False
            return
        with ExitStack() as stack:
            data_dir = _data_dir(settings)
            was_running = find_services(data_dir) is not None
            yield with_urls(settings, _found_or_started(data_dir, stack)), not was_running

    def found_servers(self, *, database: bool = True) -> Settings:
        """Settings with URLs that are given or found running; nothing is started.

        Args:
            database: whether PostgreSQL is needed; Redis always is.

        Raises:
            ConfigError: no URLs are given and nothing runs under the data directory.
        """
        settings = self.settings()
        if _has_urls(settings, redis=True, database=database):
            return settings
        data_dir = _data_dir(settings)
        urls = find_services(data_dir)
        if urls is None:
            raise ConfigError(
                f"no servers run under {data_dir}: start them with `guildstream services start`, or set "
                f"{' and '.join(_URLS)}"
            )
        return with_urls(settings, urls)


def with_urls(settings: Settings, urls: ServiceUrls) -> Settings:
    """The settings with these servers' URLs."""
    return settings.model_copy(update={"redis_url": urls.redis, "database_url": SecretStr(urls.database)})


def redis_url_of(settings: Settings) -> str:
    """The Redis URL.

    Raises:
        ConfigError: there is none.
    """
    if settings.redis_url is None:
        raise ConfigError("GUILDSTREAM_REDIS_URL is not set")
    return settings.redis_url


def database_dsn(settings: Settings) -> str:
    """The PostgreSQL URL.

    Raises:
        ConfigError: there is none.
    """
    if settings.database_url is None:
        raise ConfigError("GUILDSTREAM_DATABASE_URL is not set")
    return settings.database_url.get_secret_value()


def data_dir_option(function: _F) -> _F:
    """Add ``--data-dir`` to a command; after the command it wins over before it."""

    def remember(ctx: click.Context, _parameter: click.Parameter, value: Path | None) -> None:
        if value is not None:
            cast("Invocation", ctx.obj).data_dir = value

    return click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        callback=remember,
        expose_value=False,
        help="Where embedded servers keep their data; wins over URLs in the environment.",
    )(function)


def json_option(function: _F) -> _F:
    """Add ``--json`` to a command, as the argument ``as_json``."""
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for machines.")(function)


def _data_dir(settings: Settings) -> Path:
    return settings.data_dir or default_data_dir()


def _has_urls(settings: Settings, *, redis: bool, database: bool) -> bool:
    missing = (redis and settings.redis_url is None, database and settings.database_url is None)
    if not any(missing):
        return True
    if settings.redis_url is None and settings.database_url is None:
        return False
    raise ConfigError(f"one of {' and '.join(_URLS)} is set and the other is not: set both, or neither")


def _found_or_started(data_dir: Path, stack: ExitStack) -> ServiceUrls:
    urls = find_services(data_dir)
    if urls is None:
        urls = start_services(data_dir, tied=True)
        stack.callback(stop_services, data_dir)
    return urls
