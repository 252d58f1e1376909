"""The measures of ``member_activity`` in their one order; rows carry them as a list of ints.

Counts are counts, names ending in ``_ms`` are milliseconds, ``xp`` is points. Every relation in
PostgreSQL, every result and every delta uses this order, so that a row never needs its names.
"""

from __future__ import annotations

from typing import Final

__all__ = ["MEASURES", "VOICE_MEASURES", "M"]

#: Milliseconds kept per voice segment (DESIGN §5.3), in the order of ``voice_sessions``.
VOICE_MEASURES: Final = (
    "voice_ms",
    "voice_active_ms",
    "muted_ms",
    "deafened_ms",
    "stream_ms",
    "video_ms",
    "alone_ms",
    "afk_ms",
    "audience_ms",
    "inferred_ms",
    "clipped_ms",
)

#: Every measure of ``member_activity`` (DESIGN §6).
MEASURES: Final = (
    "messages",
    "sized",
    "chars",
    "attachments",
    "replies",
    "edits",
    "deletes",
    "reactions_given",
    "reactions_received",
    "commands",
    "voice_joins",
    *VOICE_MEASURES,
    "xp",
)


class M:
    """Index of each measure in a row of measures."""

    MESSAGES: Final = 0
    SIZED: Final = 1
    CHARS: Final = 2
    ATTACHMENTS: Final = 3
    REPLIES: Final = 4
    EDITS: Final = 5
    DELETES: Final = 6
    REACTIONS_GIVEN: Final = 7
    REACTIONS_RECEIVED: Final = 8
    COMMANDS: Final = 9
    VOICE_JOINS: Final = 10
    VOICE_MS: Final = 11
    VOICE_ACTIVE_MS: Final = 12
    MUTED_MS: Final = 13
    DEAFENED_MS: Final = 14
    STREAM_MS: Final = 15
    VIDEO_MS: Final = 16
    ALONE_MS: Final = 17
    AFK_MS: Final = 18
    AUDIENCE_MS: Final = 19
    INFERRED_MS: Final = 20
    CLIPPED_MS: Final = 21
    XP: Final = 22
