"""``guildstream erase``: forget a member, or a guild."""

from __future__ import annotations

import click

from guildstream.cli.database import reading
from guildstream.cli.decisions import GUILD_ID, USER_ID, decide_on
from guildstream.cli.invocation import Invocation, data_dir_option, database_dsn
from guildstream.cli.output import as_json_object
from guildstream.logs import configure_logging

__all__ = ["erase"]

_RECEIPT = """
SELECT action, occurred_at, recorded_at, detail FROM guildstream.audit_log
WHERE guild_id = %s ORDER BY recorded_at DESC LIMIT 1
"""


@click.command()
@click.argument("guild_id", type=GUILD_ID)
@click.argument("user_id", type=USER_ID, required=False)
@click.option("--keep-out", is_flag=True, help="Record nothing further.")
@click.option("--yes", is_flag=True, help="Don't ask.")
@data_dir_option
@click.pass_obj
def erase(invocation: Invocation, guild_id: int, user_id: int | None, *, keep_out: bool, yes: bool) -> int:
    """Forget USER_ID in GUILD_ID, or all of the guild where no user is named, and print the receipt.

    Facts stay as nobody's, so that sums don't change; a guild's facts go. It can't be undone.
    """
    what = f"member {user_id} of guild {guild_id}" if user_id is not None else f"all of guild {guild_id}"
    if not yes:
        click.confirm(f"forget {what} for good?", abort=True)
    with invocation.own_servers() as (settings, _):
        configure_logging(settings, "cli")
        decide_on(settings, "erase", guild_id, {"keep_out": keep_out}, user_id)
        with reading(database_dsn(settings)) as connection:
            row = connection.execute(_RECEIPT, (guild_id,)).fetchone()
    names = ("action", "occurred_at", "recorded_at", "detail")
    click.echo(as_json_object(dict(zip(names, row or (), strict=row is not None))))
    return 0
