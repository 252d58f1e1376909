"""The command line: ``guildstream``.

Exit codes: 0 done; 1 failed; 2 the command line, a setting or a server is not what it must be;
3 done, but some of the input was bad; 130 stopped by Ctrl-C; 143 stopped by SIGTERM before the end.
"""

from __future__ import annotations

from guildstream.cli.program import main

__all__ = ["main"]
