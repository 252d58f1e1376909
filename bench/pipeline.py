"""The whole pipeline's speed: replay generated events until all of them are in PostgreSQL.

    python -m bench.pipeline --events 1000000

Prints events a second, CPU microseconds an event of each process, and each role's peak memory.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from bench.processes import Sampler


def main() -> None:
    """Generate, replay, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--hours", type=float, default=1.0, help="event time that the file spans")
    parser.add_argument("--file", type=Path, help="replay this file instead of generating one")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gs-bench-", ignore_cleanup_errors=True) as name:
        directory = Path(name)
        directory.chmod(0o711)
        source = options.file or _generate(directory / "events.jsonl", options.events, options.hours)
        data_dir = directory / "data"
        data_dir.mkdir()
        with Sampler(str(data_dir)) as sampler:
            begun = time.monotonic()
            run = subprocess.run(
                [sys.executable, "-m", "guildstream", "replay", str(source), "--drain", "--json",
                 "--data-dir", str(data_dir)],
                stdout=subprocess.PIPE, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - begun
        summary = json.loads(run.stdout)
        _report(summary, seconds, sampler, run.returncode)


def _generate(path: Path, count: int, hours: float) -> Path:
    with path.open("wb") as file:
        subprocess.run(
            [sys.executable, "-m", "bench.generate", "--events", str(count), "--hours", str(hours)],
            stdout=file,
            check=True,
        )
    return path


def _report(summary: dict[str, object], seconds: float, sampler: Sampler, exit_code: int) -> None:
    print(json.dumps(summary, indent=2))
    events = int(str(summary.get("accepted", 0))) or 1
    print(f"exit code {exit_code}, {seconds:.1f} s in all, start and stop of the servers included")
    print(f"{'role':<10} {'CPU µs/event':>13} {'CPU s':>8} {'peak MiB':>9}")
    for role, cost in sorted(sampler.costs().items()):
        print(f"{role:<10} {cost.cpu_seconds / events * 1e6:>13.2f} {cost.cpu_seconds:>8.1f} {cost.peak_mib:>9.0f}")


if __name__ == "__main__":
    main()
