"""What the oracle lets people earn: multipliers of channels, ignore lists, caps of local days."""

from __future__ import annotations

from collections import defaultdict
from typing import Any


class Limits:
    """By guild, member and local day, what was earned."""

    def __init__(self) -> None:
        self.earned: dict[tuple[int, int, int], int] = defaultdict(int)

    @staticmethod
    def ignores(settings: dict[str, Any], who: tuple[int, int], channel: int) -> bool:
        """Whether an ignore list names a member or a channel."""
        ignored = settings.get("ignore", {})
        return who[1] in ignored.get("users", ()) or channel in ignored.get("channels", ())

    def allow(self, settings: dict[str, Any], who: tuple[int, int], day: int, channel: int, base: int) -> int:
        """Points for something that is worth ``base``; they count as earned."""
        if self.ignores(settings, who, channel):
            return 0
        factor = settings.get("multipliers", {}).get("channels", {}).get(str(channel), 1)
        points = base * round(factor * 1000) // 1000
        if "daily_cap" in settings:
            points = max(0, min(points, settings["daily_cap"] - self.earned[*who, day]))
        self.earned[*who, day] += points
        return points

    def forget(self, guild: int, user: int | None = None) -> None:
        """Begin anew with a member, or a guild."""
        for key in [key for key in self.earned if key[0] == guild and user in {None, key[1]}]:
            del self.earned[key]
