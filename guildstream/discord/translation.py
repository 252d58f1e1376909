"""From a dispatch to its events: which family reads which name, and what must be remembered for it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Final

from guildstream.discord import actions, guilds, members, messages, voice
from guildstream.discord.payloads import Event, Payload, event

__all__ = ["Translator"]

_MAX_THREADS: Final = 50_000
#: Members of one GUILD_CREATE that become events; the rest do when they are seen doing something.
_MAX_GUILD_MEMBERS: Final = 1_000


class Translator:
    """Makes events of dispatches. Keeps, within bounds, who was published, threads' parents, edited times.

    What it keeps decides only whether a ``member_update`` or a ``message_update`` is made. An event
    that identifies a dispatch comes first, so ``part`` of it is the same whenever a dispatch is translated.

    Args:
        content_intent: whether the session has the message-content intent.

    Attributes:
        skipped_messages: messages of types that don't count, by Discord's type number.
        ignored: dispatches that make no events, by name.
    """

    def __init__(self, *, content_intent: bool = False, max_members: int = 100_000) -> None:
        self.skipped_messages: Counter[int] = Counter()
        self.ignored: Counter[str] = Counter()
        self._content_intent = content_intent
        self._members = members.KnownMembers(max_members)
        self._edits = messages.EditTimes()
        self._thread_parents: dict[int, int] = {}
        self._readers: dict[str, Callable[[Payload, int], Iterable[Event]]] = {
            "MESSAGE_CREATE": self._message_create,
            "MESSAGE_UPDATE": lambda payload, _: messages.message_update(payload, self._edits),
            "MESSAGE_DELETE": messages.message_delete,
            "MESSAGE_DELETE_BULK": messages.message_delete_bulk,
            "MESSAGE_REACTION_ADD": self._reaction_add,
            "MESSAGE_REACTION_REMOVE": lambda payload, ts: [messages.reaction("reaction_remove", payload, ts)],
            "MESSAGE_REACTION_REMOVE_ALL": messages.reaction_clear,
            "MESSAGE_REACTION_REMOVE_EMOJI": messages.reaction_clear,
            "VOICE_STATE_UPDATE": self._voice_state,
            "GUILD_CREATE": self._guild_create,
            "GUILD_UPDATE": guilds.guild_updates,
            "GUILD_DELETE": _guild_delete,
            "GUILD_MEMBER_ADD": lambda payload, ts: members.member_join(payload, self._members, ts),
            "GUILD_MEMBER_UPDATE": lambda payload, ts: members.member_update(payload, self._members, ts),
            "GUILD_MEMBER_REMOVE": members.member_leave,
            "INTERACTION_CREATE": self._interaction,
            "CHANNEL_CREATE": lambda payload, ts: guilds.channel_event("channel_update", payload, ts),
            "CHANNEL_UPDATE": lambda payload, ts: guilds.channel_event("channel_update", payload, ts),
            "CHANNEL_DELETE": lambda payload, ts: guilds.channel_event("channel_delete", payload, ts),
            "THREAD_CREATE": self._thread,
            "THREAD_UPDATE": self._thread,
            "THREAD_DELETE": lambda payload, ts: guilds.channel_event("channel_delete", payload, ts),
            "THREAD_LIST_SYNC": self._thread_list,
            "GUILD_ROLE_CREATE": guilds.role_update,
            "GUILD_ROLE_UPDATE": guilds.role_update,
            "GUILD_ROLE_DELETE": guilds.role_delete,
            "GUILD_AUDIT_LOG_ENTRY_CREATE": lambda payload, _: actions.moderation(payload),
        }

    def translate(self, name: str, payload: Payload, now_ms: int) -> list[Event]:
        """The events of one dispatch, in order; none for names that mean nothing here and for direct messages.

        Args:
            name: Discord's event name.
            payload: its ``d``.
            now_ms: when it was received, the time of what carries none.

        Raises:
            KeyError, TypeError, ValueError: the payload lacks what its name promises.
        """
        reader = self._readers.get(name)
        if reader is None:
            self.ignored[name] += 1
            return []
        if payload.get("guild_id") is None and name not in _GUILD_OBJECTS:
            self.ignored["direct message"] += 1
            return []
        return list(reader(payload, now_ms))

    def _message_create(self, payload: Payload, _ts: int) -> Iterable[Event]:
        kind = payload.get("type", 0)
        if kind not in messages.COUNTED_MESSAGE_TYPES:
            self.skipped_messages[kind] += 1
            return []
        made = messages.message_create(
            payload, content_intent=self._content_intent, thread_parents=self._thread_parents
        )
        if payload.get("webhook_id"):
            return [made]
        return [made, *self._news(payload["author"], payload.get("member"), made)]

    def _reaction_add(self, payload: Payload, ts: int) -> Iterable[Event]:
        made = messages.reaction("reaction_add", payload, ts)
        member = payload.get("member")
        return [made, *self._news((member or {}).get("user"), member, made)]

    def _voice_state(self, payload: Payload, ts: int) -> Iterable[Event]:
        made = voice.voice_state(payload, ts)
        member = payload.get("member")
        return [made, *self._news((member or {}).get("user"), member, made)]

    def _interaction(self, payload: Payload, _ts: int) -> Iterable[Event]:
        made = actions.command(payload)
        member = payload.get("member")
        return [*made, *(news for first in made for news in self._news((member or {}).get("user"), member, first))]

    def _news(self, user: Payload | None, member: Payload | None, cause: Event) -> list[Event]:
        if user is None or "user_id" not in cause:
            return []
        return members.member_events(self._members, (cause["guild_id"], cause["user_id"]), user, member, cause["ts"])

    def _guild_create(self, payload: Payload, ts: int) -> Iterable[Event]:
        if payload.get("unavailable"):
            return
        self._learn_threads(payload.get("threads") or ())
        yield from guilds.guild_updates(payload, ts)
        yield from voice.voice_snapshot(payload, ts)
        guild_id = int(payload["id"])
        for member in islice(payload.get("members") or (), _MAX_GUILD_MEMBERS):
            user = member["user"]
            if "id" not in user:
                continue
            yield from members.member_events(self._members, (guild_id, int(user["id"])), user, member, ts)

    def _thread(self, payload: Payload, ts: int) -> Iterable[Event]:
        self._learn_threads([payload])
        return guilds.channel_event("thread_update", payload, ts)

    def _thread_list(self, payload: Payload, _ts: int) -> Iterable[Event]:
        self._learn_threads(payload.get("threads") or ())
        return ()

    def _learn_threads(self, items: Iterable[Payload]) -> None:
        for thread_id, parent_id in guilds.threads(list(items)):
            self._thread_parents.pop(thread_id, None)
            self._thread_parents[thread_id] = parent_id
            if len(self._thread_parents) > _MAX_THREADS:
                del self._thread_parents[next(iter(self._thread_parents))]


#: Payloads that are a guild: their id is ``id``.
_GUILD_OBJECTS: Final = frozenset({"GUILD_CREATE", "GUILD_UPDATE", "GUILD_DELETE"})


def _guild_delete(payload: Payload, ts: int) -> list[Event]:
    """An outage, or the bot was removed."""
    return [event("guild_unavailable" if payload.get("unavailable") else "guild_remove", ts, int(payload["id"]), {})]
