"""What agents see of one partition between two commits: state, outgoing entries, dead letters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import redis.asyncio
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError, ResponseError

from guildstream import metrics
from guildstream.cluster import SLOT_MOVES
from guildstream.errors import StreamDamaged
from processors.transport.expiry import CLOCK_MEMBER, ExpiringTable
from processors.transport.state import KeyedState, PartitionTable

__all__ = ["CommitRange", "Operation", "Partition", "PartitionNames", "script_arguments"]

L = TypeVar("L")
T = TypeVar("T")

#: The longest detail (a traceback) and payload that a dead letter keeps.
_DETAIL_BYTES = 8 * 1024
_PAYLOAD_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class PartitionNames:
    """The keys of one partition; all carry its hash tag.

    Attributes:
        tag: ``{prefix:p}``.
    """

    tag: str

    def stream(self, topic: str) -> str:
        """The stream of a topic."""
        return f"{self.tag}:{topic}"

    def state(self, table: str) -> str:
        """The hash of a keyed-state table."""
        return f"{self.tag}:state:{table}"

    def ends(self, table: str) -> str:
        """The sorted set of when values of a table end."""
        return f"{self.tag}:ends:{table}"

    def key(self, name: str) -> str:
        """Any other key: ``owner``, ``offset``, ``counters``, ``consumers``, ``dead``."""
        return f"{self.tag}:{name}"


@dataclass(frozen=True, slots=True)
class Operation:
    """One write of a commit.

    Attributes:
        command: HSET, HDEL, HINCRBY, XADD, ZADD, PEXPIREAT, DEL, XGROUP, or EXPECT: no write, but the stream must
            hold the entry.
        key: a key of the partition.
        args: what follows the key.
        record: field of the offset hash that takes the reply, or None.
    """

    command: str
    key: str
    args: list[bytes]
    record: str | None = None


@dataclass(frozen=True, slots=True)
class CommitRange:
    """What a commit covers of one topic.

    Attributes:
        commit: the number of the commit in its partition, from 1.
        after_id: last entry of the commit before, exclusive; ``0-0`` at first.
        last_id: last entry covered; equal to ``after_id`` where a commit carries only state.
        position: position of the first payload.
        count: how many payloads.
        entries: how many entries.
    """

    commit: int
    after_id: str
    last_id: str
    position: int
    count: int
    entries: int


@dataclass(eq=False)
class Partition:
    """One partition of an app, as its agents see it.

    Everything here is part of the partition's next commit, or of none: when an agent raises, or the
    partition is lost, all of it is thrown away. Not for use outside the chunk that it came with.

    Attributes:
        number: the partition.
        names: its keys.
    """

    number: int
    names: PartitionNames
    client: redis.asyncio.Redis
    tables: dict[str, PartitionTable[Any]]
    operations: list[Operation] = field(default_factory=list)
    counters: Counter[str] = field(default_factory=Counter)
    #: Dead letters of the next commit, by reason.
    dead: Counter[str] = field(default_factory=Counter)
    #: Monotonic time at which a commit is wanted though no entry may have come; None for none.
    commit_wanted_at: float | None = None
    _locals: dict[Callable[[Partition], Any], Any] = field(default_factory=dict)

    def table(self, spec: KeyedState[T]) -> PartitionTable[T]:
        """The table of this partition."""
        return self.tables[spec.name]

    async def prefetch(self, keys: Mapping[str, Iterable[str]]) -> None:
        """Make keys readable: those not cached are read, all tables in one round trip.

        Args:
            keys: table name to keys.

        Raises:
            redis.RedisError: Redis can't be reached; the chunk is tried again.
            StreamDamaged: a table's key holds something else than a hash.
        """
        missing = {name: found for name, wanted in keys.items() if (found := self.tables[name].missing(wanted))}
        sweeps = [(name, table, limit) for name, table in self._expiring() if (limit := table.sweep_limit)]
        if not missing and not sweeps:
            return
        pipe = self.client.pipeline(transaction=False)
        for name, found in missing.items():
            pipe.hmget(self.names.state(name), found)
        for name, table, limit in sweeps:
            pipe.zscore(self.names.ends(name), CLOCK_MEMBER)
            pipe.zrangebyscore(self.names.ends(name), "-inf", table.clock_ms, start=0, num=limit)
        try:
            replies = await pipe.execute()
        except ResponseError as error:
            if isinstance(error, OutOfMemoryError | ReadOnlyError | NoPermissionError | SLOT_MOVES):
                raise
            # The tables are to blame, not the event that happened to need them.
            msg = f"keyed state of partition {self.number} can't be read: {error}"
            raise StreamDamaged(msg) from error
        for (name, found), raw in zip(missing.items(), replies, strict=False):
            metrics.STATE_READS.inc(len(found))
            self.tables[name].fill(found, raw)
        answers = replies[len(missing) :]
        for (_, table, limit), clock_ms, ended in zip(sweeps, answers[::2], answers[1::2], strict=True):
            table.restore(clock_ms)
            table.sweep(ended, limit)

    def local(self, factory: Callable[[Partition], L]) -> L:
        """An object that lives until the partition is rolled back or lost, made at first use.

        It may hold references into tables, and nothing that a rollback must keep.
        """
        try:
            found: L = self._locals[factory]
        except KeyError:
            found = self._locals[factory] = factory(self)
        return found

    def made(self, factory: Callable[[Partition], L]) -> L | None:
        """What ``local`` made with this factory, None where it was not called yet."""
        return self._locals.get(factory)

    def send(self, stream: str, fields: Mapping[bytes, bytes], *, record: str | None = None) -> None:
        """Add an entry to another stream of this partition (``results``, ``notices``) with the commit.

        Args:
            stream: the stream's name within the partition.
            fields: of the entry.
            record: field of the offset hash that takes the new entry's id.
        """
        args = [b"*"]
        for name, value in fields.items():
            args += (name, value)
        self.operations.append(Operation("XADD", self.names.stream(stream), args, record))

    def write(self, command: str, key: str, args: list[bytes]) -> None:
        """Another write with the commit; ``key`` is given without the partition's tag."""
        self.operations.append(Operation(command, self.names.key(key), args))

    def dead_letter(
        self,
        stream: str,
        entry_id: str,
        index: int,
        payload: bytes,
        *,
        reason: str,
        detail: str,
        origin: bytes | None = None,
    ) -> None:
        """Put a payload aside, with the commit. The payload keeps its first 64 KiB.

        Args:
            stream: where it was read.
            entry_id: of its entry.
            index: of the payload within the entry.
            payload: what could not be processed.
            reason: a word to sort dead letters by.
            detail: for people.
            origin: of a requeued dead letter that fails again: where it came from at first.
        """
        self.dead[reason] += 1
        self.send(
            "dead",
            {
                b"e": payload[:_PAYLOAD_BYTES],
                b"reason": reason.encode(),
                b"detail": detail.encode(errors="replace")[:_DETAIL_BYTES],
                b"origin": origin or f"{self.names.stream(stream)} {entry_id} {index}".encode(),
            },
        )

    def count(self, name: str, amount: int = 1) -> None:
        """Add to a counter of the partition, with the commit."""
        self.counters[name] += amount

    def want_commit(self, at: float) -> None:
        """Ask for a commit at a monotonic time, even if no further entry comes."""
        if self.commit_wanted_at is None or at < self.commit_wanted_at:
            self.commit_wanted_at = at

    def take_operations(self) -> list[Operation]:
        """All writes since the last call, state included; the next commit starts empty."""
        operations, self.operations = self.operations, []
        for name, expiring in self._expiring():
            ends, endless = expiring.take_ends()
            if ends:
                operations.append(Operation("ZADD", self.names.ends(name), ends))
            if endless:
                operations.append(Operation("ZREM", self.names.ends(name), endless))
        for table in self.tables.values():
            stored, deleted = table.take_changes()
            if stored:
                operations.append(Operation("HSET", self.names.state(table.spec.name), stored))
            if deleted:
                operations.append(Operation("HDEL", self.names.state(table.spec.name), deleted))
        for name, amount in self.counters.items():
            if amount:
                operations.append(Operation("HINCRBY", self.names.key("counters"), [name.encode(), b"%d" % amount]))
        self.counters.clear()
        return operations

    def _expiring(self) -> list[tuple[str, ExpiringTable[Any]]]:
        return [(name, table) for name, table in self.tables.items() if isinstance(table, ExpiringTable)]

    def reset(self) -> None:
        """Throw away everything that is not committed."""
        self.operations.clear()
        self.counters.clear()
        self.dead.clear()
        self._locals.clear()
        self.commit_wanted_at = None
        for table in self.tables.values():
            table.reset()


def script_arguments(operations: Iterable[Operation], keys: dict[str, int]) -> list[bytes | str | int]:
    """Operations as ``commit.lua`` reads them.

    Args:
        operations: in order.
        keys: key to its index in ``KEYS``, from 1; new keys are added.
    """
    arguments: list[bytes | str | int] = []
    for operation in operations:
        index = keys.setdefault(operation.key, len(keys) + 1)
        arguments += (operation.command, index, operation.record or "", len(operation.args))
        arguments += operation.args
    return arguments
