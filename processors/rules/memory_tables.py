"""Keyed state in a dictionary: for running the rules again over stored events, and for measuring them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from processors.rules.tables import TABLE_SPECS, Tables

__all__ = ["MemoryTable", "memory_tables"]


class MemoryTable:
    """A table whose every key is loaded."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}

    def get(self, key: str) -> Any:
        """The value, or None."""
        return self.values.get(key)

    def put(self, key: str, value: Any) -> None:
        """Store a value."""
        self.values[key] = value

    def delete(self, key: str) -> None:
        """Forget a key."""
        self.values.pop(key, None)

    def items(self) -> Iterable[tuple[str, Any]]:
        """All of it."""
        return self.values.items()

    def pin(self, key: str) -> None:
        """Nothing is ever forgotten."""

    def unpin(self, key: str) -> None:
        """Nothing is ever forgotten."""


def memory_tables() -> Tables:
    """Empty tables of one partition."""
    return Tables(**{spec.name: MemoryTable() for spec in TABLE_SPECS})
