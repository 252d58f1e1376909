"""Holding back while Redis is short of memory: slower above one mark, not at all above a higher one."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Final

from redis.exceptions import RedisError

from guildstream import metrics

__all__ = ["MemoryGauge"]

_log = logging.getLogger("guildstream.publisher")

_LOOK_SECONDS: Final = 1.0
#: The pause behind a batch just below the higher mark.
_SLOWEST_SECONDS: Final = 1.0
_EFFECTS: Final = (
    "events are sent at full speed again",
    "events are sent more slowly",
    "no events are sent for now",
)


class MemoryGauge:
    """Looks how full Redis is, at most once a second, and says how long to wait. Never raises.

    What can't be asked (Redis is away, or the user may not) holds nothing back: writes tell soon enough.

    Args:
        use: the part of its memory limit that Redis uses, 0 without a limit.
        slow: from this part on publishing is slowed down.
        stop: from this part on it is stopped.
    """

    def __init__(self, use: Callable[[], float], *, slow: float, stop: float) -> None:
        self._use = use
        self._slow = min(slow, stop)
        self._stop = stop
        self._look_at = 0.0
        self._part = 0.0
        self._held = 0

    @property
    def was_stopped(self) -> bool:
        """What ``stopped`` said last; asks nobody, from any thread."""
        return self._held == 2

    @property
    def stopped(self) -> bool:
        """Whether nothing is to be sent now."""
        return self._look() == 2

    @property
    def pause_seconds(self) -> float:
        """How long to wait after a batch: longer the nearer the higher mark is."""
        if self._look() != 1:
            return 0.0
        return _SLOWEST_SECONDS * max(0.02, (self._part - self._slow) / max(0.001, self._stop - self._slow))

    def _look(self) -> int:
        now = time.monotonic()
        if now >= self._look_at:
            self._look_at = now + _LOOK_SECONDS
            try:
                self._part = self._use()
            except (RedisError, OSError, KeyError, ValueError):
                self._part = 0.0
            self._tell(2 if self._part >= self._stop else 1 if self._part >= self._slow else 0)
        return self._held

    def _tell(self, held: int) -> None:
        if held == self._held:
            return
        self._held = held
        metrics.PUBLISH_HELD.set(held)
        level = logging.WARNING if held else logging.INFO
        _log.log(level, "Redis uses %.0f %% of its memory limit: %s", self._part * 100, _EFFECTS[held])
