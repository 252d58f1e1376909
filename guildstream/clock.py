"""Time as a value that is passed in, so that tests decide what time it is."""

from __future__ import annotations

import time
from typing import Protocol

__all__ = ["SYSTEM_CLOCK", "Clock", "SystemClock"]


class Clock(Protocol):
    """What reads the time. Rules never hold one: they see event times only."""

    def monotonic(self) -> float:
        """Seconds that never go back; only differences mean anything."""
        ...

    def now_ms(self) -> int:
        """Wall-clock milliseconds since the epoch, UTC."""
        ...


class SystemClock:
    """The clocks of the operating system."""

    def monotonic(self) -> float:
        """Seconds from ``time.monotonic``."""
        return time.monotonic()

    def now_ms(self) -> int:
        """Milliseconds from ``time.time_ns``."""
        return time.time_ns() // 1_000_000


SYSTEM_CLOCK = SystemClock()
