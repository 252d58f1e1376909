"""Ctrl-C and SIGTERM as something to ask about, so that long work stops at a place of its choosing."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

import click

__all__ = ["StopRequest", "stop_on_signals"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StopRequest:
    """Whether this process was asked to stop, and by what."""

    def __init__(self) -> None:
        self._asked = threading.Event()
        self.signal: signal.Signals | None = None

    def __bool__(self) -> bool:
        """Whether it was asked."""
        return self._asked.is_set()

    @property
    def exit_code(self) -> int:
        """130 for Ctrl-C, 143 for SIGTERM, 129 for a closed terminal; 0 if not asked."""
        return 0 if self.signal is None else 128 + self.signal

    def wait(self, timeout_seconds: float) -> bool:
        """Block until asked or the time is over; whether asked."""
        return self._asked.wait(timeout_seconds)

    def ask(self, number: signal.Signals) -> None:
        """Ask to stop."""
        self.signal = self.signal or number
        self._asked.set()


@contextmanager
def stop_on_signals() -> Generator[StopRequest, None, None]:
    """Within the block, the first signal asks for a clean stop, and a second Ctrl-C interrupts at once."""
    request = StopRequest()

    def handle(number: int, _frame: FrameType | None) -> None:
        if request and number == signal.SIGINT:
            raise KeyboardInterrupt
        request.ask(signal.Signals(number))
        click.echo("stopping; Ctrl-C again to hurry", err=True)

    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
