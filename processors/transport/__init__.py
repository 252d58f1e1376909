"""A Faust transport over Redis Streams. It knows nothing of Discord.

``faust.App("shop", broker="redis://localhost")`` finds it by entry point. Agents of a ``chunked`` topic
are handed a ``Chunk`` at a time; its ``partition`` gives them keyed state and outgoing entries, which
are committed together with the offset, or not at all.
"""

from processors.transport.chunk import Chunk, ChunkEntry
from processors.transport.driver import Transport
from processors.transport.options import TransportOptions
from processors.transport.partition import CommitRange, Partition
from processors.transport.state import KeyedState, NotLoaded, PartitionTable
from processors.transport.streams import NoPartition, current_partition
from processors.transport.topics import ChunkedTopic, chunked

__all__ = [
    "Chunk",
    "ChunkEntry",
    "ChunkedTopic",
    "CommitRange",
    "KeyedState",
    "NoPartition",
    "NotLoaded",
    "Partition",
    "PartitionTable",
    "Transport",
    "TransportOptions",
    "chunked",
    "current_partition",
]
