"""Telling a living processor from the lease of a dead one."""

from __future__ import annotations

import threading
import time

import pytest

from guildstream.cli.leases import others_work
from guildstream.clock import SYSTEM_CLOCK
from guildstream.connections import connect_redis
from guildstream.keys import Keys

KEYS = Keys("t")
OWNER = KEYS.partition(1).owner


@pytest.mark.parametrize(
    ("lease_ms", "renewed", "works"), [(None, False, False), (500, False, False), (500, True, True)]
)
def test_only_a_lease_that_is_renewed_is_alive(
    redis_url: str, lease_ms: int | None, renewed: bool, works: bool
) -> None:
    with connect_redis(redis_url) as client:
        if lease_ms is not None:
            client.hset(OWNER, mapping={"owner": "x", "epoch": 1, "until_ms": SYSTEM_CLOCK.now_ms() + lease_ms})

        def pause(seconds: float) -> bool:
            if renewed:
                client.hset(OWNER, "until_ms", SYSTEM_CLOCK.now_ms() + 5_000)
            return threading.Event().wait(seconds)

        began = time.monotonic()
        assert others_work(client, KEYS, 2, lease_seconds=0.5, pause=pause) is works
        if lease_ms is None:
            assert time.monotonic() - began < 0.2
