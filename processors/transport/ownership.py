"""Who owns which partition: leases in Redis with fencing epochs, kept by a thread of their own.

The thread renews whatever the event loop is busy with. An owner token is random for each process and
the epoch counts hand-overs, so that a failover that rewinds the counter can't revive an old owner.
"""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

from redis.exceptions import NoScriptError, RedisError

from guildstream.connections import connect_redis
from processors.transport.options import TransportOptions
from processors.transport.partition import PartitionNames
from processors.transport.scripts import CLAIM, RELEASE

__all__ = ["LeaseKeeper", "LeaseListener"]

logger = logging.getLogger("guildstream.transport")


@dataclass(frozen=True, slots=True)
class LeaseListener:
    """Who is told; called from the keeper's thread.

    Attributes:
        gained: partition and epoch.
        lost: partition.
    """

    gained: Callable[[int, int], object]
    lost: Callable[[int], object]


class LeaseKeeper:
    """Claims every free partition of a deployment, and renews what it holds."""

    def __init__(self, options: TransportOptions, listener: LeaseListener) -> None:
        self.owner = secrets.token_hex(12).encode()
        self._options = options
        self._listener = listener
        self._client = connect_redis(options.redis_url, name=f"{options.prefix}-leases")
        self._held: dict[int, int] = {}
        self._stopping = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="leases", daemon=True)
        self.healthy = True

    def start(self) -> None:
        """Begin to claim."""
        self._thread.start()

    def stop(self) -> None:
        """Stop to claim and renew; leases held are not given back. Blocks for one round trip at most."""
        self._stopping.set()
        self._thread.join(timeout=self._options.lease_seconds)
        self._client.close()

    def release(self, partition: int) -> None:
        """Give one lease back, so that the next owner may begin at once. Blocks for a round trip."""
        with self._lock:
            epoch = self._held.pop(partition, None)
        if epoch is None:
            return
        try:
            self._eval(RELEASE.source, RELEASE.sha, partition, epoch)
        except RedisError as error:
            logger.warning("lease of partition %d could not be given back, it will expire: %s", partition, error)

    def forget(self, partition: int) -> None:
        """This lease is lost."""
        with self._lock:
            self._held.pop(partition, None)

    def _run(self) -> None:
        pause = self._options.lease_seconds / 5
        while not self._stopping.is_set():
            try:
                self._round()
                self.healthy = True
            except (RedisError, OSError) as error:
                self.healthy = False
                logger.warning("leases can't be renewed for now: %s", error)
            self._stopping.wait(pause)

    def _round(self) -> None:
        """One round trip for all partitions: renew what is held, claim what is free."""
        with self._lock:
            held = dict(self._held)
        replies = self._claim_all(held)
        if any(isinstance(reply, NoScriptError) for reply in replies):
            self._client.script_load(CLAIM.source)
            replies = self._claim_all(held)
        for partition, reply in enumerate(replies):
            if isinstance(reply, Exception):
                raise reply
            self._learn(partition, held.get(partition), reply)

    def _claim_all(self, held: dict[int, int]) -> list[int | Exception]:
        pipe = self._client.pipeline(transaction=False)
        lease_ms = int(self._options.lease_seconds * 1000)
        for partition in range(self._options.partitions):
            pipe.evalsha(CLAIM.sha, 1, self._key(partition), self.owner, lease_ms, held.get(partition, ""))
        return pipe.execute(raise_on_error=False)

    def _learn(self, partition: int, epoch: int | None, reply: int) -> None:
        with self._lock:
            released = epoch is not None and partition not in self._held
            if released or self._stopping.is_set():
                return
            if reply > 0:
                self._held[partition] = reply
            elif epoch is not None:
                del self._held[partition]
        if epoch is None and reply > 0:
            self._listener.gained(partition, reply)
        elif epoch is not None and reply <= 0:
            logger.error("the lease of partition %d was lost: another worker has it", partition)
            self._listener.lost(partition)

    def _eval(self, source: str, sha: str, partition: int, epoch: int) -> None:
        try:
            self._client.evalsha(sha, 1, self._key(partition), self.owner, epoch)
        except NoScriptError:
            self._client.eval(source, 1, self._key(partition), self.owner, epoch)

    def _key(self, partition: int) -> str:
        return PartitionNames(f"{{{self._options.prefix}:{partition}}}").key("owner")
