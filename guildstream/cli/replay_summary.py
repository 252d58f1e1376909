"""What a replay says at its end."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import orjson

from guildstream.replay.entries import PackCounts

__all__ = ["ReplaySummary"]


@dataclass(frozen=True, slots=True)
class ReplaySummary:
    """One replay's result.

    Attributes:
        counts: what was read and published.
        drained: whether the pipeline has processed and loaded all of it.
        outcomes: events by outcome as the processor counted them; empty if not drained.
        reasons: bad lines by reason.
        elapsed_seconds: from the first line read to the end.
        total_seconds: the same with the start of servers and components.
    """

    counts: PackCounts
    drained: bool
    outcomes: Counter[str]
    reasons: Counter[str]
    elapsed_seconds: float
    total_seconds: float

    @property
    def dead_lettered(self) -> int:
        """Bad lines."""
        return self.outcomes["invalid"] + self.outcomes["poison"] if self.drained else self.counts.bad.total()

    @property
    def changes_nothing(self) -> bool:
        """Whether every event was known already."""
        return self.drained and not self.outcomes["accepted"] and self.outcomes["duplicate"] > 0

    @property
    def events_per_second(self) -> float:
        """Lines a second, all stages included."""
        return self.counts.lines / self.elapsed_seconds if self.elapsed_seconds else 0.0

    @property
    def exit_code(self) -> int:
        """3 if there were bad lines, else 0."""
        return 3 if self.dead_lettered else 0

    def as_json(self) -> str:
        """One JSON object."""
        summary: dict[str, Any] = {
            "published": self.counts.lines,
            "heartbeats": self.counts.heartbeats,
            "drained": self.drained,
            "accepted": self.outcomes["accepted"] if self.drained else None,
            "duplicates": self.outcomes["duplicate"] if self.drained else None,
            "superseded": self.outcomes["superseded"] if self.drained else None,
            "unknown": self.outcomes["unknown"] if self.drained else self.counts.unknown,
            "dead_lettered": self.dead_lettered,
            "reasons": dict(sorted(self.reasons.items())),
            "changes_nothing": self.changes_nothing,
            "elapsed_seconds": round(self.elapsed_seconds, 3),
            "total_seconds": round(self.total_seconds, 3),
            "events_per_second": round(self.events_per_second, 1),
        }
        return orjson.dumps(summary).decode()

    def as_text(self) -> str:
        """A few lines for people."""
        lines = [f"published     {self.counts.lines:>12,}"]
        if self.drained:
            lines.append(f"accepted      {self.outcomes['accepted']:>12,}")
            lines.append(f"duplicates    {self.outcomes['duplicate']:>12,}")
            if self.outcomes["superseded"]:
                lines.append(f"superseded    {self.outcomes['superseded']:>12,}")
        if unknown := self.outcomes["unknown"] if self.drained else self.counts.unknown:
            lines.append(f"unknown types {unknown:>12,}  counted and skipped")
        if self.dead_lettered:
            lines.append(f"dead-lettered {self.dead_lettered:>12,}  `guildstream dead list` shows them")
            lines += [f"  {reason:<24}{count:>8,}" for reason, count in sorted(self.reasons.items())]
        lines.append(f"in {self.elapsed_seconds:.1f} s, {self.events_per_second:,.0f} events/s")
        if self.changes_nothing:
            lines.append("changes nothing: every event is a known duplicate")
        elif not self.drained:
            lines.append("published only; a processor and a sink take it from here")
        return "\n".join(lines)
