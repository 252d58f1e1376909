"""The one place that reaches into Faust's private indices: which channels want which partition.

Faust offers only its stop-the-world rebalance for that; these three attributes are what lets partitions
come and go one by one. A test holds them against the installed release.
"""

from __future__ import annotations

from typing import Any

from faust.types import TP

__all__ = ["add_partition", "remove_partition"]


def add_partition(app: Any, tp: TP) -> None:
    """Let messages of a partition reach every channel that subscribes to its topic."""
    conductor = app.topics
    for channel in conductor:
        if tp.topic in channel.topics:
            conductor._tp_index[tp].add(channel)  # noqa: SLF001
    conductor._update_callback_map()  # noqa: SLF001
    app._assignment = (app._assignment or set()) | {tp}  # noqa: SLF001


def remove_partition(app: Any, tp: TP) -> None:
    """The partition is no longer ours."""
    app.topics._tp_index.pop(tp, None)  # noqa: SLF001
    app._assignment = (app._assignment or set()) - {tp}  # noqa: SLF001
