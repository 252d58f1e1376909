"""Server processes: started in a session of their own, recognised, signalled, reaped."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from guildstream.errors import ConfigError
from guildstream.services.identity import ServerUser

__all__ = [
    "adopt",
    "clean_environment",
    "forget_children",
    "has_ended",
    "launch",
    "run_program",
    "send_signal",
    "wait_until",
    "works_in",
]

_PROC: Final = Path("/proc")
#: Servers that this process started, for reaping: they outlive whatever object started them.
_children: set[int] = set()


def wait_until(condition: Callable[[], bool], *, deadline_seconds: float, interval_seconds: float = 0.01) -> bool:
    """Poll until the condition holds; False once the deadline has passed without it."""
    ends = time.monotonic() + deadline_seconds
    pause = threading.Event()
    while not condition():
        if time.monotonic() >= ends:
            return False
        pause.wait(interval_seconds)
    return True


def clean_environment() -> dict[str, str]:
    """An environment that no setting of the caller's leaks into: PGDATA, LD_PRELOAD, locales, time zones."""
    return {"PATH": "/usr/bin:/bin", "LANG": "C", "LC_ALL": "C", "TZ": "UTC"}


def launch(
    command: Sequence[str | Path],
    *,
    user: ServerUser,
    log: Path,
    lock: int,
    configuration: bytes = b"",
    environment: dict[str, str] | None = None,
) -> int:
    """Start a server that outlives this process, in its own session.

    Args:
        command: program and arguments.
        user: whom it runs as.
        log: what it says is appended there.
        lock: the descriptor that holds its lock; inherited, so that the lock lives as long as it.
        configuration: given on its standard input.
        environment: added to the clean environment.

    Returns:
        Its process id.

    Raises:
        ConfigError: the program can't be started.
    """
    reading, writing = os.pipe()
    try:
        # The configuration is smaller than any pipe, so this never waits for a reader.
        os.write(writing, configuration)
        os.close(writing)
        with log.open("ab") as output:
            process = subprocess.Popen(
                [str(part) for part in command],
                stdin=reading,
                stdout=output,
                stderr=output,
                cwd="/",
                env=clean_environment() | (environment or {}),
                pass_fds=(lock,),
                start_new_session=True,
                **user.popen_arguments(),
            )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{command[0]} can't be started as user id {user.uid}: {error}") from error
    finally:
        os.close(reading)
    return adopt(process)


def adopt(process: subprocess.Popen[Any]) -> int:
    """Reap this process here from now on: its object must not complain that it lives on. Returns its id."""
    _children.add(process.pid)
    process.returncode = 0
    return process.pid


def run_program(command: Sequence[str | Path], *, user: ServerUser, lock: int, stdin: bytes = b"") -> None:
    """Run a program to its end. Blocks. It holds the lock too, in case that we are killed before it ends.

    Raises:
        ConfigError: it failed; the message has the end of what it said.
    """
    try:
        done = subprocess.run(
            [str(part) for part in command],
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=clean_environment(),
            check=False,
            pass_fds=(lock,),
            start_new_session=True,
            **user.popen_arguments(),
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise ConfigError(f"{command[0]} can't be started as user id {user.uid}: {error}") from error
    if done.returncode:
        said = done.stdout.decode(errors="replace").strip()[-1500:]
        raise ConfigError(f"{Path(command[0]).name} failed with exit code {done.returncode}: {said}")


def forget_children() -> None:
    """Reap servers of ours that have ended, so that no zombie keeps their process id."""
    for pid in list(_children):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended = pid
        if ended:
            _children.discard(pid)


def has_ended(pid: int) -> bool:
    """Whether a process that this one started has ended."""
    forget_children()
    return pid not in _children


def works_in(pid: int, directory: Path, *, uid: int) -> bool | None:
    """Whether this process lives and works in ``directory``, as a server does in its data directory.

    Process ids are used again; this tells a stranger with an old id apart.

    Returns:
        None where that can't be seen: there is no ``/proc``, or we are a container's root who may not look.
    """
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    process = _PROC / str(pid)
    try:
        return (process / "cwd").readlink() == directory.resolve()
    except PermissionError:
        return None if process.stat().st_uid == uid else False
    except OSError:
        return False if _PROC.joinpath("self").exists() else None


def send_signal(pid: int, number: signal.Signals) -> None:
    """Signal a process that may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        forget_children()
