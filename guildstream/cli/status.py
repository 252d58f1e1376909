"""``guildstream status``: where the pipeline stands."""

from __future__ import annotations

from collections import Counter
from contextlib import ExitStack
from dataclasses import asdict
from typing import Any, Final

import click

from guildstream.cli.database import reading
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn, json_option, redis_url_of
from guildstream.cli.output import as_json_object, as_table
from guildstream.cli.pipeline_state import (
    PartitionState,
    existing_deployment,
    read_loads,
    read_partitions,
    talking_to_redis,
)
from guildstream.deployment import Deployment
from guildstream.errors import DatabaseUnavailable
from guildstream.keys import Keys

__all__ = ["status"]

_COLUMNS: Final = ("partition", "events", "lag", "behind_ms", "commits", "results", "loaded", "dead", "owner")


@click.command()
@json_option
@data_dir_option
@click.pass_obj
def status(invocation: Invocation, as_json: bool) -> int:
    """Show each partition's lag, commits, owner and dead letters, and how far PostgreSQL has come.

    Exits with 1 where PostgreSQL can't be reached; what Redis knows is shown all the same.
    """
    with ExitStack() as stack:
        settings = stack.enter_context(invocation.running_servers())
        client = stack.enter_context(talking_to_redis(redis_url_of(settings)))
        keys = Keys(settings.prefix)
        deployment = existing_deployment(client, keys)
        states = [] if deployment is None else read_partitions(client, keys, deployment.partitions)
        problem = None if deployment is None else _add_loads(database_dsn(settings), deployment, states)
    click.echo(_json(deployment, states, problem) if as_json else _text(deployment, states))
    if problem:
        click.echo(f"guildstream: {problem}", err=True)
    return 1 if problem else 0


def _add_loads(dsn: str, deployment: Deployment, states: list[PartitionState]) -> str | None:
    try:
        with reading(dsn) as connection:
            read_loads(connection, deployment, states)
    except DatabaseUnavailable as error:
        return str(error)
    return None


def _totals(states: list[PartitionState]) -> dict[str, Any]:
    counters: Counter[str] = Counter()
    for state in states:
        counters.update(state.counters)
    return {
        "lag_entries": sum(state.lag_entries for state in states),
        "behind_ms": max((state.behind_ms for state in states), default=0),
        "commits": sum(state.commits for state in states),
        "positions": sum(state.positions for state in states),
        "loaded_positions": sum(state.loaded_positions for state in states),
        "results_waiting": sum(state.results_waiting for state in states),
        "dead": sum(state.dead for state in states),
        "owned_partitions": sum(state.owner is not None for state in states),
        "counters": dict(sorted(counters.items())),
    }


def _json(deployment: Deployment | None, states: list[PartitionState], problem: str | None) -> str:
    return as_json_object(
        {
            "deployment": None if deployment is None else asdict(deployment),
            "totals": _totals(states),
            "partitions": [asdict(state) for state in states],
            "problem": problem,
        }
    )


def _text(deployment: Deployment | None, states: list[PartitionState]) -> str:
    if deployment is None:
        return "nothing was published here yet"
    busy = [state for state in states if state.last_id != "0-0" or state.commits]
    totals = _totals(states)
    outcomes = ", ".join(f"{name} {count:,}" for name, count in totals["counters"].items() if count)
    lines = [
        f"deployment {deployment.id}, {deployment.partitions} partitions, {len(busy)} of them used",
        f"events: {outcomes or 'none'}",
        f"lag: {totals['lag_entries']:,} entries; results waiting for the sink: {totals['results_waiting']:,}",
        f"dead letters: {totals['dead']:,}",
    ]
    if busy:
        rows = [
            [
                state.partition,
                state.positions,
                state.lag_entries,
                state.behind_ms,
                state.commits,
                state.results_waiting,
                state.loaded_positions,
                state.dead,
                state.owner or "nobody",
            ]
            for state in busy
        ]
        lines += ["", as_table(_COLUMNS, rows)]
    return "\n".join(lines)
