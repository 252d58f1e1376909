"""How the demo shows itself: a table that stays in place on a terminal, plain lines elsewhere."""

from __future__ import annotations

from types import TracebackType
from typing import Final, Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from guildstream.cli.demo_numbers import Sample

__all__ = ["DemoDisplay", "render"]

_PLAIN_EVERY_SECONDS: Final = 2.0


class DemoDisplay:
    """Shows samples.

    Args:
        console: where to.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._shown_at = -_PLAIN_EVERY_SECONDS

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live = Live(console=self._console, auto_refresh=False)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the last picture on the terminal and stop drawing."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def say(self, sentence: str) -> None:
        """Print one line above the picture."""
        self._console.print(sentence, highlight=False, markup=False)

    def show(self, sample: Sample, elapsed_seconds: float) -> None:
        """Show a sample."""
        if self._live is not None:
            self._live.update(render(sample, elapsed_seconds), refresh=True)
        elif elapsed_seconds - self._shown_at >= _PLAIN_EVERY_SECONDS:
            self._shown_at = elapsed_seconds
            self._console.print(_line(sample, elapsed_seconds), highlight=False, markup=False, soft_wrap=True)


def _numbers(sample: Sample, elapsed_seconds: float) -> list[tuple[str, str]]:
    rate = sample.sent / elapsed_seconds if elapsed_seconds >= 1 else 0
    freshness = "-" if sample.freshness_seconds is None else f"{sample.freshness_seconds:.2f} s"
    return [
        ("Discord sent", f"{sample.sent:,} ({rate:,.0f}/s)"),
        ("processed", f"{sample.accepted:,}"),
        ("commits", f"{sample.commits:,}"),
        ("lag", f"{sample.lag_entries:,} entries"),
        ("loaded", f"{sample.loaded:,}"),
        ("rows", f"{sample.rows:,}"),
        ("freshness", freshness),
    ]


def _line(sample: Sample, elapsed_seconds: float) -> str:
    numbers = "  ".join(f"{name} {value}" for name, value in _numbers(sample, elapsed_seconds))
    top = ", ".join(f"{name} {xp} XP" for name, xp, _ in sample.top[:3])
    return f"{elapsed_seconds:5.0f} s  {numbers}" + (f"  top: {top}" if top else "")


def render(sample: Sample, elapsed_seconds: float) -> RenderableType:
    """The picture: the pipeline's numbers, then the leaders of the busiest guild."""
    pipeline = Table(show_header=False)
    for name, value in _numbers(sample, elapsed_seconds):
        pipeline.add_row(name, Text(value, justify="right"))
    leaders = Table()
    for name in ("member", "XP", "level"):
        leaders.add_column(name, justify="left" if name == "member" else "right")
    for member, xp, level in sample.top:
        leaders.add_row(Text(member), f"{xp:,}", str(level))
    guild = sample.guild_name or sample.guild_id or "…"
    return Group(
        Text(f"guildstream, {elapsed_seconds:.0f} s", style="bold"),
        pipeline,
        Text(f"top members of {guild}", style="bold"),
        leaders,
    )
