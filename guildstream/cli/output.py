"""Results as JSON, CSV or a table. Ids are 64 bits and stay exact in each."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import msgspec

__all__ = ["as_csv", "as_json_list", "as_json_object", "as_table"]

_encoder = msgspec.json.Encoder(enc_hook=str, decimal_format="number")


def _plain(value: Any) -> Any:
    """A value as JSON writes it exactly: times in UTC, sums of bigints as numbers, bytes as psql shows them."""
    if isinstance(value, datetime):
        return value.astimezone(UTC) if value.tzinfo else value
    if isinstance(value, Decimal) and not value.is_finite():
        return str(value)
    if isinstance(value, bytes | memoryview):
        return "\\x" + bytes(value).hex()
    return value


def as_json_object(row: Mapping[str, Any]) -> str:
    """One JSON object on one line."""
    return _encoder.encode({name: _plain(value) for name, value in row.items()}).decode()


def as_json_list(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A JSON list of objects, one a line. A column's second namesake becomes ``name_2``."""
    names = _distinct(columns)
    lines = ",\n ".join(as_json_object(dict(zip(names, row, strict=True))) for row in rows)
    return f"[{lines}]"


def as_csv(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """CSV with a header; nothing for NULL."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_text(value) for value in row] for row in rows)
    return text.getvalue().rstrip("\n")


def as_table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    """Columns under their names, numbers to the right."""
    cells = [[_text(value) for value in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(columns, *cells, strict=True)]
    numeric = [all(isinstance(row[at], int | float | Decimal | None) for row in rows) for at in range(len(columns))]
    head = "  ".join(name.ljust(width) for name, width in zip(columns, widths, strict=True)).rstrip()
    lines = [head, "  ".join("-" * width for width in widths)]
    for row in cells:
        aligned = (
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(row, widths, numeric, strict=True)
        )
        lines.append("  ".join(aligned).rstrip())
    return "\n".join(lines)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    value = _plain(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, dict | list):
        return _encoder.encode(value).decode()
    return str(value)


def _distinct(columns: Sequence[str]) -> list[str]:
    seen: dict[str, int] = {}
    names: list[str] = []
    for column in columns:
        seen[column] = seen.get(column, 0) + 1
        names.append(column if seen[column] == 1 else f"{column}_{seen[column]}")
    return names
