"""Runs ``guildstream`` as an operator would, and reads what it left in PostgreSQL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.acceptance.plain_loop import PlainLoop, level

EPOCH = "date '1970-01-01'"
MEASURES = ("messages", "chars", "voice_ms", "voice_active_ms", "xp")


def command(data_dir: Path, *arguments: str) -> list[str]:
    return [sys.executable, "-P", "-m", "guildstream", *arguments, "--data-dir", str(data_dir)]


def run(data_dir: Path, *arguments: str, expect: int = 0) -> str:
    done = subprocess.run(command(data_dir, *arguments), capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == expect, f"{arguments} ended with {done.returncode}: {done.stderr[-4000:]}"
    return done.stdout


def query(data_dir: Path, sql: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = json.loads(run(data_dir, "sql", sql, "--json"))
    return rows


def children(parent: int) -> dict[int, str]:
    """Process ids of all descendants, with their command lines."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            parents[int(entry.name)] = int(fields[1])
    found = {}
    for pid in parents:
        above, seen = pid, set()
        while above in parents and above not in seen:
            seen.add(above)
            above = parents[above]
            if above == parent:
                try:
                    found[pid] = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
                except OSError:
                    break
    return found


def kill_component(parent: int, name: str) -> bool:
    """SIGKILL the component of this name below ``parent``; False where it isn't running right now."""
    for pid, line in children(parent).items():
        if "guildstream" in line and line.rstrip().endswith(name):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                return False
            return True
    return False


def loaded(data_dir: Path) -> dict[str, Any]:
    """Everything that must be equal to the plain loop's, from one snapshot each."""
    sums = ", ".join(MEASURES)
    members = query(data_dir, f"select day - {EPOCH} as d, guild_id, user_id, {sums} from analytics.member_daily")  # noqa: S608
    channels = query(data_dir, f"select day - {EPOCH} as d, guild_id, channel_id, {sums} from analytics.channel_daily")  # noqa: S608
    totals = query(data_dir, "select guild_id, user_id, xp, level, messages, voice_ms from guildstream.member_totals")
    segments = query(
        data_dir,
        "select guild_id, user_id, channel_id, (extract(epoch from started_at) * 1000)::bigint as began,"
        " (extract(epoch from ended_at) * 1000)::bigint as ended, voice_ms, voice_active_ms"
        " from guildstream.voice_sessions where ended_at is not null",
    )
    return {
        "members": _nonzero({(r["d"], r["guild_id"], r["user_id"]): [r[m] for m in MEASURES] for r in members}),
        "channels": _nonzero({(r["d"], r["guild_id"], r["channel_id"]): [r[m] for m in MEASURES] for r in channels}),
        "totals": _nonzero(
            {(r["guild_id"], r["user_id"]): [r["xp"], r["level"], r["messages"], r["voice_ms"]] for r in totals}
        ),
        "segments": sorted(tuple(r.values()) for r in segments),
    }


def expected(loop: PlainLoop) -> dict[str, Any]:
    """The same from the plain loop."""
    return {
        "members": _nonzero({key: [sums[m] for m in MEASURES] for key, sums in loop.members.items()}),
        "channels": _nonzero({key: [sums[m] for m in MEASURES] for key, sums in loop.channels.items()}),
        "totals": _nonzero(
            {key: [s["xp"], level(s["xp"]), s["messages"], s["voice_ms"]] for key, s in loop.totals.items()}
        ),
        "segments": sorted(loop.segments),
    }


def _nonzero(rows: dict[Any, list[int]]) -> dict[Any, list[int]]:
    return {key: values for key, values in rows.items() if any(values)}
