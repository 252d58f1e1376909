"""Talking to the simulated Discord's own endpoints: what it has sent, and to fall silent."""

from __future__ import annotations

import http.client
from typing import Any
from urllib.parse import urlsplit

import orjson

__all__ = ["DiscordControl"]


class DiscordControl:
    """The simulated Discord from outside.

    Args:
        url: where it listens.
    """

    def __init__(self, url: str) -> None:
        self._address = urlsplit(url).netloc

    def counts(self) -> dict[str, Any] | None:
        """What it has sent; None while it can't be reached."""
        try:
            return self._ask("GET", "/simulator/counts")
        except (OSError, http.client.HTTPException):
            return None

    def pause(self) -> None:
        """Nothing happens there from now on."""
        self._ask("POST", "/simulator/pause")

    def _ask(self, method: str, path: str) -> dict[str, Any]:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request(method, path)
            body = connection.getresponse().read()
        finally:
            connection.close()
        answer: dict[str, Any] = orjson.loads(body) if body else {}
        return answer
