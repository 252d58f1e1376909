"""Windows: what a guild's rows of one interval hold and nobody has seen yet.

A window is not kept while it is open and thrown away at its close; it is the un-emitted part of its
sums, however old the interval is. Emitting it early, on time or late is the same step, so the sum
over panes is the sum over events whatever the schedule.
"""

from __future__ import annotations

from operator import add
from typing import Final

import msgspec

from guildstream.errors import ConfigError
from guildstream.measures import MEASURES
from processors.rules.local_time import HOUR_MS
from processors.rules.records import check_version

__all__ = ["Window", "decode_window", "encode_window", "hour_window", "window_key"]

_EMPTY: Final = [0] * len(MEASURES)
_VERSION: Final = 1


def window_key(guild_id: int, start_ms: int, day: int, *, voice: bool) -> str:
    """The key of a window: voice is booked by the UTC hour, all else by the window."""
    return f"{guild_id}:{start_ms}:{day}{'v' if voice else ''}"


class Window:
    """Un-emitted rows of one guild and interval.

    Attributes:
        start_ms: the bucket.
        end_ms: the first instant after it.
        day: the guild's local day of all of it.
        voice: the rows are those of voice, by the UTC hour.
        rows: ``(channel_id, user_id)`` to the measures.
        bots: who of them is a bot.
        changed: since it was last stored.
        stored: keyed state holds it.
    """

    __slots__ = ("bots", "changed", "day", "end_ms", "guild_id", "rows", "start_ms", "stored", "voice")

    def __init__(self, guild_id: int, start_ms: int, end_ms: int, day: int, *, voice: bool) -> None:
        self.guild_id = guild_id
        self.start_ms = start_ms
        self.end_ms = end_ms
        self.day = day
        self.voice = voice
        self.rows: dict[tuple[int, int], list[int]] = {}
        self.bots: set[int] = set()
        self.changed = True
        self.stored = False

    @property
    def key(self) -> str:
        """Its key in keyed state."""
        return window_key(self.guild_id, self.start_ms, self.day, voice=self.voice)

    def new_row(self, place: tuple[int, int], bot: bool) -> list[int]:
        """A row of zeros for ``(channel_id, user_id)``."""
        row = self.rows[place] = _EMPTY.copy()
        if bot:
            self.bots.add(place[1])
        return row

    def move_to_nobody(self, user_id: int) -> int:
        """Book a member's rows to user 0; by how many rows there are fewer then."""
        before = len(self.rows)
        for place in [place for place in self.rows if place[1] == user_id]:
            row = self.rows.pop(place)
            nobodys = self.rows.get((place[0], 0)) or self.new_row((place[0], 0), bot=False)
            nobodys[:] = map(add, nobodys, row)
            self.changed = True
        self.bots.discard(user_id)
        return before - len(self.rows)

    def emit(self) -> list[list[object]]:
        """Its rows in the form of ``guildstream.results``, which owns them from here on."""
        start_ms, day, guild_id, bots = self.start_ms, self.day, self.guild_id, self.bots
        return [
            [start_ms, day, guild_id, channel_id, user_id, user_id in bots, row]
            for (channel_id, user_id), row in self.rows.items()
        ]


def encode_window(window: Window) -> bytes:
    """A window as bytes."""
    interval = (window.start_ms, window.end_ms, window.day, window.voice)
    # Full rows: zeros are a byte each, and leaving them out would cost more than writing them.
    rows = list(window.rows.items())
    return msgspec.msgpack.encode((_VERSION, window.guild_id, *interval, list(window.bots), rows))


_Row = tuple[tuple[int, int], list[int]]
_decoder = msgspec.msgpack.Decoder(tuple[int, int, int, int, int, bool, set[int], list[_Row]])


def decode_window(value: bytes) -> Window:
    """Read what ``encode_window`` wrote.

    Raises:
        ConfigError: another release wrote it.
    """
    try:
        version, guild_id, start_ms, end_ms, day, voice, bots, rows = _decoder.decode(value)
    except msgspec.MsgspecError as error:
        raise ConfigError(f"a window can't be read, was it written by another release? {error}") from error
    check_version("window", version)
    window = Window(guild_id, start_ms, end_ms, day, voice=voice)
    window.bots, window.rows = bots, dict(rows)
    window.changed, window.stored = False, True
    return window


def hour_window(guild_id: int, hour_ms: int, day: int) -> Window:
    """The voice window of a UTC hour."""
    return Window(guild_id, hour_ms, hour_ms + HOUR_MS, day, voice=True)
