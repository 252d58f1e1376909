"""What processes cost, read from ``/proc``: CPU seconds and peak resident memory, by role."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Self

__all__ = ["Cost", "Sampler", "cpu_seconds"]

_TICKS = os.sysconf("SC_CLK_TCK")
#: What a command line must contain to count under a role; the first that fits wins.
_ROLES = (
    ("processor", ("guildstream", "processor")),
    ("sink", ("guildstream", "sink")),
    ("gateway", ("guildstream", "gateway")),
    ("replay", ("guildstream", "replay")),
    ("redis", ("redis-server",)),
    ("postgres", ("postgres",)),
)


@dataclass(slots=True)
class Cost:
    """One role's cost.

    Attributes:
        cpu_seconds: user and system time of all its processes.
        peak_mib: the largest sum of its processes' resident memory that was seen. PostgreSQL's processes
            share their buffers, which are counted once for each.
    """

    cpu_seconds: float = 0.0
    peak_mib: float = 0.0


def cpu_seconds(pid: int) -> float:
    """User and system time of one process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _resident_mib(pid: int) -> float:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


class Sampler:
    """Watches every descendant of this process, and servers that it tied to itself, until ``stop``.

    A process' last tenth of a second before its end may be missed.
    """

    def __init__(self, marker: str) -> None:
        self._marker = marker
        self._cpu: dict[tuple[str, int], float] = {}
        self._peaks: dict[str, float] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def costs(self) -> dict[str, Cost]:
        """What was seen so far, by role."""
        found = {role: Cost(peak_mib=peak) for role, peak in self._peaks.items()}
        for (role, _), cpu in self._cpu.items():
            found[role].cpu_seconds += cpu
        return found

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            self._sample()

    def _sample(self) -> None:
        resident: dict[str, float] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            pid = int(entry.name)
            try:
                role = self._role(pid)
                if role is not None:
                    self._cpu[role, pid] = cpu_seconds(pid)
                    resident[role] = resident.get(role, 0.0) + _resident_mib(pid)
            except OSError:
                continue  # it ended meanwhile
        for role, mib in resident.items():
            self._peaks[role] = max(self._peaks.get(role, 0.0), mib)

    def _role(self, pid: int) -> str | None:
        """The role of a process that belongs to this run."""
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        for role, needles in _ROLES:
            if all(needle in line for needle in needles):
                return role if self._ours(pid, line) else None
        return None

    def _ours(self, pid: int, line: str) -> bool:
        """Whether the run's data directory stands in the command line, environment or an ancestor's."""
        if self._marker in line:
            return True
        for _ in range(4):
            try:
                if self._marker.encode() in Path(f"/proc/{pid}/environ").read_bytes():
                    return True
                cwd = str(Path(f"/proc/{pid}/cwd").readlink())
                parent = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
                command = Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
            except OSError:
                return False
            if self._marker in cwd or self._marker in command:
                return True
            pid = parent
        return False
