"""What a deployment sets for the rules of all guilds."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["RuleOptions"]


@dataclass(frozen=True, slots=True)
class RuleOptions:
    """What a deployment sets for all guilds.

    Attributes:
        window_ms: length of a window; divides 15 minutes.
        grace_ms: how far an event's own time holds its source's watermark back.
        reaction_memory_ms: how long a reaction can be taken back, in event time.
        purge_ms: how long after the bot was removed from a guild the guild is erased, in event time; 0: never.
        erasure_key: keys the hashes that remain of erased members; at most 64 bytes.
    """

    window_ms: int = 60_000
    grace_ms: int = 5_000
    reaction_memory_ms: int = 7 * 86_400_000
    purge_ms: int = 30 * 86_400_000
    erasure_key: bytes = b""
