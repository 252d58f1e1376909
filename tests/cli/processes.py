"""The program as a child process, and its descendants."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

__all__ = ["descendants", "environment", "popen", "run"]


def environment(**settings: str) -> dict[str, str]:
    """This process's environment with exactly these settings of ours."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GUILDSTREAM_")}
    return kept | {f"GUILDSTREAM_{name.upper()}": value for name, value in settings.items()}


def popen(*arguments: str, env: dict[str, str], cwd: Path, stdin: int | None = None) -> subprocess.Popen[str]:
    """The program, running."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "guildstream", *arguments],
        env=env,
        cwd=cwd,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(*arguments: str, env: dict[str, str], cwd: Path, expect: int = 0) -> str:
    """What the program prints; fails on another exit code than the expected one."""
    with popen(*arguments, env=env, cwd=cwd) as process:
        out, err = process.communicate(timeout=120)
    assert process.returncode == expect, f"{arguments} ended with {process.returncode}\n{out}\n{err[-4000:]}"
    return out


def descendants(pid: int) -> dict[int, str]:
    """Process ids below a process, with their command lines."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(entry.name)] = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
        except (OSError, IndexError):
            continue
    below: dict[int, str] = {}
    found = {pid}
    while found:
        found = {child for child, parent in parents.items() if parent in found and child not in below}
        below |= {child: _command_line(child) for child in found}
    return below


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode().strip()
    except OSError:
        return ""
