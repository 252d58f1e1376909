"""Publishing from somebody's own hikari bot: its dispatches, without its noticing."""

from __future__ import annotations

from typing import Any, Final

from guildstream.discord.source import EventQueue, Source
from guildstream.discord.translation import Translator

__all__ = ["attach_hikari"]

_MESSAGE_CONTENT: Final = 1 << 15


def attach_hikari(bot: Any, queue: EventQueue, partitions: int) -> list[Source]:
    """Have a ``hikari.GatewayBot`` publish what its shards receive; before ``run`` or ``start``.

    The bot's event manager gets a class of its own whose raw hook publishes first and then does what
    it always did: exact sequence numbers, no listeners, no tasks.

    Returns:
        The sources of shards seen so far; it grows as shards connect.
    """
    manager = bot.event_manager
    translator = Translator(content_intent=bool(int(bot.intents) & _MESSAGE_CONTENT))
    sources: dict[int, Source] = {}
    found: list[Source] = []

    def publish(name: str, shard: Any, payload: Any) -> None:
        source = sources.get(shard.id)
        if source is None:
            source = sources[shard.id] = Source(
                queue, translator, shard=shard.id, shard_count=shard.shard_count, partitions=partitions
            )
            found.append(source)
        source.dispatch(name, shard._seq, payload)  # noqa: SLF001  # hikari has no public name for it

    base: Any = type(manager)

    def consume_raw_event(self: Any, event_name: str, shard: Any, payload: Any) -> None:
        publish(event_name, shard, payload)
        base.consume_raw_event(self, event_name, shard, payload)

    manager.__class__ = type(base.__name__, (base,), {"__slots__": (), "consume_raw_event": consume_raw_event})
    _follow_disconnects(bot, sources)
    return found


def _follow_disconnects(bot: Any, sources: dict[int, Source]) -> None:
    import hikari  # noqa: PLC0415  # only bots that have hikari come here

    async def on_disconnect(event: hikari.ShardDisconnectedEvent) -> None:
        if source := sources.get(event.shard.id):
            source.disconnected()

    bot.subscribe(hikari.ShardDisconnectedEvent, on_disconnect)
