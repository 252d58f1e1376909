"""What may hold of a person in voice, as bits, and which measures count under which of them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from guildstream.events import VoiceFlags
from guildstream.measures import M

__all__ = ["AFK", "ALONE", "AUDIENCE", "BOT", "DEAF", "FLAGS", "IGNORED", "INFERRED", "MUTED", "Columns", "columns_of"]

MUTED: Final = 1
DEAF: Final = 2
STREAM: Final = 4
VIDEO: Final = 8
#: What the voice state itself says ...
SUPPRESSED: Final = 16
BOT: Final = 32
#: ... and what follows from the guild and from others in the channel.
ALONE: Final = 64
AFK: Final = 128
AUDIENCE: Final = 256
#: Counted, not observed: after a break or an outage.
INFERRED: Final = 512
#: An ignore list names the person, a role of theirs or the channel.
IGNORED: Final = 1024

FLAGS: Final = MUTED | DEAF | STREAM | VIDEO | SUPPRESSED

_MEASURES: Final = (
    (MUTED, M.MUTED_MS),
    (DEAF, M.DEAFENED_MS),
    (STREAM, M.STREAM_MS),
    (VIDEO, M.VIDEO_MS),
    (ALONE, M.ALONE_MS),
    (AFK, M.AFK_MS),
    (AUDIENCE, M.AUDIENCE_MS),
    (INFERRED, M.INFERRED_MS),
)
_REQUIREMENTS: Final = {
    "not_afk": AFK,
    "not_deaf": DEAF,
    "not_mute": MUTED,
    "not_alone": ALONE,
    "not_audience": AUDIENCE,
}

#: Indexes of the measures that count, and whether the time is active.
Columns = tuple[tuple[int, ...], bool]


def flag_bits(state: VoiceFlags) -> int:
    """The bits that a voice state itself sets."""
    return (
        (MUTED if state.self_mute or state.mute else 0)
        | (DEAF if state.self_deaf or state.deaf else 0)
        | (STREAM if state.stream else 0)
        | (VIDEO if state.video else 0)
        | (SUPPRESSED if state.suppress else 0)
    )


def excluding_bits(require: Iterable[str]) -> int:
    """The bits any of which keeps time from being active. Bots are never active."""
    return sum(_REQUIREMENTS[name] for name in set(require)) | BOT | IGNORED


def columns_of(bits: int, excluding: int) -> Columns:
    """Which measures count under these bits."""
    active = not bits & excluding
    counted = [M.VOICE_MS]
    if active:
        counted.append(M.VOICE_ACTIVE_MS)
    counted.extend(measure for bit, measure in _MEASURES if bits & bit)
    return tuple(counted), active
