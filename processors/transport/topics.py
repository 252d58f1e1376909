"""Topics whose agents are handed whole chunks."""

from __future__ import annotations

from typing import Any

import faust
from faust.topics import Topic
from faust.types import EventT, Message

__all__ = ["ChunkedTopic", "chunked"]


class ChunkedTopic(Topic):
    """A topic whose stream yields ``Chunk`` objects instead of single values."""

    async def decode(self, message: Message, *, propagate: bool = False) -> EventT[Any]:
        """A chunk is a value as it stands: its entries are for the agent to decode."""
        return self._create_event(None, message.value, headers=None, message=message)


def chunked(app: faust.App, name: str) -> ChunkedTopic:
    """Declare a chunked topic.

    Args:
        app: a Faust app whose broker is this transport.
        name: the topic's name.

    Returns:
        What ``@app.agent`` takes: ``async for chunk in stream`` gives ``Chunk`` objects.
    """
    return ChunkedTopic(app, topics=[name], value_serializer="raw", key_serializer="raw")
