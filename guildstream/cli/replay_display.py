"""A replay's progress: bars on a terminal, a line every few seconds elsewhere. All on stderr."""

from __future__ import annotations

from types import TracebackType
from typing import Final, NamedTuple, Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from guildstream.cli.drain import DrainProgress
from guildstream.clock import SYSTEM_CLOCK, Clock

__all__ = ["ReplayDisplay", "Stage"]

_TERMINAL_SECONDS: Final = 0.2
_LINES_SECONDS: Final = 5.0


class Stage(NamedTuple):
    """How far publishing has come.

    Attributes:
        lines: lines read.
        events: payloads packed, heartbeats included; what the later stages will have seen at the end.
        read_bytes: bytes of the files read.
    """

    lines: int
    events: int
    read_bytes: int


class ReplayDisplay:
    """Shows three stages: publish, process, load, each with its rate.

    Args:
        total_bytes: size of the files; 0 where nobody knows.
        drain: whether there is more than publishing to show.
        clock: time.
    """

    def __init__(self, total_bytes: int, *, drain: bool, clock: Clock = SYSTEM_CLOCK) -> None:
        self._total_bytes = total_bytes
        self._clock = clock
        self._started = clock.monotonic()
        self._due = self._started + (_TERMINAL_SECONDS if Console(stderr=True).is_terminal else _LINES_SECONDS)
        self._console = Console(stderr=True)
        self._progress: Progress | None = None
        self._tasks: dict[str, TaskID] = {}
        self._names = ("publish", "process", "load") if drain else ("publish",)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            columns = (TextColumn("{task.description:<8}"), BarColumn(), TextColumn("{task.fields[shown]}"))
            self._progress = Progress(*columns, TimeElapsedColumn(), console=self._console)
            self._tasks = {name: self._progress.add_task(name, total=None, shown="") for name in self._names}
            self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._progress is not None:
            self._progress.stop()

    def is_due(self, *, last: bool = False) -> bool:
        """Whether it is time to show something again; at the end, bars are filled up and lines are not repeated."""
        if last:
            return self._progress is not None
        now = self._clock.monotonic()
        if now < self._due:
            return False
        self._due = now + (_LINES_SECONDS if self._progress is None else _TERMINAL_SECONDS)
        return True

    def say(self, sentence: str) -> None:
        """Print one line, above the bars."""
        self._console.print(sentence, highlight=False)

    def show(self, stage: Stage, drained: DrainProgress | None, *, waiting_bytes: int | None) -> None:
        """Show where everything stands.

        Args:
            stage: publishing.
            drained: processing and loading, if they are followed.
            waiting_bytes: what lies unconsumed in Redis, while publishing waits for that.
        """
        elapsed = max(self._clock.monotonic() - self._started, 0.001)
        done = {"publish": stage.lines}
        if drained is not None:
            done |= {"process": drained.processed, "load": drained.loaded}
        waiting = "" if waiting_bytes is None else f"  waiting for the processor ({waiting_bytes >> 20} MiB ahead)"
        texts = {name: f"{count:>12,}  {count / elapsed:>9,.0f}/s" for name, count in done.items()}
        texts["publish"] += waiting
        if self._progress is None:
            self.say("  ".join(f"{name} {' '.join(text.split())}" for name, text in texts.items()))
            return
        share = stage.read_bytes / self._total_bytes if self._total_bytes else None
        for name, text in texts.items():
            completed, total = (share, 1.0) if name == "publish" else (float(done[name]), float(stage.events))
            self._progress.update(self._tasks[name], completed=completed, total=total if share else None, shown=text)
