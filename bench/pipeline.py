"""The whole pipeline's speed: replay generated events until all of them are in PostgreSQL.

    python -m bench.pipeline --events 1000000

Prints events a second, CPU microseconds an event of each process, and each role's peak memory. The same
lines are decoded by orjson in a bare loop before and after, in the same run: a machine that is shared, or
slower than another, shows in that figure, and the others are given as multiples of it too.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path

import orjson

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
        decoding = [_decode_us(source)]
        with Sampler(str(data_dir)) as sampler:
            begun = time.monotonic()
            run = subprocess.run(
                [sys.executable, "-m", "guildstream", "replay", str(source), "--drain", "--json",
                 "--data-dir", str(data_dir)],
                stdout=subprocess.PIPE, check=False,
            )  # fmt: skip
            seconds = time.monotonic() - begun
        summary = json.loads(run.stdout)
        decoding.append(_decode_us(source))
        print(f"exit code {run.returncode}, {seconds:.1f} s in all, start and stop of the servers included")
        _report(summary, sampler, sum(decoding) / 2)


def _generate(path: Path, count: int, hours: float) -> Path:
    with path.open("wb") as file:
        subprocess.run(
            [sys.executable, "-m", "bench.generate", "--events", str(count), "--hours", str(hours)],
            stdout=file,
            check=True,
        )
    return path


def _decode_us(path: Path) -> float:
    """CPU microseconds that orjson takes for a line of the file, over its first 200,000."""
    with path.open("rb") as file:
        lines = list(islice(file, 200_000))
    begun = time.process_time()
    for line in lines:
        orjson.loads(line)
    return (time.process_time() - begun) / len(lines) * 1e6


def _report(summary: dict[str, object], sampler: Sampler, decode_us: float) -> None:
    print(json.dumps(summary))
    events = int(str(summary.get("accepted", 0))) or 1
    costs = sampler.costs()
    print(f"{'role':<10} {'CPU µs/event':>13} {'x decoding':>11} {'CPU s':>7} {'peak MiB':>9}")
    print(f"{'decoding':<10} {decode_us:>13.2f} {1:>11.1f}")
    for role, cost in sorted(costs.items()):
        us = cost.cpu_seconds / events * 1e6
        print(f"{role:<10} {us:>13.2f} {us / decode_us:>11.1f} {cost.cpu_seconds:>7.1f} {cost.peak_mib:>9.0f}")
    total_us = sum(cost.cpu_seconds for cost in costs.values()) / events * 1e6
    print(f"{'all':<10} {total_us:>13.2f} {total_us / decode_us:>11.1f}")


if __name__ == "__main__":
    main()
