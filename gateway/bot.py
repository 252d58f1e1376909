"""The bot: hikari's, without its cache, its entities and its listeners."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import hikari
from hikari.impl import config, event_manager, gateway_bot

from gateway.resumption import ShardSession, prime
from gateway.shards import GatedShard
from guildstream.discord import Source

__all__ = ["ListeningBot", "OpenShard", "intents_from"]

_MEMBERS: Final = "members"
_MESSAGE_CONTENT: Final = "message_content"
#: What the contract's events come from; typing, invites, webhooks and the like are traffic for nothing.
_BASE_INTENTS: Final = (
    hikari.Intents.GUILDS
    | hikari.Intents.GUILD_MODERATION
    | hikari.Intents.GUILD_VOICE_STATES
    | hikari.Intents.GUILD_MESSAGES
    | hikari.Intents.GUILD_MESSAGE_REACTIONS
)


def intents_from(setting: str) -> hikari.Intents:
    """The intents to ask for: the unprivileged ones that events come from, and the privileged ones named."""
    named = {name.strip() for name in setting.split(",")}
    intents = _BASE_INTENTS
    if _MEMBERS in named:
        intents |= hikari.Intents.GUILD_MEMBERS
    if _MESSAGE_CONTENT in named:
        intents |= hikari.Intents.MESSAGE_CONTENT
    return intents


class OpenShard(Protocol):
    """What the bot needs to know of a shard that it starts."""

    source: Source
    shard: GatedShard | None

    def resumable(self) -> ShardSession | None:
        """The session to resume, if any."""
        ...


class _RawEvents(event_manager.EventManagerImpl):
    """hikari's event manager with nothing behind its raw hook but ours."""

    sources: Mapping[int, Source]

    def consume_raw_event(self, event_name: str, shard: Any, payload: Any) -> None:
        """Called by the shard right after it set its sequence number, before it reads on."""
        self.sources[shard.id].dispatch(event_name, shard._seq, payload)  # noqa: SLF001  # see resumption


class ListeningBot(gateway_bot.GatewayBot):
    """A ``GatewayBot`` that turns dispatches into events and does nothing else.

    Args:
        token: the bot's token.
        rest_url: Discord's REST API.
        intents: what to ask for.
        open_shard: called before a shard starts; may wait, for a lease.
        shut: whether shards are not to read just now.
        sources: by shard id; what ``open_shard`` opens must appear here.
    """

    def __init__(
        self,
        token: str,
        *,
        rest_url: str,
        intents: hikari.Intents,
        open_shard: Callable[[int, int], Awaitable[OpenShard]],
        shut: Callable[[], bool],
        sources: Mapping[int, Source],
    ) -> None:
        super().__init__(
            token,
            banner=None,
            logs=None,
            suppress_optimization_warning=True,
            cache_settings=config.CacheSettings(components=config.CacheComponents.NONE),
            intents=intents,
            auto_chunk_members=False,
            rest_url=rest_url,
        )
        events = _RawEvents(
            self._entity_factory, self._event_factory, intents, auto_chunk_members=False, cache=self._cache
        )
        events.sources = sources
        self._event_manager = events
        self._open_shard = open_shard
        self._shut = shut

    async def _start_one_shard(self, *, shard_id: int, shard_count: int, url: str, **presence: Any) -> None:
        opened = await self._open_shard(shard_id, shard_count)
        shard = GatedShard(
            shut=self._shut,
            disconnected=opened.source.disconnected,
            http_settings=self._http_settings,
            proxy_settings=self._proxy_settings,
            event_manager=self._event_manager,
            event_factory=self._event_factory,
            intents=self._intents,
            dumps=self._dumps,
            loads=self._loads,
            initial_activity=presence["activity"],
            initial_is_afk=presence["afk"],
            initial_idle_since=presence["idle_since"],
            initial_status=presence["status"],
            large_threshold=presence["large_threshold"],
            shard_id=shard_id,
            shard_count=shard_count,
            token=self._token,
            url=url,
        )
        session = opened.resumable()
        if session is not None:
            prime(shard, session)
        opened.shard = shard
        await shard.start()
        self._shards[shard_id] = shard
