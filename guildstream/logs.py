"""Logs: lines on stderr, for people (text) or for machines (one JSON object a line).

Loggers are the standard library's, named ``guildstream.<part>``; what a line is about travels in
``extra={...}`` and comes out as ``key=value`` or as JSON keys, so nobody has to parse a sentence.
"""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Any, Final

import orjson

from guildstream.errors import ConfigError
from guildstream.settings import Settings

__all__ = ["JsonFormatter", "TextFormatter", "configure_logging"]

_LEVELS: Final = ("DEBUG", "INFO", "WARNING", "ERROR")
#: What every record has; anything else was passed as ``extra``.
_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName", "color_message"}


def configure_logging(settings: Settings, component: str) -> None:
    """Send this process's logs to stderr in the form that the settings ask for. May be repeated.

    Our own loggers speak from ``log_level`` up, libraries from WARNING up.

    Raises:
        ConfigError: ``log_level`` is no level.
    """
    level = settings.log_level.upper()
    if level not in _LEVELS:
        raise ConfigError(f"GUILDSTREAM_LOG_LEVEL is {settings.log_level!r}: it must be one of {', '.join(_LEVELS)}")
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter(component) if settings.log_format == "json" else TextFormatter(component))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("guildstream").setLevel(level)


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


class TextFormatter(logging.Formatter):
    """``12:00:01.250 INFO processor transport: sentence  key=value``, times in UTC."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """One line, followed by the traceback where there is one."""
        at = datetime.fromtimestamp(record.created, UTC).strftime("%H:%M:%S.%f")[:-3]
        name = record.name.removeprefix("guildstream.")
        line = f"{at} {record.levelname} {self._component} {name}: {record.getMessage()}"
        if extras := _extras(record):
            line += "  " + " ".join(f"{key}={value}" for key, value in extras.items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``component``, ``message``, extras, ``exception``."""

    def __init__(self, component: str) -> None:
        super().__init__()
        self._component = component

    def format(self, record: logging.LogRecord) -> str:
        """One line; values that JSON doesn't know are written as text."""
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "component": self._component,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(entry, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
