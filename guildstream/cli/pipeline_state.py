"""Where every partition stands, read from Redis and PostgreSQL at one moment."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import psycopg
import redis

from guildstream.clock import SYSTEM_CLOCK
from guildstream.connections import connect_redis
from guildstream.consumers import count_after
from guildstream.deployment import Deployment, ensure_deployment
from guildstream.errors import RedisUnavailable
from guildstream.keys import Keys
from guildstream.replay.writer import parse_id

__all__ = ["PartitionState", "existing_deployment", "read_loads", "read_partitions", "talking_to_redis"]

_LOADS: Final = """
SELECT partition, results_id, commit, events_id, position, loaded_at
FROM guildstream.sink_offsets WHERE deployment = %s AND generation = %s
"""


@dataclass(slots=True)
class PartitionState:
    """One partition.

    Attributes:
        partition: its number.
        last_id: the newest entry of its events stream.
        committed_id: the last entry that the processor committed.
        commits: how often it committed.
        positions: events it committed, heartbeats included.
        lag_entries: entries not committed yet; before Redis 7 counted up to 5,000.
        behind_ms: how much older the committed entry is than the newest; 0 where there is no lag.
        results_waiting: results entries in Redis.
        dead: dead letters in Redis.
        owner: who holds the lease, if anybody does.
        epoch: the fencing epoch.
        counters: events by outcome.
        loaded_id: the last events entry that is in PostgreSQL; None where it can't be asked.
        loaded_commit: the commit that brought it there.
        loaded_positions: events loaded, heartbeats included.
        loaded_at: when that was.
    """

    partition: int
    last_id: str = "0-0"
    committed_id: str = "0-0"
    commits: int = 0
    positions: int = 0
    lag_entries: int = 0
    behind_ms: int = 0
    results_waiting: int = 0
    dead: int = 0
    owner: str | None = None
    epoch: int = 0
    counters: Counter[str] = field(default_factory=Counter)
    loaded_id: str | None = None
    loaded_commit: int = 0
    loaded_positions: int = 0
    loaded_at: datetime | None = None


@contextmanager
def talking_to_redis(url: str) -> Generator[redis.Redis, None, None]:
    """A client whose connection errors are ours.

    Raises:
        RedisUnavailable: within the block Redis could not be reached.
    """
    try:
        with connect_redis(url, name="guildstream-cli") as client:
            yield client
    except (redis.ConnectionError, redis.TimeoutError) as error:
        raise RedisUnavailable(f"Redis can't be reached: {error}") from error


def existing_deployment(client: redis.Redis, keys: Keys) -> Deployment | None:
    """The deployment that Redis holds, whatever the settings say of its partitions; None if there is none."""
    partitions: Any = client.hget(keys.meta, "partitions")
    return None if partitions is None else ensure_deployment(client, keys, int(partitions))


def read_partitions(client: redis.Redis, keys: Keys, partitions: int) -> list[PartitionState]:
    """The state of each partition as Redis knows it; two round trips, plus one where lag is counted."""
    # Loosely typed: the annotations of execute_command are incomplete in redis-py.
    pipe: Any = client.pipeline(transaction=False)
    for number in range(partitions):
        names = keys.partition(number)
        pipe.execute_command("XINFO", "STREAM", names.events)
        pipe.hgetall(names.offset)
        pipe.hgetall(names.counters)
        pipe.hgetall(names.owner)
        pipe.xlen(names.results)
        pipe.xlen(names.dead)
    replies = pipe.execute(raise_on_error=False)
    states = [_partition_state(number, replies[number * 6 : number * 6 + 6]) for number in range(partitions)]
    _count_lag(client, keys, [state for state in states if state.lag_entries < 0])
    return states


def read_loads(connection: psycopg.Connection[Any], deployment: Deployment, states: list[PartitionState]) -> None:
    """Complete the states with how far PostgreSQL has come."""
    for number, _results_id, commit, events_id, position, loaded_at in connection.execute(
        _LOADS, (deployment.id, deployment.generation)
    ):
        state = states[number]
        state.loaded_id, state.loaded_commit, state.loaded_at = events_id, commit, loaded_at
        state.loaded_positions = position


def _partition_state(number: int, replies: list[Any]) -> PartitionState:
    stream, offset, counters, owner, results, dead = replies
    state = PartitionState(partition=number)
    # XINFO fails for a stream that doesn't exist: nothing was published to this partition yet.
    info = _as_mapping(stream)
    state.last_id = _text(info.get(b"last-generated-id"), "0-0")
    state.committed_id = _text(offset.get(b"last_id"), "0-0")
    state.commits, state.positions = int(offset.get(b"commit", 0)), int(offset.get(b"positions", 0))
    state.counters = Counter({name.decode(): int(value) for name, value in counters.items()})
    state.results_waiting, state.dead = int(results), int(dead)
    state.epoch = int(owner.get(b"epoch", 0))
    if int(owner.get(b"until_ms", 0)) > SYSTEM_CLOCK.now_ms():
        state.owner = _text(owner.get(b"owner"), "")
    if parse_id(state.last_id) > parse_id(state.committed_id):
        added, entries = info.get(b"entries-added"), int(offset.get(b"entries", 0))
        state.lag_entries = -1 if added is None else int(added) - entries
        newest, committed = parse_id(state.last_id)[0], parse_id(state.committed_id)[0]
        state.behind_ms = newest - committed if committed else 0
    return state


def _count_lag(client: redis.Redis, keys: Keys, states: list[PartitionState]) -> None:
    pipe = client.pipeline(transaction=False)
    for state in states:
        count_after(pipe, keys.partition(state.partition).events, state.committed_id)
    for state, counted in zip(states, pipe.execute(), strict=True):
        state.lag_entries = int(counted)


def _as_mapping(reply: Any) -> Mapping[bytes, Any]:
    if isinstance(reply, dict):
        return {_bytes(name): value for name, value in reply.items()}
    if isinstance(reply, list):
        return dict(zip(reply[::2], reply[1::2], strict=True))
    return {}


def _bytes(name: Any) -> bytes:
    return name.encode() if isinstance(name, str) else name


def _text(value: Any, default: str) -> str:
    return default if value is None else value.decode() if isinstance(value, bytes) else str(value)
