"""The Lua scripts of the transport: read once from package data, run by their SHA-1."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Final

__all__ = ["ATTEND", "COMMIT", "LEASE", "RELEASE", "Script"]


@dataclass(frozen=True, slots=True)
class Script:
    """One script.

    Attributes:
        source: Lua.
        sha: what ``EVALSHA`` wants.
    """

    source: str
    sha: str

    @classmethod
    def load(cls, name: str) -> Script:
        """Read ``lua/<name>.lua`` beside this module."""
        source = resources.files("processors.transport").joinpath("lua", f"{name}.lua").read_text(encoding="utf-8")
        return cls(source=source, sha=hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest())


COMMIT: Final = Script.load("commit")
ATTEND: Final = Script.load("attend")
LEASE: Final = Script.load("lease")
RELEASE: Final = Script.load("release")
