"""Where the embedded servers of a data directory live.

``<data dir>/services`` holds the lock and ``place.json``. Data, logs and passwords are there too,
unless a parent folder is closed to the account that the servers run as (root's case, below its own
home for instance): then they are in a directory of ours below ``/var/lib``, and ``place.json`` names it.
"""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guildstream.errors import ConfigError
from guildstream.services.identity import ServerUser, closed_parent, require_own, server_user

__all__ = ["Place", "find_place", "make_place", "read_json", "services_dir", "write_json"]

#: Kept across reboots and by temporary-file cleaners, unlike /var/tmp.
_OPEN_PLACES: Final = (Path("/var/lib"), Path("/opt"), Path("/srv"))
_RECORD: Final = "place.json"


@dataclass(frozen=True, slots=True)
class Place:
    """The directories of one pair of servers.

    Attributes:
        home: what holds everything below.
        user: whom the servers run as.
    """

    home: Path
    user: ServerUser

    @property
    def logs(self) -> Path:
        """What the servers say."""
        return self.home / "logs"

    @property
    def programs(self) -> Path:
        """Copies of programs whose installed folder is closed to the servers' account."""
        return self.home / "programs"

    def server_dir(self, name: str) -> Path:
        """The data of one server, owned by the servers' account and closed to all others."""
        return self.home / name

    def lock_file(self, name: str) -> Path:
        """The file whose lock a server holds while any of its processes lives."""
        return self.home / f"{name}.lock"


def services_dir(data_dir: Path) -> Path:
    """Our own directory below a data directory."""
    return data_dir.absolute() / "services"


def find_place(data_dir: Path) -> Place | None:
    """The recorded place, or None where no servers have been set up. Changes nothing.

    Raises:
        ConfigError: the directory belongs to somebody else, or what is recorded is gone.
    """
    ours = services_dir(data_dir)
    record = read_json(ours / _RECORD)
    if record is None:
        return None
    require_own(ours)
    home = (ours / str(record["home"])).absolute()
    if not home.is_dir():
        msg = f"{ours / _RECORD} says that the data is in {home}, which is gone; if you deleted it, delete {ours} too"
        raise ConfigError(msg)
    require_own(home)
    return Place(home, server_user(int(record["uid"])))


def make_place(data_dir: Path) -> Place:
    """The recorded place, made and recorded where there is none. The caller holds the lock.

    Raises:
        ConfigError: no place can be found that the servers' account can reach.
    """
    place = find_place(data_dir)
    ours = services_dir(data_dir)
    if place is None:
        user = server_user()
        home = ours if closed_parent(ours, user) is None else _open_home(ours, user)
        write_json(ours / _RECORD, {"home": "." if home == ours else str(home), "uid": user.uid})
        place = Place(home, user)
    elif closed := closed_parent(place.home, place.user):
        msg = (
            f"{closed} is closed to the account that owns the embedded servers' data in {place.home} "
            f"(user id {place.user.uid}): move the data directory back to where it was, or open that folder (chmod o+x)"
        )
        raise ConfigError(msg)
    place.logs.mkdir(mode=0o700, exist_ok=True)
    return place


def _open_home(ours: Path, user: ServerUser) -> Path:
    refused: list[str] = []
    for parent in _OPEN_PLACES:
        if not parent.is_dir() or closed_parent(parent, user) is not None:
            continue
        home = parent / f"guildstream-{secrets.token_hex(6)}"
        try:
            home.mkdir(mode=0o711)
        except OSError as error:
            refused.append(str(error))
            continue
        home.chmod(0o711)
        write_json(home / "belongs_to.json", {"data_dir": str(ours.parent)})
        return home
    msg = (
        f"{closed_parent(ours, user)} is closed to the account that PostgreSQL must run as, and no other place can be "
        f"used ({'; '.join(refused) or 'none is open'}): choose a --data-dir outside of it"
    )
    raise ConfigError(msg)


def read_json(path: Path) -> dict[str, Any] | None:
    """A JSON object from a file, or None if there is no such file.

    Raises:
        ConfigError: the file can't be read or is not what we wrote.
    """
    try:
        found = json.loads(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} can't be read: {error}") from error
    if not isinstance(found, dict):
        raise ConfigError(f"{path} is not a JSON object; it is written by guildstream alone")
    return found


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Write a JSON object that only its owner may read, whole or not at all, also when power fails."""
    partial = path.with_name(f"{path.name}.new")
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(json.dumps(value).encode())
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)
    sync_dir(path.parent)


def sync_dir(directory: Path) -> None:
    """Make the names in a directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
