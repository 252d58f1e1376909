"""Jittered exponential backoff."""

from __future__ import annotations

import random

__all__ = ["Backoff"]


class Backoff:
    """Delays that double up to a limit; each is drawn between half of it and all of it."""

    def __init__(self, *, initial_seconds: float, limit_seconds: float) -> None:
        self._initial = initial_seconds
        self._limit = limit_seconds
        self._current = initial_seconds

    def next_seconds(self) -> float:
        """The next delay."""
        delay = self._current
        self._current = min(self._current * 2, self._limit)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 - no secret depends on it

    def reset(self) -> None:
        """Start over after a success."""
        self._current = self._initial
