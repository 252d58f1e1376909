"""Whom the embedded servers run as, and what that user can reach.

As an ordinary user they run as that user. As root they drop to a system account that exists
everywhere: ``daemon``, which is there for daemons that own files, or else ``nobody``. No account is
made, and no permission of a directory that isn't ours is changed.
"""

from __future__ import annotations

import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from guildstream.errors import ConfigError

__all__ = ["ServerUser", "closed_parent", "require_own", "server_user"]

_ACCOUNTS: Final = ("daemon", "nobody")


@dataclass(frozen=True, slots=True)
class ServerUser:
    """The account of the servers.

    Attributes:
        uid: its user id.
        gid: its group id.
        dropped: whether that is another user than this process (root's case).
    """

    uid: int
    gid: int
    dropped: bool

    def popen_arguments(self) -> dict[str, Any]:
        """What ``subprocess`` needs to start a program as this user, with nothing of ours left to it."""
        if not self.dropped:
            return {"umask": 0o077}
        return {"umask": 0o077, "user": self.uid, "group": self.gid, "extra_groups": []}

    def own(self, path: Path) -> None:
        """Make a directory of ours this user's, closed to everybody else.

        Raises:
            ConfigError: this root may not do that.
        """
        path.chmod(0o700)
        if not self.dropped:
            return
        try:
            os.chown(path, self.uid, self.gid)
        except OSError as error:
            msg = (
                f"root may not hand {path} to user id {self.uid} here ({error.strerror}), and PostgreSQL refuses to "
                "run as root: start as an ordinary user, or in a container that has more than one"
            )
            raise ConfigError(msg) from error

    def may(self, status: os.stat_result, bits: int) -> bool:
        """Whether the permission bits (``4`` read, ``2`` write, ``1`` enter) are granted to this user."""
        mode = stat.S_IMODE(status.st_mode)
        if status.st_uid == self.uid:
            mode >>= 6
        elif status.st_gid == self.gid:
            mode >>= 3
        return mode & bits == bits


def server_user(uid: int | None = None) -> ServerUser:
    """The account for servers started by this process.

    Args:
        uid: the account that owns existing data; root uses it again.

    Raises:
        ConfigError: we are root and there is no account to drop to.
    """
    if os.geteuid() != 0:
        return ServerUser(os.geteuid(), os.getegid(), dropped=False)
    for name in _ACCOUNTS:
        try:
            account = pwd.getpwnam(name) if uid is None else pwd.getpwuid(uid)
        except KeyError:
            continue
        if account.pw_uid != 0:
            return ServerUser(account.pw_uid, account.pw_gid, dropped=True)
    wanted = " or ".join(_ACCOUNTS) if uid is None else f"with user id {uid}, which owns the data"
    msg = f"PostgreSQL refuses to run as root and this system has no account {wanted}; start as an ordinary user"
    raise ConfigError(msg)


def closed_parent(path: Path, user: ServerUser) -> Path | None:
    """The first directory on the way to ``path`` (itself included) that ``user`` can't enter, if any."""
    if not user.dropped:
        return None
    whole = path.resolve()
    for directory in (*reversed(whole.parents), whole):
        if directory.is_dir() and not user.may(directory.stat(), 1):
            return directory
    return None


def require_own(directory: Path) -> None:
    """Refuse a directory that belongs to somebody else: they could replace what we put there.

    Raises:
        ConfigError: it belongs to another user; the message names them.
    """
    owner = directory.stat().st_uid
    if owner == os.geteuid():
        return
    try:
        name = pwd.getpwuid(owner).pw_name
    except KeyError:
        name = f"user id {owner}"
    msg = f"{directory} belongs to {name}: run as that user, or choose another --data-dir"
    raise ConfigError(msg)
