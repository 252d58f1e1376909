"""What was dispatched and which events it means, counted without looking at any translation."""

from __future__ import annotations

from collections import Counter
from typing import Any

from gateway.simulator.traffic import Dispatch

__all__ = ["Ledger"]


class Ledger:
    """Exact counts of dispatches by guild and name, and of the events that they mean by guild and type.

    A payload that shows a member whose name, nick or roles were not shown before, or have changed
    since, means one ``member_update`` more. A gateway that forgets whom it has published (a restart)
    publishes them again: then only the other types are comparable.
    """

    def __init__(self) -> None:
        self._dispatches: Counter[tuple[int, str]] = Counter()
        self._events: Counter[tuple[int, str]] = Counter()
        self._shown: dict[tuple[int, int], int] = {}

    def record(self, dispatch: Dispatch) -> None:
        """Count one dispatch that was given to a session."""
        guild_id = dispatch.guild_id
        self._dispatches[guild_id, dispatch.name] += 1
        for kind in dispatch.events:
            self._events[guild_id, kind] += 1
        tells_itself = dispatch.name in {"GUILD_MEMBER_ADD", "GUILD_MEMBER_UPDATE"}
        for member in dispatch.shown:
            key = (guild_id, member.user_id)
            if self._shown.get(key) != member.version and not tells_itself:
                self._events[guild_id, "member_update"] += 1
            self._shown[key] = member.version

    def counts(self) -> dict[str, Any]:
        """Totals, and the same by guild."""
        return {
            "dispatched": sum(self._dispatches.values()),
            "dispatches": _by_guild(self._dispatches),
            "events": _by_guild(self._events),
            "event_total": sum(self._events.values()),
            "event_totals": _totals(self._events),
        }


def _by_guild(counter: Counter[tuple[int, str]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for (guild_id, name), count in sorted(counter.items()):
        found.setdefault(str(guild_id), {})[name] = count
    return found


def _totals(counter: Counter[tuple[int, str]]) -> dict[str, int]:
    found: Counter[str] = Counter()
    for (_, name), count in counter.items():
        found[name] += count
    return dict(sorted(found.items()))
