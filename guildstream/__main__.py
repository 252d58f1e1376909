"""``python -m guildstream``: the same as the ``guildstream`` program."""

from __future__ import annotations

import sys

from guildstream.cli import main

sys.exit(main())
