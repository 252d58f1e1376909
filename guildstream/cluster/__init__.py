"""Clients for Redis Cluster that look like those for one server, and never repeat a command by themselves.

redis-py's own cluster clients send a command again whose reply was lost. An XADD or a commit may have been
applied by then: only its sender knows how to find out. These follow redirections, which Redis sends instead
of executing a command, and nothing else.
"""

from guildstream.cluster.asyncio_client import AsyncClusterRedis
from guildstream.cluster.client import ClusterPipeline, ClusterRedis
from guildstream.cluster.slots import SLOT_MOVES, Address, slot_of

__all__ = ["SLOT_MOVES", "Address", "AsyncClusterRedis", "ClusterPipeline", "ClusterRedis", "slot_of"]
