"""``guildstream dead``: events that could not be processed."""

from __future__ import annotations

import re
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any, Final

import click
import redis
from redis.exceptions import OutOfMemoryError

from guildstream.cli.invocation import Invocation, data_dir_option, json_option, redis_url_of
from guildstream.cli.output import as_json_list, as_json_object, as_table
from guildstream.cli.pipeline_state import existing_deployment, talking_to_redis
from guildstream.dead_letters import DeadLetter, find_letters, letters, requeue
from guildstream.errors import ConfigError, RedisUnavailable
from guildstream.keys import Keys

__all__ = ["dead"]

_COLUMNS: Final = ("id", "partition", "reason", "detail", "origin", "payload")
_SHOWN_BYTES: Final = 300
_SHOWN_IN_TABLE: Final = 60
_ID: Final = re.compile(r"^\d+-\d+$")


@click.group()
@data_dir_option
def dead() -> None:
    """Look at events that could not be processed, and try them again."""


@dead.command("list")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@click.option("--reason", help="Only this reason, such as not_json.")
@click.option("--limit", type=click.IntRange(1), default=1000, show_default=True, help="At most so many.")
@click.option("--full", is_flag=True, help="Whole payloads; else their first 300 bytes.")
@json_option
@data_dir_option
@click.pass_obj
def list_command(
    invocation: Invocation, *, partition: int | None, reason: str | None, limit: int, full: bool, as_json: bool
) -> int:
    """List dead letters, oldest first in each partition, with the reason for each."""
    with _redis(invocation) as (client, keys):
        rows: list[list[Any]] = []
        for number in _partitions(client, keys, partition):
            for letter in letters(client, keys, number):
                if len(rows) < limit and reason in (None, letter.reason):
                    rows.append(_row(letter, full=full))
            if len(rows) >= limit:
                break
    if as_json:
        click.echo(as_json_list(_COLUMNS, rows))
    elif rows:
        click.echo(as_table(_COLUMNS, rows if full else [_in_table(row) for row in rows]))
    else:
        click.echo("no dead letters")
    return 0


@dead.command("show")
@click.argument("letter_id", metavar="ID")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@json_option
@data_dir_option
@click.pass_obj
def show_command(invocation: Invocation, *, letter_id: str, partition: int | None, as_json: bool) -> int:
    """Show one dead letter with all of its payload and the traceback. Exits with 1 if there is none of this id."""
    _check_id(letter_id)
    with _redis(invocation) as (client, keys):
        found = find_letters(client, keys, _partitions(client, keys, partition), letter_id)
    if not found:
        click.echo(f"guildstream: there is no dead letter {letter_id}", err=True)
        return 1
    rows = [_row(letter, full=True) for letter in found]
    if as_json:
        click.echo(as_json_list(_COLUMNS, rows))
    else:
        texts = ("\n".join(f"{name:<10} {value}" for name, value in zip(_COLUMNS, row, strict=True)) for row in rows)
        click.echo("\n\n".join(texts))
    return 0


@dead.command("requeue")
@click.argument("letter_ids", metavar="[ID]...", nargs=-1)
@click.option("--reason", help="All of this reason, such as processing_failed.")
@click.option("--all", "everything", is_flag=True, help="All of them.")
@click.option("--partition", type=click.IntRange(0), help="Only this partition.")
@json_option
@data_dir_option
@click.pass_obj
def requeue_command(
    invocation: Invocation,
    *,
    letter_ids: Sequence[str],
    reason: str | None,
    everything: bool,
    partition: int | None,
    as_json: bool,
) -> int:
    """Move dead letters back into the stream of events, to be processed again.

    Each letter is moved in one atomic step and counts once, however often this is run. What fails again is
    dead-lettered again, with the origin that it had. Exits with 1 if an ID that was named isn't there.
    """
    if sum((bool(letter_ids), reason is not None, everything)) != 1:
        raise ConfigError("say which: IDs, or --reason REASON, or --all")
    for letter_id in letter_ids:
        _check_id(letter_id)
    with _redis(invocation) as (client, keys):
        partitions = _partitions(client, keys, partition)
        chosen, missing = _choose(client, keys, partitions, letter_ids, reason)
        try:
            moved = sum(requeue(client, keys, number, ids) for number, ids in chosen.items())
        except OutOfMemoryError as error:
            raise RedisUnavailable(
                f"Redis has no room for it now; nothing is lost, try again later: {error}"
            ) from error
    if as_json:
        click.echo(as_json_object({"requeued": moved, "missing": missing}))
    else:
        click.echo(f"requeued {moved}")
    for letter_id in missing:
        click.echo(f"guildstream: there is no dead letter {letter_id}", err=True)
    return 1 if missing else 0


def _choose(
    client: redis.Redis, keys: Keys, partitions: Sequence[int], letter_ids: Sequence[str], reason: str | None
) -> tuple[dict[int, list[str]], list[str]]:
    """By partition, the ids to move; and those that aren't there."""
    if not letter_ids:
        return {
            number: [letter.id for letter in letters(client, keys, number) if reason in (None, letter.reason)]
            for number in partitions
        }, []
    chosen: dict[int, list[str]] = {}
    missing: list[str] = []
    for letter_id in dict.fromkeys(letter_ids):
        found = find_letters(client, keys, partitions, letter_id)
        if len(found) > 1:
            numbers = ", ".join(str(letter.partition) for letter in found)
            raise ConfigError(f"{letter_id} is in partitions {numbers}: name one with --partition")
        if found:
            chosen.setdefault(found[0].partition, []).append(letter_id)
        else:
            missing.append(letter_id)
    return chosen, missing


@contextmanager
def _redis(invocation: Invocation) -> Generator[tuple[redis.Redis, Keys], None, None]:
    with invocation.running_servers(database=False) as settings, talking_to_redis(redis_url_of(settings)) as client:
        yield client, Keys(settings.prefix)


def _partitions(client: redis.Redis, keys: Keys, partition: int | None) -> Sequence[int]:
    if partition is not None:
        return (partition,)
    deployment = existing_deployment(client, keys)
    return range(deployment.partitions if deployment else 0)


def _check_id(letter_id: str) -> None:
    if not _ID.match(letter_id):
        raise ConfigError(
            f"{letter_id!r} is no id of a dead letter: `guildstream dead list` shows them, as 1700000000000-0"
        )


def _row(letter: DeadLetter, *, full: bool) -> list[Any]:
    payload = letter.payload if full else letter.payload[:_SHOWN_BYTES]
    shown = payload.decode(errors="backslashreplace")
    return [letter.id, letter.partition, letter.reason, letter.detail, letter.origin, shown]


def _in_table(row: Sequence[Any]) -> list[Any]:
    """A row without what would break the table: tracebacks have many lines, payloads are long."""
    *others, detail, origin, payload = row
    lines = detail.strip().splitlines() or [""]
    return [*others, _short(lines[-1 if lines[0].startswith("Traceback") else 0]), origin, _short(payload)]


def _short(payload: str) -> str:
    return payload if len(payload) <= _SHOWN_IN_TABLE else f"{payload[:_SHOWN_IN_TABLE]}…"
