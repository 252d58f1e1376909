"""``docs/settings.md``, made from the settings themselves: ``python -m guildstream.cli.settings_page``."""

from __future__ import annotations

import sys

from pydantic.fields import FieldInfo

from guildstream.settings import Settings

__all__ = ["render"]

_HEAD = """\
# Settings

Environment variables of every component. This page is made from `guildstream/settings.py` by
`python -m guildstream.cli.settings_page > docs/settings.md`.

A `GUILDSTREAM_*` variable that is not in this table is an error, so that a misspelt one is noticed; but for the
`*_SERVICE_*` and `*_PORT*` that orchestrators inject. `--data-dir` wins over URLs in the environment. Secrets are
never shown in logs or error messages, and components hand them on through the environment, never in arguments.

Per-guild settings (time zone, XP, levels) are not here: they travel in the stream.

| variable | default | what |
|---|---|---|
"""


_LIMITS = {"ge": "at least", "gt": "more than", "le": "at most"}


def render() -> str:
    """The page."""
    return _HEAD + "".join(_row(name, field) for name, field in Settings.model_fields.items())


def _row(name: str, field: FieldInfo) -> str:
    default = field.default
    shown = "" if default is None or str(default) == "" else f"`{str(default).lower() if default is True else default}`"
    limits = [
        f"{words} {getattr(item, attribute)}"
        for attribute, words in _LIMITS.items()
        for item in field.metadata
        if getattr(item, attribute, None) is not None
    ]
    described = field.description or ""
    return f"| `GUILDSTREAM_{name.upper()}` | {shown} | {described}{_parenthesised(limits)} |\n"


def _parenthesised(limits: list[str]) -> str:
    return f" ({', '.join(limits).capitalize()}.)" if limits else ""


if __name__ == "__main__":
    sys.stdout.write(render())
