"""Decisions of an operator that travel as events: published, and waited for until they are in force."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator, Mapping
from typing import Any

import click
import msgspec

from guildstream.cli.invocation import Invocation
from guildstream.cli.replay import run_replay
from guildstream.cli.replay_display import ReplayDisplay
from guildstream.cli.signals import stop_on_signals
from guildstream.clock import SYSTEM_CLOCK
from guildstream.errors import GuildstreamError
from guildstream.logs import configure_logging
from guildstream.settings import Settings

__all__ = ["GUILD_ID", "USER_ID", "DecisionRefused", "decide", "decide_on"]

GUILD_ID = click.IntRange(1, 2**63 - 1)
USER_ID = click.IntRange(1, 2**63 - 1)


class DecisionRefused(GuildstreamError):
    """The pipeline did not accept a decision; the message says why."""


class _Lines:
    """Lines at hand, as an input of a replay."""

    def __init__(self, lines: bytes) -> None:
        self.name = "the command line"
        self.waits = False
        self.read_bytes = 0
        self.total_bytes: int | None = len(lines)
        self._lines = lines

    def blocks(self) -> Iterator[bytes]:
        """All of it."""
        self.read_bytes = len(self._lines)
        yield self._lines

    def digest(self) -> str:
        """SHA-256 in hexadecimal."""
        return hashlib.sha256(self._lines).hexdigest()


def decide(
    invocation: Invocation, kind: str, guild_id: int, data: Mapping[str, Any], user_id: int | None = None
) -> None:
    """Publish an event with a session of its own and wait until it is in PostgreSQL.

    Uses the pipeline that is at work, or runs one for as long as it takes. Blocks.

    Raises:
        DecisionRefused: it became a dead letter, or the wait was ended by a signal.
        TransientError: a server can't be reached.
    """
    with invocation.own_servers() as (settings, _):
        configure_logging(settings, "cli")
        decide_on(settings, kind, guild_id, data, user_id)


def decide_on(
    settings: Settings, kind: str, guild_id: int, data: Mapping[str, Any], user_id: int | None = None
) -> None:
    """``decide`` on servers that are at hand."""
    event: dict[str, Any] = {
        "v": 1,
        "type": kind,
        "ts": SYSTEM_CLOCK.now_ms(),
        "session": f"cli-{secrets.token_hex(8)}",
        "seq": 1,
        "guild_id": guild_id,
        "data": dict(data),
    }
    if user_id is not None:
        event["user_id"] = user_id
    source = _Lines(msgspec.json.encode(event) + b"\n")
    with stop_on_signals() as stop, ReplayDisplay(0, drain=True) as display:
        summary = run_replay(settings, [source], stop, display, drain=True)
    if stop:
        raise DecisionRefused("stopped before it was certain that the change is in force; look again, or repeat it")
    if summary.exit_code:
        reasons = ", ".join(sorted(summary.reasons)) or "no reason was given"
        raise DecisionRefused(f"the change was not accepted ({reasons}): see `guildstream dead list`")
