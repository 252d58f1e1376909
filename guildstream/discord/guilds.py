"""Guilds, their channels, threads and roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

from guildstream.discord.payloads import Event, Payload, event, optional_id

__all__ = ["channel_event", "guild_updates", "role_delete", "role_update"]

_KINDS: Final = {
    0: "text",
    2: "voice",
    4: "category",
    5: "announcement",
    10: "announcement_thread",
    11: "thread",
    12: "private_thread",
    13: "stage",
    14: "directory",
    15: "forum",
    16: "media",
}
_MAX_TEXT: Final = 200
#: Channels and roles in one event; a guild has up to 500 and 250, an event 64 KiB, a name 400 bytes.
_MAX_ITEMS: Final = 60


def guild_updates(guild: Payload, ts: int) -> Iterator[Event]:
    """GUILD_CREATE and GUILD_UPDATE: the attributes, with channels, threads and roles, in as many events as they need.

    A list of channels or roles says how these are; it doesn't say that there are no others.
    """
    places = (*(guild.get("channels") or ()), *(guild.get("threads") or ()))
    channels = [channel_data(item) for item in places if int(item["id"])]
    roles = [role_data(item) for item in guild.get("roles") or ()]
    head = _attributes(guild)
    for at in range(0, max(len(channels), len(roles), 1), _MAX_ITEMS):
        lists = {"channels": channels[at : at + _MAX_ITEMS], "roles": roles[at : at + _MAX_ITEMS]}
        yield event("guild_update", ts, int(guild["id"]), head | {key: items for key, items in lists.items() if items})


def channel_event(kind: str, channel: Payload, ts: int) -> list[Event]:
    """CHANNEL_* and THREAD_*: the channel as it is now."""
    channel_id = int(channel["id"])
    return [event(kind, ts, int(channel["guild_id"]), channel_data(channel), channel_id=channel_id)]


def role_update(payload: Payload, ts: int) -> list[Event]:
    """GUILD_ROLE_CREATE and GUILD_ROLE_UPDATE."""
    return [event("role_update", ts, int(payload["guild_id"]), role_data(payload["role"]))]


def role_delete(payload: Payload, ts: int) -> list[Event]:
    """GUILD_ROLE_DELETE."""
    return [event("role_delete", ts, int(payload["guild_id"]), {"role_id": int(payload["role_id"])})]


def channel_data(channel: Payload) -> Event:
    """A channel's or thread's attributes; what the payload doesn't say is absent."""
    data: Event = {"channel_id": int(channel["id"])} | _common(channel)
    if "type" in channel:
        data["kind"] = _KINDS.get(channel["type"], channel["type"])
    if parent := optional_id(channel.get("parent_id")):
        data["parent"] = parent
    return data


def role_data(role: Payload) -> Event:
    """A role's attributes."""
    return {"role_id": int(role["id"])} | _common(role)


def _common(item: Payload) -> Event:
    data: Event = {}
    if item.get("name"):
        data["name"] = str(item["name"])[:_MAX_TEXT]
    if isinstance(item.get("position"), int):
        data["position"] = item["position"]
    return data


def _attributes(guild: Payload) -> Event:
    data: Event = {}
    if guild.get("name"):
        data["name"] = str(guild["name"])[:_MAX_TEXT]
    if isinstance(guild.get("member_count"), int):
        data["member_count"] = guild["member_count"]
    if owner_id := optional_id(guild.get("owner_id")):
        data["owner_id"] = owner_id
    # Null is news too: there is no AFK channel any more.
    if "afk_channel_id" in guild:
        data["afk_channel_id"] = optional_id(guild["afk_channel_id"])
    return data


def threads(items: Sequence[Any]) -> Iterator[tuple[int, int]]:
    """Thread and parent channel, for those that say both."""
    for item in items:
        if item.get("parent_id"):
            yield int(item["id"]), int(item["parent_id"])
