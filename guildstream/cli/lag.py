"""``guildstream lag``: how far processor and sink are behind."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Final

import click
import redis

from guildstream.cli.invocation import Invocation, data_dir_option, json_option, redis_url_of
from guildstream.cli.output import as_json_object, as_table
from guildstream.cli.pipeline_state import PartitionState, existing_deployment, read_partitions, talking_to_redis
from guildstream.clock import SYSTEM_CLOCK
from guildstream.consumers import SINK
from guildstream.keys import Keys

__all__ = ["lag"]

_COLUMNS: Final = (
    "partition",
    "processor_entries",
    "processor_seconds",
    "sink_entries",
    "sink_seconds",
    "owner",
    "epoch",
)


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far one partition is behind.

    Attributes:
        partition: its number.
        processor_entries: events entries not committed; before Redis 7 counted up to 5,000.
        processor_seconds: age of the oldest of them.
        sink_entries: results entries not loaded.
        sink_seconds: age of the oldest events entry that is not in PostgreSQL.
        owner: the worker that holds the lease, None for nobody.
        epoch: of the lease.
    """

    partition: int
    processor_entries: int
    processor_seconds: float
    sink_entries: int
    sink_seconds: float
    owner: str | None
    epoch: int


@click.command()
@json_option
@data_dir_option
@click.pass_obj
def lag(invocation: Invocation, *, as_json: bool) -> int:
    """Show how far processor and sink are behind in each partition, in entries and seconds.

    Entries of the processor are what ``XINFO GROUPS`` tells (from Redis 7 on), within a commit interval.
    """
    with invocation.running_servers(database=False) as settings, talking_to_redis(redis_url_of(settings)) as client:
        keys = Keys(settings.prefix)
        deployment = existing_deployment(client, keys)
        lags = _read(client, keys, deployment.partitions) if deployment else []
    total = {
        "processor_entries": sum(each.processor_entries for each in lags),
        "processor_seconds": max((each.processor_seconds for each in lags), default=0.0),
        "sink_entries": sum(each.sink_entries for each in lags),
        "sink_seconds": max((each.sink_seconds for each in lags), default=0.0),
    }
    if as_json:
        click.echo(as_json_object({"totals": total, "partitions": [asdict(each) for each in lags]}))
    elif not lags:
        click.echo("nothing was published here yet")
    else:
        rows = [[getattr(each, name) for name in _COLUMNS] for each in lags]
        click.echo(as_table(_COLUMNS, [[*row[:5], row[5] or "nobody", row[6]] for row in rows]))
    return 0


def _read(client: redis.Redis, keys: Keys, partitions: int) -> list[PartitionLag]:
    states = read_partitions(client, keys, partitions)
    pipe: Any = client.pipeline(transaction=False)
    for state in states:
        pipe.hget(keys.partition(state.partition).consumers, SINK)
    sinks = [(position or b"0-0").decode() for position in pipe.execute()]
    pipe = client.pipeline(transaction=False)
    for state, sink in zip(states, sinks, strict=True):
        events = keys.partition(state.partition).events
        pipe.xrange(events, min=f"({state.committed_id}", count=1)
        pipe.xrange(events, min=f"({sink}", count=1)
    oldest = pipe.execute()
    now_ms = SYSTEM_CLOCK.now_ms()
    return [
        _lag(state, _age(now_ms, oldest[2 * index]), _age(now_ms, oldest[2 * index + 1]))
        for index, state in enumerate(states)
    ]


def _lag(state: PartitionState, processor_seconds: float, sink_seconds: float) -> PartitionLag:
    return PartitionLag(
        partition=state.partition,
        processor_entries=state.lag_entries,
        processor_seconds=processor_seconds,
        sink_entries=state.results_waiting,
        sink_seconds=sink_seconds,
        owner=state.owner,
        epoch=state.epoch,
    )


def _age(now_ms: int, page: list[tuple[bytes, Any]]) -> float:
    return max(0, now_ms - int(page[0][0].partition(b"-")[0])) / 1000 if page else 0.0
