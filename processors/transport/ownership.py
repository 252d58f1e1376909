"""Who owns which partition: leases in Redis with fencing epochs, kept by a thread of their own.

The thread renews whatever the event loop is busy with. An owner token is random for each process and
the epoch counts hand-overs, so that a failover that rewinds the counter can't revive an old owner.

Workers say that they are alive in one sorted set; each computes the same balanced, sticky assignment
from it and from the leases, claims what is free and its own, and asks its consumer to give up, one after
the other, what belongs to somebody else. A counter that every hand-back raises is polled, so that a
partition that was given back is taken at once.

On a Cluster the leases live on all masters. One that is away keeps nobody from renewing the others.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast

from redis.exceptions import NoScriptError, RedisError

from guildstream.clock import SYSTEM_CLOCK
from guildstream.cluster import ClusterPipeline
from guildstream.connections import connect_redis
from guildstream.errors import StreamDamaged
from processors.transport.assignment import assign
from processors.transport.options import TransportOptions
from processors.transport.partition import PartitionNames
from processors.transport.scripts import ATTEND, LEASE, RELEASE, Script

__all__ = ["Lease", "LeaseKeeper", "LeaseListener"]

logger = logging.getLogger("guildstream.transport")

#: How often the counter of hand-backs is looked at.
_POLL_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class LeaseListener:
    """Who is told; called from the keeper's thread.

    Attributes:
        gained: partition and epoch; may begin.
        lost: another worker has it; nothing more can be written.
        unwanted: finish what is begun, commit, then ``release``.
        damaged: Redis is not the one that this worker started on; nothing can go on.
    """

    gained: Callable[[int, int], object]
    lost: Callable[[int], object]
    unwanted: Callable[[int], object]
    damaged: Callable[[Exception], object]


@dataclass(frozen=True, slots=True)
class Lease:
    """One lease as a round found it.

    Attributes:
        epoch: if it is ours, else 0.
        owner: None where it is free.
        left_ms: how long it lasts without renewal.
    """

    epoch: int
    owner: bytes | None
    left_ms: int


class LeaseKeeper:
    """Claims this worker's share of a deployment's partitions, and renews what it holds.

    Args:
        options: where, how many, and how long a lease lives.
        listener: who is told.
        deployment: what ``<prefix>:meta`` must keep saying; None for no check.
    """

    def __init__(self, options: TransportOptions, listener: LeaseListener, *, deployment: str | None = None) -> None:
        self.owner = secrets.token_hex(12).encode()
        self._options = options
        self._listener = listener
        self._deployment = deployment
        # A reply later than this is of no use: the lease would be over.
        timeout = max(0.5, options.lease_seconds / 3)
        self._client = connect_redis(options.redis_url, name=f"{options.prefix}-leases", timeout_seconds=timeout)
        self._held: dict[int, int] = {}
        #: The highest epoch held so far, and who had the lease at the last look, by partition.
        self._highest: dict[int, int] = {}
        self._seen: dict[int, bytes | None] = {}
        self._unwanted: int | None = None
        self._announced = False
        self._draining = False
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self.healthy = True

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def leave(self) -> None:
        """Claim nothing more, and let others count this worker out; what is held is still renewed.

        Blocks for a round trip.
        """
        with self._lock:
            self._draining = True
        try:
            self._client.zrem(self._name("workers"), self.owner)
        except (RedisError, OSError) as error:
            logger.warning("this worker could not take its leave, its time will run out: %s", error)

    def stop(self) -> None:
        """Stop to renew, and give back what is held. Blocks for a few round trips."""
        self._stopping.set()
        self._thread.join(timeout=self._options.lease_seconds)
        # Again: a round of the thread may have been under way.
        self.leave()
        with self._lock:
            held = list(self._held)
        for partition in held:
            self.release(partition)
        self._client.close()

    def release(self, partition: int) -> None:
        """Give one lease back, so that the next owner may begin at once. Blocks for a round trip."""
        with self._lock:
            epoch = self._held.pop(partition, None)
        try:
            if epoch is not None:
                self._script(RELEASE, self._key(partition), self.owner, epoch)
                self._client.incr(self._name("moves"))
        except (RedisError, OSError) as error:
            logger.warning("lease of partition %d could not be given back, it will expire: %s", partition, error)
        self.forget(partition)

    def forget(self, partition: int) -> None:
        """This lease is lost."""
        with self._lock:
            self._held.pop(partition, None)
            if self._unwanted == partition:
                self._unwanted = None

    # -- the thread

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                seen = self._moves()
                self._rest(self._round(), seen)
            except StreamDamaged as error:
                self._listener.damaged(error)
                return
            except (RedisError, OSError) as error:
                self.healthy = False
                logger.warning("leases can't be renewed for now: %s", error)
                self._stopping.wait(min(0.2, self._options.lease_seconds / 10))

    def _rest(self, seconds: float, seen: object) -> None:
        """Wait until the next round is due, or somebody has given a partition back."""
        ends = SYSTEM_CLOCK.monotonic() + seconds
        while (left := ends - SYSTEM_CLOCK.monotonic()) > 0:
            if self._stopping.wait(min(left, _POLL_SECONDS)) or self._moves() != seen:
                return

    def _moves(self) -> bytes | None:
        """The counter of hand-backs; None while it can't be read, which hinders no renewal."""
        try:
            return cast("bytes | None", self._client.get(self._name("moves")))
        except (RedisError, OSError):
            return None

    def _round(self) -> float:
        """Renew, look, and act on what the assignment says.

        Returns:
            Seconds until something is due.
        """
        with self._lock:
            held, draining = dict(self._held), self._draining
        leases = self._look(held)
        for partition in held.keys() & leases.keys():
            self._check_held(partition, leases[partition])
        workers, overdue_ms = self._attend(draining=draining)
        self.healthy = len(leases) == self._options.partitions
        if draining or self.owner not in workers:
            return self._options.lease_seconds / 5
        self._seen.update({p: lease.owner for p, lease in leases.items()})
        wanted = assign(workers, [self._seen.get(p) for p in range(self._options.partitions)])
        # A claim whose reply was lost left our name without an epoch that we know.
        free = [p for p, lease in leases.items() if not lease.epoch and lease.owner in (None, self.owner)]
        self._claim([p for p in free if wanted[p] == self.owner])
        self._give_up([p for p, lease in leases.items() if lease.epoch and wanted[p] != self.owner])
        foreign = [lease.left_ms for lease in leases.values() if lease.owner is not None and not lease.epoch]
        return min(self._options.lease_seconds / 5, (min([overdue_ms, *foreign]) + 5) / 1000)

    def _attend(self, *, draining: bool) -> tuple[list[bytes], int]:
        """Say that this worker is alive, and see that Redis is still the same one."""
        if self._deployment is not None:
            found = self._client.hget(f"{self._options.prefix}:meta", "deployment")
            if found != self._deployment.encode():
                msg = (
                    f"{self._options.prefix}:meta says deployment {found!r}, this worker started on "
                    f"{self._deployment!r}: Redis was emptied or replaced. Nothing is started from zero silently; "
                    "see docs/transport.md, «A damaged stream»"
                )
                raise StreamDamaged(msg)
        if draining:
            return [], 0
        *workers, overdue = self._script(ATTEND, self._name("workers"), self.owner, self._lease_ms)
        if not self._announced:
            self._announced = True
            self._client.incr(self._name("moves"))
        return workers, int(overdue)

    def _look(self, held: dict[int, int]) -> dict[int, Lease]:
        modes = [
            ("renew", held[partition]) if partition in held else ("look", 0)
            for partition in range(self._options.partitions)
        ]
        return self._leases(list(enumerate(modes)))

    def _claim(self, partitions: Sequence[int]) -> None:
        if not partitions:
            return
        for partition, lease in self._leases([(p, ("claim", self._highest.get(p, 0))) for p in partitions]).items():
            if not lease.epoch:
                continue
            with self._lock:
                self._held[partition] = self._highest[partition] = lease.epoch
                self._seen[partition] = self.owner
                draining = self._draining
            if not draining:
                self._listener.gained(partition, lease.epoch)

    def _give_up(self, partitions: Sequence[int]) -> None:
        """One partition at a time, so that the others go on."""
        with self._lock:
            if self._unwanted is not None or self._draining:
                return
            self._unwanted = next((p for p in partitions if p in self._held), None)
            unwanted = self._unwanted
        if unwanted is not None:
            self._listener.unwanted(unwanted)

    def _check_held(self, partition: int, lease: Lease) -> None:
        with self._lock:
            if lease.epoch or partition not in self._held:
                return
            del self._held[partition]
            if self._unwanted == partition:
                self._unwanted = None
        logger.error("the lease of partition %d was lost: another worker has it", partition)
        self._listener.lost(partition)

    # -- Redis

    def _leases(self, asked: Sequence[tuple[int, tuple[str, int]]]) -> dict[int, Lease]:
        """Run the script for several partitions in one round trip.

        Returns:
            Those whose master has answered.

        Raises:
            redis.RedisError: none has.
        """
        replies = self._run_leases(asked)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            replies = self._run_leases(asked, known=False)
        found = {
            partition: Lease(reply[0], reply[1] or None, reply[2])
            for (partition, _), reply in zip(asked, replies, strict=True)
            if not isinstance(reply, Exception)
        }
        errors = [reply for reply in replies if isinstance(reply, Exception)]
        if errors and not found:
            raise errors[0]
        if errors:
            logger.warning("%d leases can't be renewed or seen for now: %s", len(errors), errors[0])
        return found

    def _run_leases(self, asked: Sequence[tuple[int, tuple[str, int]]], *, known: bool = True) -> list[Any]:
        pipe = self._client.pipeline(transaction=False)
        run, script = (pipe.evalsha, LEASE.sha) if known else (pipe.eval, LEASE.source)
        for partition, (mode, epoch) in asked:
            run(script, 1, self._key(partition), self.owner, self._lease_ms, mode, epoch)
        return pipe.execute_apart() if isinstance(pipe, ClusterPipeline) else pipe.execute(raise_on_error=False)

    def _script(self, script: Script, key: str, *args: Any) -> Any:
        try:
            return self._client.evalsha(script.sha, 1, key, *args)
        except NoScriptError:
            return self._client.eval(script.source, 1, key, *args)

    @property
    def _lease_ms(self) -> int:
        return int(self._options.lease_seconds * 1000)

    def _name(self, name: str) -> str:
        return f"{self._options.prefix}:{name}"

    def _key(self, partition: int) -> str:
        return PartitionNames(f"{{{self._options.prefix}:{partition}}}").key("owner")
