"""The error tree: what a caller may retry, what is dead-lettered, what stops a process."""

from __future__ import annotations

__all__ = [
    "ConfigError",
    "DatabaseUnavailable",
    "Fenced",
    "GuildstreamError",
    "InvalidEvent",
    "PoisonError",
    "RedisUnavailable",
    "StreamDamaged",
    "TailLost",
    "TransientError",
    "UnsupportedVersion",
]


class GuildstreamError(Exception):
    """Root of every error that this project raises on purpose."""


class ConfigError(GuildstreamError):
    """A setting, a file or a server is not what it must be; retrying changes nothing."""


class TransientError(GuildstreamError):
    """Something outside is away for now; retry with jittered backoff."""


class RedisUnavailable(TransientError):
    """Redis can't be reached, or refuses writes for now (loading, out of memory)."""


class DatabaseUnavailable(TransientError):
    """PostgreSQL can't be reached, or is starting up or shutting down."""


class PoisonError(GuildstreamError):
    """One input can't be processed, however often it is tried; it is dead-lettered."""


class InvalidEvent(PoisonError):
    """An event breaks the contract of DESIGN §3.

    Attributes:
        reason: a stable word for counting and filtering, such as ``not_json``.
        detail: a sentence for people: what was wrong, where, and what to do.
    """

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class UnsupportedVersion(InvalidEvent):
    """An event's ``v`` is one that this release does not read."""

    def __init__(self, detail: str) -> None:
        super().__init__("unsupported_version", detail)


class Fenced(GuildstreamError):
    """This process is no longer the owner of what it tried to write; nothing was written."""


class StreamDamaged(GuildstreamError):
    """Redis no longer holds what was acknowledged (deleted, trimmed past the offset, rewound).

    Never repaired silently: the message names the partition, both positions and the repair.
    """


class TailLost(StreamDamaged):
    """Redis came back, or a replica took over, without the last writes that were acknowledged.

    What is left may still be whole: a beginning of what was.
    """
