"""The generated passwords of the embedded servers, in one file that only its owner may read."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from guildstream.errors import ConfigError
from guildstream.services.placement import Place, read_json, write_json

__all__ = ["Passwords", "make_passwords", "read_passwords"]


@dataclass(frozen=True, slots=True)
class Passwords:
    """One password each; hexadecimal, so that none needs quoting in a URL or in SQL.

    Attributes:
        postgres: of PostgreSQL's superuser ``postgres``, for backups and repairs.
        guildstream: of the role ``guildstream`` that owns the database.
        redis: of redis-server's default user.
    """

    postgres: str
    guildstream: str
    redis: str


def read_passwords(place: Place) -> Passwords:
    """The passwords of a place.

    Raises:
        ConfigError: the file is missing or incomplete.
    """
    found = read_json(_file(place))
    names = {field.name for field in fields(Passwords)}
    if found is None or set(found) != names:
        raise ConfigError(f"{_file(place)} with the embedded servers' passwords is missing or damaged: restore it")
    return Passwords(**found)


def make_passwords(place: Place) -> Passwords:
    """The passwords of a place, generated where there are none yet. The caller holds the lock."""
    if not _file(place).exists() and not place.server_dir("postgres").exists():
        write_json(_file(place), asdict(Passwords(*(secrets.token_hex(20) for _ in fields(Passwords)))))
    return read_passwords(place)


def _file(place: Place) -> Path:
    return place.home / "passwords.json"
