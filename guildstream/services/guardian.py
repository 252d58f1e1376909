"""What stops servers when the process that started them ends, however it ends.

The guardian is a small process in a session of its own. It reads from a pipe whose only writing end the
starting process holds: the kernel closes that end with the process, SIGKILL included, and reading ends.
Over the pipe comes which runs are tied; the guardian stops those and no later ones.
"""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Final

from guildstream.errors import ConfigError
from guildstream.services.processes import adopt, has_ended, wait_until

__all__ = ["RELEASE", "Tie", "release_tie", "tie_to_this_process"]

_READY: Final = b"ready\n"
#: What lets a guardian end without stopping anything.
RELEASE: Final = "release"
_END_SECONDS: Final = 30.0
#: Writing ends of this process's pipes and the guardians at their other ends, by services directory.
_ties: dict[Path, list[tuple[int, int]]] = {}


@dataclass(slots=True)
class Tie:
    """This process's end of the pipe to one guardian; without descriptors it does nothing.

    Attributes:
        writing: where runs are announced; stays open until this process ends.
        reading: where the guardian says that it listens.
        log: what the guardian complained about.
    """

    writing: int | None
    reading: int | None
    log: Path | None

    @classmethod
    def none(cls) -> Tie:
        """No tie: servers outlive this process."""
        return cls(None, None, None)

    def hold(self, name: str, token: str) -> None:
        """Announce a run before it starts, so that there is no moment at which it isn't tied."""
        if self.writing is not None:
            os.write(self.writing, f"{name} {token}\n".encode())

    def confirm(self) -> None:
        """Wait until the guardian listens.

        Raises:
            ConfigError: it ended at its start.
        """
        if self.reading is None:
            return
        said = os.read(self.reading, len(_READY))
        os.close(self.reading)
        self.reading = None
        if said != _READY:
            raise ConfigError(f"the guardian of the embedded servers ended at its start; see {self.log}")


def tie_to_this_process(data_dir: Path, key: Path, log: Path) -> Tie:
    """Start a guardian for servers that this process is about to start.

    Args:
        data_dir: of the servers.
        key: names the tie for ``release_tie``.
        log: what the guardian complains about is appended there.
    """
    with log.open("ab") as output:
        guardian = subprocess.Popen(
            [sys.executable, "-P", "-m", "guildstream.services.watch", str(data_dir.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=output,
            cwd="/",
            env={**os.environ, "PYTHONPATH": _search_path()},
            start_new_session=True,
        )
    if guardian.stdin is None or guardian.stdout is None:
        raise ConfigError("the guardian of the embedded servers has no pipes")
    writing, reading = os.dup(guardian.stdin.fileno()), os.dup(guardian.stdout.fileno())
    guardian.stdin.close()
    guardian.stdout.close()
    pid = adopt(guardian)
    _close_ties_in_forks()
    _ties.setdefault(key, []).append((writing, pid))
    return Tie(writing, reading, log)


def release_tie(key: Path) -> None:
    """Let the guardians of stopped servers end, and wait until they have: what they use may be deleted next."""
    for writing, pid in _ties.pop(key, []):
        try:
            os.write(writing, f"{RELEASE}\n".encode())
        except BrokenPipeError:  # somebody killed it
            pass
        finally:
            os.close(writing)
        wait_until(partial(has_ended, pid), deadline_seconds=_END_SECONDS)


@cache
def _close_ties_in_forks() -> None:
    os.register_at_fork(after_in_child=_close_ties)


def _close_ties() -> None:
    """In a forked child: it must not keep its parent's servers alive."""
    for ends in _ties.values():
        for writing, _ in ends:
            os.close(writing)
    _ties.clear()


def _search_path() -> str:
    """This process's import path: the guardian must find the same code, and nothing by where it runs."""
    return os.pathsep.join(str(Path(entry or ".").absolute()) for entry in sys.path)
