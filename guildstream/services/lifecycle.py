"""Start, find, stop and remove the embedded servers of a data directory."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from guildstream.errors import ConfigError
from guildstream.services.guardian import Tie, release_tie, tie_to_this_process
from guildstream.services.identity import require_own
from guildstream.services.locks import exclusive
from guildstream.services.passwords import make_passwords, read_passwords
from guildstream.services.placement import Place, find_place, make_place, services_dir
from guildstream.services.postgres import PostgresServer
from guildstream.services.programs import find_programs, reachable_programs
from guildstream.services.redis_server import RedisServer
from guildstream.services.server import Server

__all__ = ["ServiceUrls", "find_services", "remove_services", "start_services", "stop_services"]

_LOCK_SECONDS: Final = 180.0
#: What a services directory is called once its removal has begun.
_REMOVED: Final = "services-removed-"


@dataclass(frozen=True, slots=True)
class ServiceUrls:
    """How to reach the servers; each holds a password.

    Attributes:
        redis: ``redis://:password@127.0.0.1:port/0``.
        database: ``postgresql://guildstream:password@127.0.0.1:port/guildstream``.
    """

    redis: str
    database: str


def start_services(
    data_dir: Path, *, tied: bool = False, durable: bool = True, deadline_seconds: float = 120.0
) -> ServiceUrls:
    """Start PostgreSQL and Redis unless they run, and return when both take commands. Blocks.

    Idempotent and safe to race: processes that start the same data directory at once get the same servers.
    Servers outlive this process and its terminal. What they acknowledged survives a kill of everything; a
    start after one recovers by itself. Ports stay the same from start to start while nobody else takes them.

    Args:
        data_dir: made where it doesn't exist.
        tied: servers that this call starts are stopped, cleanly, when this process ends in whatever way.
            Servers that it finds running are left to whoever started them.
        durable: False gives up durability for speed; for tests.
        deadline_seconds: how long each server may take to be ready, recovery included.

    Raises:
        ConfigError: no server for this platform, a full disk, somebody else's directory, a server that
            doesn't start; the message says which and what to do.
    """
    if (urls := find_services(data_dir)) is not None:
        return urls
    with _reported(data_dir):
        _make_own_dirs(data_dir)
        with _locked(data_dir):
            return _start(data_dir, tied, durable, deadline_seconds)


def find_services(data_dir: Path) -> ServiceUrls | None:
    """The servers of a data directory if both run and answer. Changes nothing.

    Raises:
        ConfigError: the directory belongs to somebody else, or its data is gone.
    """
    with _reported(data_dir):
        place = find_place(data_dir)
        if place is None or not (place.home / "passwords.json").exists():
            return None
        servers = _servers(place)
        found = {name: record.port for name, server in servers.items() if (record := server.find())}
        return _urls(servers, found) if len(found) == len(servers) else None


def stop_services(data_dir: Path, *, runs: Mapping[str, str] | None = None, deadline_seconds: float = 60.0) -> None:
    """Stop the servers of a data directory cleanly and wait until they are gone. Idempotent. Blocks.

    Args:
        data_dir: of ``start_services``.
        runs: stop only these runs, token by server name.
        deadline_seconds: how long a clean stop may take before a hard one.

    Raises:
        ConfigError: the directory belongs to somebody else, or a server doesn't end.
    """
    with _reported(data_dir):
        if find_place(data_dir) is None:
            return
        with _locked(data_dir):
            _stop(data_dir, runs, deadline_seconds)
        if runs is None:
            release_tie(services_dir(data_dir))


def remove_services(data_dir: Path) -> None:
    """Stop the servers and delete everything of theirs, wherever it was placed. Idempotent.

    Other contents of the data directory stay.

    Raises:
        ConfigError: the directory belongs to somebody else, or something can't be deleted.
    """
    stop_services(data_dir)
    with _reported(data_dir):
        place, directory = find_place(data_dir), services_dir(data_dir)
        if place is not None and place.home != directory:
            shutil.rmtree(place.home)
        if directory.exists():
            # Out of reach first: whoever stops these servers too, such as a guardian, would write to it meanwhile.
            directory.rename(directory.with_name(f"{_REMOVED}{secrets.token_hex(4)}"))
        for removed in data_dir.glob(f"{_REMOVED}*"):
            shutil.rmtree(removed)


def _start(data_dir: Path, tied: bool, durable: bool, deadline_seconds: float) -> ServiceUrls:
    found = find_programs()
    place = make_place(data_dir)
    make_passwords(place)
    passwords = read_passwords(place)
    in_use = any(server.is_alive() for server in _servers(place).values())
    programs = reachable_programs(found, place.user, place.programs, in_use=in_use)
    redis = RedisServer(place, password=passwords.redis, programs=programs, durable=durable)
    postgres = PostgresServer(place, passwords=passwords, programs=programs, durable=durable)
    tie = tie_to_this_process(data_dir, services_dir(data_dir), place.logs / "guardian.log") if tied else Tie.none()
    runs: dict[str, str] = {}

    def announce(name: str, token: str) -> None:
        runs[name] = token
        tie.hold(name, token)

    try:
        urls = _start_both({"redis": redis, "postgres": postgres}, announce, deadline_seconds)
        tie.confirm()
    except BaseException:  # Ctrl-C too: half a pair is of no use to anybody
        _stop(data_dir, runs, deadline_seconds)
        if tied:
            release_tie(services_dir(data_dir))
        raise
    return urls


def _start_both(
    servers: Mapping[str, Server], announce: Callable[[str, str], None], deadline_seconds: float
) -> ServiceUrls:
    # Redis loads its log while PostgreSQL sets itself up or recovers.
    begun = {
        name: server.begin(partial(announce, name), deadline_seconds=deadline_seconds)
        for name, server in servers.items()
    }
    ports = {
        name: server.finish(begun[name], deadline_seconds=deadline_seconds).port for name, server in servers.items()
    }
    return _urls(servers, ports)


def _stop(data_dir: Path, runs: Mapping[str, str] | None, deadline_seconds: float) -> None:
    place = find_place(data_dir)
    if place is None or not (place.home / "passwords.json").exists():
        return
    for name, server in _servers(place).items():
        if runs is None or name in runs:
            server.stop(None if runs is None else runs[name], deadline_seconds=deadline_seconds)


def _servers(place: Place) -> dict[str, Server]:
    passwords = read_passwords(place)
    return {
        "redis": RedisServer(place, password=passwords.redis),
        "postgres": PostgresServer(place, passwords=passwords),
    }


def _urls(servers: Mapping[str, Server], ports: Mapping[str, int]) -> ServiceUrls:
    return ServiceUrls(servers["redis"].url(ports["redis"]), servers["postgres"].url(ports["postgres"]))


def _make_own_dirs(data_dir: Path) -> None:
    """Make what doesn't exist; the servers' account passes through, so root's are open to passing, no more."""
    if not str(data_dir.absolute()).isprintable():
        raise ConfigError(f"the data directory {str(data_dir)!r} has a line break or the like in its path")
    mode = 0o711 if os.geteuid() == 0 else 0o700
    for directory in (data_dir, services_dir(data_dir)):
        with suppress(FileExistsError):  # perhaps made by another start just now
            directory.mkdir(parents=True)
            directory.chmod(mode)
        require_own(directory)


def _locked(data_dir: Path) -> AbstractContextManager[None]:
    return exclusive(services_dir(data_dir) / "lock", deadline_seconds=_LOCK_SECONDS)


@contextmanager
def _reported(data_dir: Path) -> Generator[None, None, None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"the embedded servers of {data_dir} can't be started, found or stopped: {error}") from error
