"""Migrations, functions and named queries, read once as package data.

``migrations/NNNN_name.up.sql`` and ``.down.sql`` change the schema step by step; ``functions/`` holds one
function a file, applied again whenever the file changes, as are ``comments.sql`` and ``grants.sql``; ``queries/``
holds the statements that Python runs, each under a line ``-- name: …`` and a line of purpose.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, Literal, LiteralString

__all__ = ["Migration", "QueryName", "Script", "load_migrations", "load_queries", "load_scripts", "query"]

#: The names in ``queries/``; a wrong one fails typing.
QueryName = Literal[
    "fold_lock",
    "fold",
    "fold_done",
    "fold_failed",
    "refresh_status",
    "leaderboard",
    "member_rank",
    "make_partitions",
    "offsets_create",
    "offsets_read",
    "offsets_lock",
    "offsets_advance",
    "offsets_elsewhere",
    "copy_events",
    "copy_activity",
    "copy_awards",
    "copy_commands",
    "copy_delta",
    "copy_participants",
    "copy_flow",
    "gaps_upsert",
    "erase_member",
    "erase_guild",
    "erase_mentions",
    "settings_upsert",
    "settings_record",
    "staging_create",
    "stage_sessions",
    "stage_totals",
    "totals_upsert",
    "sessions_upsert",
    "guilds_mention",
    "guilds_upsert",
    "channels_upsert",
    "roles_upsert",
    "users_upsert",
    "members_upsert",
]

_FILE = re.compile(r"^(\d{4})_([a-z0-9_]+)\.(up|down)\.sql$")
_NAME = re.compile(r"^-- name: ([a-z_]+)$", re.MULTILINE)
_PHASE = re.compile(r"^-- phase: (before|after)$", re.MULTILINE)
_SQL: Final = files("sql")


@dataclass(frozen=True, slots=True)
class Migration:
    """One numbered step of the schema.

    Attributes:
        number: its place, from 1.
        name: ``NNNN_name``.
        phase: ``before`` a deploy (code of the release before can live with it) or ``after``.
        up: the SQL that takes the step.
        down: the SQL that takes it back.
    """

    number: int
    name: str
    phase: str
    up: LiteralString
    down: LiteralString

    @property
    def checksum(self) -> str:
        """SHA-256 of ``up``."""
        return sha256(self.up.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Script:
    """SQL that is applied again, whole, whenever it changes.

    Attributes:
        name: of a function: its qualified name; ``comments`` or ``grants`` else.
        text: the SQL.
    """

    name: str
    text: LiteralString

    @property
    def checksum(self) -> str:
        """SHA-256 of the text."""
        return sha256(self.text.encode()).hexdigest()

    @property
    def is_function(self) -> bool:
        """Whether going down must drop a function of this name."""
        return "." in self.name


@cache
def load_migrations() -> Sequence[Migration]:
    """All migrations by number."""
    texts: dict[tuple[str, str], LiteralString] = {}
    for entry in (_SQL / "migrations").iterdir():
        if found := _FILE.match(entry.name):
            texts[f"{found[1]}_{found[2]}", found[3]] = _read(entry)
    return tuple(_migration(name, texts) for name in sorted({name for name, _ in texts}))


def _migration(name: str, texts: Mapping[tuple[str, str], LiteralString]) -> Migration:
    up = texts[name, "up"]
    phase = _PHASE.search(up)
    return Migration(int(name[:4]), name, phase[1] if phase else "before", up, texts[name, "down"])


@cache
def load_scripts() -> Sequence[Script]:
    """Functions by name, then comments and grants."""
    entries = sorted((_SQL / "functions").iterdir(), key=lambda entry: entry.name)
    scripts = [
        Script(entry.name.removesuffix(".sql"), _read(entry)) for entry in entries if entry.name.endswith(".sql")
    ]
    return (*scripts, *(Script(name, _read(_SQL / f"{name}.sql")) for name in ("comments", "grants")))


def _read(entry: Traversable) -> LiteralString:
    return _literal(entry.read_text(encoding="utf-8"))


def _literal(text: Any) -> LiteralString:
    """Text of our own package data: as trustworthy as a literal, which only ``Any`` can tell a type checker."""
    trusted: LiteralString = text
    return trusted


@cache
def load_queries() -> Mapping[str, LiteralString]:
    """The named queries."""
    queries: dict[str, LiteralString] = {}
    for entry in (_SQL / "queries").iterdir():
        if entry.name.endswith(".sql"):
            _, *parts = _NAME.split(entry.read_text(encoding="utf-8"))
            for name, text in zip(parts[::2], parts[1::2], strict=True):
                queries[name] = _literal(text.strip().removesuffix(";"))
    return queries


def query(name: QueryName) -> LiteralString:
    """The text of a named query, with psycopg's placeholders."""
    return load_queries()[name]
