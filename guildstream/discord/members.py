"""People: what payloads say about members, joins and leaves, and which of it is news."""

from __future__ import annotations

from typing import Any, Final

from guildstream.discord.payloads import Event, Payload, event, ids

__all__ = ["KnownMembers", "member_data", "member_events", "member_join", "member_leave", "member_update"]

_MAX_TEXT: Final = 200


def member_data(user: Payload, member: Payload | None) -> Event:
    """The ``data`` of a member event; what the payload doesn't say is absent."""
    data: Event = {}
    if user.get("username"):
        data["username"] = str(user["username"])[:_MAX_TEXT]
        data["bot"] = bool(user.get("bot"))
    if user.get("global_name"):
        data["display_name"] = str(user["global_name"])[:_MAX_TEXT]
    if member is not None:
        if "roles" in member:
            data["roles"] = ids(member["roles"])
        if member.get("nick"):
            data["nick"] = str(member["nick"])[:_MAX_TEXT]
        if member.get("joined_at"):
            data["joined_at"] = member["joined_at"]
    return data


class KnownMembers:
    """Remembers, within a bound, what was last published of each member.

    Args:
        max_members: the least recently seen is forgotten beyond this number, and published again when
            seen again.
    """

    def __init__(self, max_members: int = 100_000) -> None:
        self._max_members = max_members
        self._seen: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self._seen)

    def is_news(self, key: tuple[int, int], user: Payload, member: Payload) -> bool:
        """Whether anything that ``member_data`` would carry differs from the last time. Remembers it."""
        digest = hash(
            (
                user.get("username"),
                user.get("global_name"),
                bool(user.get("bot")),
                member.get("nick"),
                member.get("joined_at"),
                tuple(member.get("roles") or ()),
            )
        )
        seen = self._seen
        if seen.pop(key, None) == digest:
            seen[key] = digest
            return False
        seen[key] = digest
        if len(seen) > self._max_members:
            del seen[next(iter(seen))]
        return True


def member_events(known: KnownMembers, key: tuple[int, int], user: Any, member: Payload | None, ts: int) -> list[Event]:
    """A ``member_update`` where a payload shows something new of a member (guild, user), or nothing."""
    if not member or not user or "username" not in user or not known.is_news(key, user, member):
        return []
    return [event("member_update", ts, key[0], member_data(user, member), user_id=key[1])]


def member_join(payload: Payload, known: KnownMembers, ts: int) -> list[Event]:
    """GUILD_MEMBER_ADD."""
    return [_member_event("member_join", payload, known, ts)]


def member_update(payload: Payload, known: KnownMembers, ts: int) -> list[Event]:
    """GUILD_MEMBER_UPDATE."""
    return [_member_event("member_update", payload, known, ts)]


def member_leave(payload: Payload, ts: int) -> list[Event]:
    """GUILD_MEMBER_REMOVE: the payload has the user only."""
    user = payload["user"]
    return [event("member_leave", ts, int(payload["guild_id"]), member_data(user, None), user_id=int(user["id"]))]


def _member_event(kind: str, payload: Payload, known: KnownMembers, ts: int) -> Event:
    user = payload["user"]
    guild_id, user_id = int(payload["guild_id"]), int(user["id"])
    known.is_news((guild_id, user_id), user, payload)
    return event(kind, ts, guild_id, member_data(user, payload), user_id=user_id)
