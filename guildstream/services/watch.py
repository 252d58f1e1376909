"""The guardian's program: ``python -m guildstream.services.watch DATA_DIR``; see ``guardian``."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from guildstream.errors import ConfigError
from guildstream.services.guardian import RELEASE
from guildstream.services.lifecycle import stop_services

__all__ = ["main"]


def main() -> int:
    """Read tied runs until the pipe ends, then stop them. Returns an exit code."""
    # It ends when its work is done: a stop of everything reaches the other end of the pipe as well.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    os.write(sys.stdout.fileno(), b"ready\n")
    runs: dict[str, str] = {}
    for line in sys.stdin:
        name, _, token = line.strip().partition(" ")
        if name == RELEASE:
            return 0
        runs[name] = token
    try:
        stop_services(Path(sys.argv[1]), runs=runs)
    except ConfigError as error:
        sys.stderr.write(f"guardian: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
