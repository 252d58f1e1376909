"""What the simulated Discord sent against what PostgreSQL holds, to the event."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from guildstream.cli.database import reading
from guildstream.cli.output import as_table
from guildstream.cli.simulated_discord import DiscordControl
from guildstream.clock import SYSTEM_CLOCK

__all__ = ["Comparison", "compare", "settled"]

#: Of this simulated Discord's sessions only: a data directory may hold those of earlier demos.
_STORED: Final = """
SELECT guild_id, type, count(*) FROM guildstream.events
WHERE guild_id IS NOT NULL AND session = ANY (%s) GROUP BY 1, 2
"""
#: How long the last events may take before the difference counts as real.
_SETTLE_SECONDS: Final = 30.0

_Counts = Counter[tuple[int, str]]


@dataclass(frozen=True, slots=True)
class Comparison:
    """Events by guild and type on both sides.

    Attributes:
        sent: what the simulated Discord counted.
        stored: what PostgreSQL holds.
    """

    sent: _Counts
    stored: _Counts

    @property
    def is_equal(self) -> bool:
        """Whether both agree on every guild and type."""
        return bool(self.sent) and +self.sent == +self.stored

    def as_text(self) -> str:
        """A table by type, then each guild and type that differs, then the verdict."""
        kinds = sorted({kind for _, kind in self.sent | self.stored})
        rows = [[kind, _of_kind(self.sent, kind), _of_kind(self.stored, kind)] for kind in kinds]
        rows.append(["all", self.sent.total(), self.stored.total()])
        lines = [as_table(("type", "sent", "stored"), rows)]
        differing = sorted(key for key in self.sent | self.stored if self.sent[key] != self.stored[key])
        lines += [
            f"guild {guild}: {kind}: sent {self.sent[guild, kind]}, stored {self.stored[guild, kind]}"
            for guild, kind in differing
        ]
        guilds = len({guild for guild, _ in self.sent})
        lines.append(
            f"equal to the event: {self.sent.total():,} events of {guilds} guilds"
            if self.is_equal
            else f"NOT equal: {len(differing)} counts differ"
        )
        return "\n".join(lines)


def compare(discord: DiscordControl, dsn: str) -> Comparison:
    """Both sides as they are now."""
    counts = discord.counts() or {"events": {}, "sessions": []}
    sessions = [session["id"] for session in counts["sessions"]]
    sent = Counter(
        {(int(guild), kind): count for guild, kinds in counts["events"].items() for kind, count in kinds.items()}
    )
    with reading(dsn) as connection:
        stored = Counter({(guild, kind): count for guild, kind, count in connection.execute(_STORED, (sessions,))})
    return Comparison(sent, stored)


def settled(discord: DiscordControl, dsn: str, *, pause: Callable[[float], bool]) -> Iterator[Comparison]:
    """Comparisons, one every half second, until the time for the last events is over or ``pause`` says stop."""
    deadline = SYSTEM_CLOCK.monotonic() + _SETTLE_SECONDS
    while SYSTEM_CLOCK.monotonic() < deadline and not pause(0.5):
        yield compare(discord, dsn)


def _of_kind(counts: _Counts, kind: str) -> int:
    return sum(count for (_, name), count in counts.items() if name == kind)
