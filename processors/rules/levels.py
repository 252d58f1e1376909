"""From XP to levels."""

from __future__ import annotations

from bisect import bisect_right
from typing import Final

from guildstream.guild_settings import Coefficients, LevelTable

__all__ = ["MAX_LEVEL", "LevelCurve"]

#: No curve goes higher: it bounds the memory of a flat one.
MAX_LEVEL: Final = 100_000


class LevelCurve:
    """Total XP of each level, computed as far as anybody has come.

    A level is the highest whose total is reached; level 0 costs nothing.

    Attributes:
        totals: total XP of each level, as far as it was asked for.
    """

    __slots__ = ("_curve", "totals")

    def __init__(self, curve: Coefficients | LevelTable) -> None:
        self._curve = curve
        self.totals: list[int] = [0]
        if isinstance(curve, LevelTable):
            self.totals.extend(curve.table)

    def level(self, xp: int) -> int:
        """The level of a total."""
        totals = self.totals
        while totals[-1] <= xp and isinstance(self._curve, Coefficients) and len(totals) <= MAX_LEVEL:
            level = len(totals) - 1
            a, b, c = self._curve.coefficients
            totals.append(totals[-1] + a * level * level + b * level + c)
        return bisect_right(totals, xp) - 1 if xp > 0 else 0
