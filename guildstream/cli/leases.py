"""Whether processors are at work on a deployment, told by their leases."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import redis

from guildstream.clock import SYSTEM_CLOCK
from guildstream.keys import Keys

__all__ = ["others_work"]

_POLL_SECONDS: Final = 0.1


def others_work(
    client: redis.Redis, keys: Keys, partitions: int, *, lease_seconds: float, pause: Callable[[float], bool]
) -> bool:
    """Whether a processor holds leases of this deployment.

    Returns at once where there are none. A dead processor's lease may linger: then this waits until one
    is renewed, which only the living do, or until all have run out.

    Args:
        client: Redis.
        keys: names.
        partitions: P.
        lease_seconds: how long a lease lasts.
        pause: waits for so many seconds; true to stop.
    """
    first = _leases(client, keys, partitions)
    if max(first, default=0) <= SYSTEM_CLOCK.now_ms():
        return False
    deadline = SYSTEM_CLOCK.monotonic() + lease_seconds + 1
    while SYSTEM_CLOCK.monotonic() < deadline and not pause(_POLL_SECONDS):
        if any(now > before for now, before in zip(_leases(client, keys, partitions), first, strict=True)):
            return True
    return False


def _leases(client: redis.Redis, keys: Keys, partitions: int) -> list[int]:
    """When each partition's lease runs out, milliseconds since the epoch; 0 where nobody holds it."""
    pipe = client.pipeline(transaction=False)
    for number in range(partitions):
        pipe.hget(keys.partition(number).owner, "until_ms")
    return [int(until or 0) for until in pipe.execute()]
