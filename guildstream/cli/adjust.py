"""``guildstream adjust``: points, messages and voice time by decision."""

from __future__ import annotations

import click

from guildstream.cli.decisions import GUILD_ID, USER_ID, decide
from guildstream.cli.invocation import Invocation, data_dir_option

__all__ = ["adjust"]

_AMOUNT = click.IntRange(-(2**53), 2**53)


@click.command()
@click.argument("guild_id", type=GUILD_ID)
@click.argument("user_id", type=USER_ID)
@click.option("--xp", type=_AMOUNT, help="Points to give, or to take where negative.")
@click.option("--set-xp", type=click.IntRange(0, 2**53), help="Points that the member has then.")
@click.option("--messages", type=_AMOUNT, help="Messages to add.")
@click.option("--voice-ms", type=_AMOUNT, help="Milliseconds in voice to add.")
@click.option("--reason", help="Kept in the ledger.")
@click.option("--by", type=USER_ID, help="Who decided it; kept in the ledger.")
@data_dir_option
@click.pass_obj
def adjust(
    invocation: Invocation,
    guild_id: int,
    user_id: int,
    *,
    xp: int | None,
    set_xp: int | None,
    messages: int | None,
    voice_ms: int | None,
    reason: str | None,
    by: int | None,
) -> int:
    """Give or take what a member has, and wait until it is in force.

    Negative amounts are written as --xp=-50. Nothing falls below 0; the ledger keeps what was asked
    and what it came to.
    """
    amounts = {"xp": xp, "set_xp": set_xp, "messages": messages, "voice_ms": voice_ms}
    data: dict[str, int | str] = {name: value for name, value in amounts.items() if value is not None}
    if not data:
        raise click.UsageError("nothing to adjust: give --xp, --set-xp, --messages or --voice-ms")
    if reason is not None:
        data["reason"] = reason
    if by is not None:
        data["by"] = by
    decide(invocation, "adjust", guild_id, data, user_id)
    click.echo(f"adjusted member {user_id} of guild {guild_id}")
    return 0
