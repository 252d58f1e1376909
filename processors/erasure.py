"""What a partition still holds of whom an erasure names: found by looking at all of it, since nothing lists it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from guildstream.events import Erase, Event
from processors.rules.partition import PartitionRules
from processors.rules.reaction_memory import Keys, names_anyone
from processors.rules.tables import TABLE_SPECS
from processors.transport import Partition

__all__ = ["erasures", "name_erased", "purge"]

_SCANNED: Final = 1000
_REACTIONS: Final = next(spec for spec in TABLE_SPECS if spec.name == "reactions")


async def name_erased(partition: Partition, rules: PartitionRules, events: Sequence[Event]) -> None:
    """Tell the rules what is stored of guilds and members that these events erase, and take back their notices.

    Call it after the events' ``rounds``.

    Raises:
        redis.RedisError: Redis can't be reached; nothing but notices was changed, and it may be done again.
    """
    guilds, members = erasures(events)
    for guild_id in guilds:
        rules.name_guild_state(guild_id, await _stored_keys(partition, guild_id))
    for guild_id, user_ids in members.items():
        keys = await _buckets_of(partition, guild_id, user_ids)
        await partition.prefetch(rules.name_reactions(guild_id, keys))
    if guilds or members:
        await _delete_notices(partition, [event for event in events if isinstance(event, Erase)])


async def purge(partition: Partition, rules: PartitionRules, guild_id: int, position: int) -> None:
    """Forget a removed guild whose time is over.

    Args:
        partition: of the guild.
        rules: name the guild in ``purges``, or an event of it in ``outlives``.
        guild_id: the guild.
        position: of the first event that comes after.

    Raises:
        redis.RedisError: Redis can't be reached; nothing was changed.
    """
    await partition.prefetch({"guilds": {str(guild_id)}})
    rules.name_guild_state(guild_id, await _stored_keys(partition, guild_id))
    rules.purge(guild_id)
    rules.place_erasure(position - 1)


def erasures(events: Iterable[Event]) -> tuple[set[int], dict[int, set[int]]]:
    """Guilds that these events erase as a whole, and by guild the members that they erase."""
    guilds: set[int] = set()
    members: dict[int, set[int]] = {}
    for event in events:
        if event.__class__ is Erase:
            guild_id = int(event.guild_id or 0)
            if event.user_id is None:
                guilds.add(guild_id)
            else:
                members.setdefault(guild_id, set()).add(int(event.user_id))
    return guilds, members


async def _stored_keys(partition: Partition, guild_id: int) -> Keys:
    """The keys of a guild in tables that are not in memory."""
    found: Keys = {}
    client: Any = partition.client
    for spec in TABLE_SPECS:
        if not spec.preload:
            keys = found[spec.name] = set()
            async for key, _ in client.hscan_iter(partition.names.state(spec.name), f"{guild_id}:*", _SCANNED):
                keys.add(key.decode())
    return found


async def _buckets_of(partition: Partition, guild_id: int, user_ids: set[int]) -> set[str]:
    """Keys of a guild's stored reactions that name one of these members."""
    client: Any = partition.client
    scan = client.hscan_iter(partition.names.state(_REACTIONS.name), f"{guild_id}:*", _SCANNED)
    return {key.decode() async for key, value in scan if names_anyone(_REACTIONS.decode(value), user_ids)}


async def _delete_notices(partition: Partition, events: Sequence[Erase]) -> None:
    """Delete what notices still say of those erased, up to the erasure; it may be done any number of times.

    A notice whose commit is on its way just now is not seen, and goes with the others when they are 7 days old.
    """
    client: Any = partition.client
    stream = partition.names.stream("notices")
    last = "-"
    while entries := await client.xrange(stream, min=last, count=_SCANNED):
        last = f"({entries[-1][0].decode()}"
        gone = [entry_id for entry_id, fields in entries if _tells_of(orjson.loads(fields[b"n"]), events)]
        if gone:
            await client.xdel(stream, *gone)


def _tells_of(notice: dict[str, Any], events: Sequence[Erase]) -> bool:
    return any(
        notice["guild_id"] == event.guild_id and notice["ts"] <= event.ts and event.user_id in {None, notice["user_id"]}
        for event in events
    )
