"""Messages and reactions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from guildstream.discord.payloads import Event, Payload, event, ids, iso_ms, snowflake_ms

__all__ = [
    "COUNTED_MESSAGE_TYPES",
    "EditTimes",
    "message_create",
    "message_delete",
    "message_delete_bulk",
    "message_update",
    "reaction",
    "reaction_clear",
]

#: What people write: default, reply, slash command's answer, context menu's answer.
COUNTED_MESSAGE_TYPES: Final = frozenset({0, 19, 20, 23})


def message_create(payload: Payload, *, content_intent: bool, thread_parents: Mapping[int, int]) -> Event:
    """MESSAGE_CREATE of a type that counts, in a guild."""
    message_id, channel_id = int(payload["id"]), int(payload["channel_id"])
    author = payload["author"]
    data: Event = {"message_id": message_id}
    content, attachments, embeds = payload.get("content"), payload.get("attachments"), payload.get("embeds")
    # Without the intent Discord empties these three: then lengths are unknown, not 0.
    if content_intent or content or attachments or embeds:
        data["chars"] = len(content or "")
        data["words"] = len(content.split()) if content else 0
        data["attachments"] = len(attachments or ())
        data["embeds"] = len(embeds or ())
    data["stickers"] = len(payload.get("sticker_items") or ())
    data["mentions"] = len(payload.get("mentions") or ())
    if payload.get("type") == 19 and (replied := payload.get("referenced_message")):
        data["reply_to"] = int(replied["author"]["id"])
    if channel_id in thread_parents:
        data["thread_of"] = thread_parents[channel_id]
    if author.get("bot"):
        data["bot"] = True
    if payload.get("webhook_id"):
        data["webhook"] = True
    if (member := payload.get("member")) and "roles" in member:
        data["roles"] = ids(member["roles"])
    return {
        "v": 1,
        "type": "message_create",
        "ts": snowflake_ms(message_id),
        "guild_id": int(payload["guild_id"]),
        "channel_id": channel_id,
        "user_id": int(author["id"]),
        "data": data,
    }


class EditTimes:
    """The edited times seen last, within a bound: Discord also sends updates that edit nothing.

    A link's preview, a pin or a flag repeats the time of the last edit, or has none.
    """

    def __init__(self, max_messages: int = 20_000) -> None:
        self._max_messages = max_messages
        self._seen: dict[int, str] = {}

    def is_edit(self, message_id: int, edited: str) -> bool:
        """Whether this edited time is a new one for the message. Remembers it."""
        changed = self._seen.pop(message_id, None) != edited
        self._seen[message_id] = edited
        if len(self._seen) > self._max_messages:
            del self._seen[next(iter(self._seen))]
        return changed


def message_update(payload: Payload, edits: EditTimes) -> list[Event]:
    """MESSAGE_UPDATE, where the text was edited; at the time of the edit."""
    edited, message_id = payload.get("edited_timestamp"), int(payload["id"])
    if not edited or not edits.is_edit(message_id, edited):
        return []
    author = payload.get("author") or {}
    return [_of_message("message_update", payload, message_id, iso_ms(edited), author.get("id"))]


def message_delete(payload: Payload, ts: int) -> list[Event]:
    """MESSAGE_DELETE: whose message it was, Discord doesn't say."""
    return [_of_message("message_delete", payload, int(payload["id"]), ts, None)]


def message_delete_bulk(payload: Payload, ts: int) -> list[Event]:
    """MESSAGE_DELETE_BULK."""
    deleted = {"message_ids": ids(payload["ids"])}
    channel_id = int(payload["channel_id"])
    return [event("message_delete_bulk", ts, int(payload["guild_id"]), deleted, channel_id=channel_id)]


def reaction(kind: str, payload: Payload, ts: int) -> Event:
    """MESSAGE_REACTION_ADD and MESSAGE_REACTION_REMOVE."""
    data: Event = {"message_id": int(payload["message_id"]), "emoji": _emoji(payload["emoji"])}
    if payload.get("message_author_id"):
        data["author_id"] = int(payload["message_author_id"])
    return event(
        kind,
        ts,
        int(payload["guild_id"]),
        data,
        channel_id=int(payload["channel_id"]),
        user_id=int(payload["user_id"]),
    )


def reaction_clear(payload: Payload, ts: int) -> list[Event]:
    """MESSAGE_REACTION_REMOVE_ALL and MESSAGE_REACTION_REMOVE_EMOJI."""
    data: Event = {"message_id": int(payload["message_id"])}
    if emoji := payload.get("emoji"):
        data["emoji"] = _emoji(emoji)
    return [event("reaction_clear", ts, int(payload["guild_id"]), data, channel_id=int(payload["channel_id"]))]


def _emoji(emoji: Payload) -> str:
    """A custom emoji's id, or the Unicode text. A deleted custom emoji has an id and no name."""
    return str(emoji.get("id") or emoji.get("name") or "")


def _of_message(kind: str, payload: Payload, message_id: int, ts: int, user_id: Any) -> Event:
    return event(
        kind,
        ts,
        int(payload["guild_id"]),
        {"message_id": message_id},
        channel_id=int(payload["channel_id"]),
        user_id=int(user_id) if user_id else None,
    )
