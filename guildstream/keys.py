"""Names of Redis keys, and which partition a guild lives in (DESIGN §4)."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULT_PARTITIONS", "DEFAULT_PREFIX", "Keys", "PartitionKeys", "partition_of"]

DEFAULT_PREFIX = "gs"
DEFAULT_PARTITIONS = 24


def partition_of(guild_id: int, partitions: int) -> int:
    """The partition of a guild: Discord's own shard formula, ``(guild_id >> 22) % partitions``."""
    return (guild_id >> 22) % partitions


@dataclass(frozen=True, slots=True)
class PartitionKeys:
    """The keys of one partition. All carry the hash tag ``{prefix:p}``, so they share a slot."""

    tag: str

    @property
    def events(self) -> str:
        """Stream of events, DESIGN §3."""
        return f"{self.tag}:events"

    @property
    def results(self) -> str:
        """Stream of what the sink loads, ``guildstream.results``."""
        return f"{self.tag}:results"

    @property
    def notices(self) -> str:
        """Stream of level-ups and role rewards due, for bots."""
        return f"{self.tag}:notices"

    @property
    def dead(self) -> str:
        """Stream of dead letters: ``e``, ``reason``, ``detail``, ``origin``."""
        return f"{self.tag}:dead"

    @property
    def owner(self) -> str:
        """Hash: the lease (``owner``, ``until_ms``) and the fencing ``epoch``."""
        return f"{self.tag}:owner"

    @property
    def offset(self) -> str:
        """Hash: what was committed: last stream id, dense counters, commit number."""
        return f"{self.tag}:offset"

    @property
    def consumers(self) -> str:
        """Hash: consumer name → the last events id it is done with; trimming waits for all."""
        return f"{self.tag}:consumers"

    @property
    def counters(self) -> str:
        """Hash: events by outcome since the beginning, counted inside the commit."""
        return f"{self.tag}:counters"

    def state(self, table: str) -> str:
        """Hash: one keyed-state table."""
        return f"{self.tag}:state:{table}"

    def board(self, guild_id: int, period: str) -> str:
        """Sorted set: a guild's live XP board for ``all``, ``2026-W47`` or ``2026-11``."""
        return f"{self.tag}:board:{guild_id}:{period}"


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys of a deployment."""

    prefix: str = DEFAULT_PREFIX

    @property
    def meta(self) -> str:
        """Hash: partitions, contract version, created."""
        return f"{self.prefix}:meta"

    def partition(self, partition: int) -> PartitionKeys:
        """The keys of one partition."""
        return PartitionKeys(f"{{{self.prefix}:{partition}}}")
