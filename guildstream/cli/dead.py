"""``guildstream dead``: events that could not be processed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import click
import redis

from guildstream.cli.invocation import Invocation, data_dir_option, json_option, redis_url_of
from guildstream.cli.output import as_json_list, as_table
from guildstream.cli.pipeline_state import existing_deployment, talking_to_redis
from guildstream.keys import Keys

__all__ = ["dead"]

_COLUMNS: Final = ("id", "partition", "reason", "detail", "origin", "payload")
_PAGE: Final = 100
_SHOWN_BYTES: Final = 300
_SHOWN_IN_TABLE: Final = 60


@click.group()
@data_dir_option
def dead() -> None:
    """Look at events that could not be processed."""


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
    with invocation.running_servers(database=False) as settings, talking_to_redis(redis_url_of(settings)) as client:
        keys = Keys(settings.prefix)
        deployment = existing_deployment(client, keys)
        partitions = range(deployment.partitions if deployment else 0) if partition is None else (partition,)
        rows: list[list[Any]] = []
        for number in partitions:
            for row in _letters(client, keys, number, full=full):
                if len(rows) < limit and reason in (None, row[2]):
                    rows.append(row)
            if len(rows) >= limit:
                break
    if as_json:
        click.echo(as_json_list(_COLUMNS, rows))
    elif rows:
        click.echo(as_table(_COLUMNS, rows if full else [[*row[:-1], _short(row[-1])] for row in rows]))
    else:
        click.echo("no dead letters")
    return 0


def _letters(client: redis.Redis, keys: Keys, partition: int, *, full: bool) -> Iterator[list[Any]]:
    begin = "-"
    while entries := _page(client, keys.partition(partition).dead, begin):
        for entry_id, fields in entries:
            payload = fields.get(b"e", b"")
            shown = payload if full else payload[:_SHOWN_BYTES]
            words = [fields.get(name, b"").decode(errors="replace") for name in (b"reason", b"detail", b"origin")]
            yield [entry_id.decode(), partition, *words, shown.decode(errors="backslashreplace")]
        begin = f"({entries[-1][0].decode()}"


def _page(client: redis.Redis, stream: str, begin: str) -> list[tuple[bytes, dict[bytes, bytes]]]:
    reply: Any = client.xrange(stream, min=begin, count=_PAGE)
    page: list[tuple[bytes, dict[bytes, bytes]]] = reply
    return page


def _short(payload: str) -> str:
    return payload if len(payload) <= _SHOWN_IN_TABLE else f"{payload[:_SHOWN_IN_TABLE]}…"
