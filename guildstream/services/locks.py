"""File locks: one at a time per data directory, and a sign of life that no dead server can leave behind.

A server inherits the open file that holds its lock, and so do its own children: the kernel frees the
lock when the last of them is gone, whichever way they went. A process id in a file can't tell that.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from guildstream.errors import ConfigError
from guildstream.services.processes import wait_until

__all__ = ["exclusive", "is_locked", "take_lock"]


def take_lock(path: Path) -> int | None:
    """Open and lock a file.

    Returns:
        The descriptor, to be closed by the caller, or None while somebody else holds the lock.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def is_locked(path: Path) -> bool:
    """Whether somebody holds the lock of this file. Holds it, shared, for an instant: whoever takes it must retry."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive(path: Path, *, deadline_seconds: float) -> Generator[None, None, None]:
    """Hold a lock for the length of a block. Blocks until it is free.

    Raises:
        ConfigError: another process held it past the deadline.
    """
    held: list[int] = []

    def taken() -> bool:
        if (descriptor := take_lock(path)) is not None:
            held.append(descriptor)
        return bool(held)

    if not wait_until(taken, deadline_seconds=deadline_seconds):
        msg = f"another process has been starting or stopping servers for {deadline_seconds:.0f} s: it holds {path}"
        raise ConfigError(msg)
    try:
        yield
    finally:
        os.close(held[0])
