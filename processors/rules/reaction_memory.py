"""What a guild remembers of reactions, so that a removal can undo its addition (DESIGN §5.4).

A message's reactions lie in a fixed number of buckets, by user, so that adding one touches one small
record, and clearing a message reads a known number of keys. Buckets are listed by the day of the
guild's reaction clock on which they grew; once a day is past the memory, its lists are swept a list at
a time, whenever the guild has another reaction. What counts as forgotten depends on times in the
stream alone, never on when it is swept.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable
from hashlib import blake2b
from typing import Final

from processors.rules.local_time import DAY_MS
from processors.rules.records import GuildRecord, Reaction, ReactionBucket, ReactionList
from processors.rules.tables import Tables

__all__ = ["BUCKETS", "NOBODY", "ReactionMemory", "bucket_key", "bucket_keys", "names_anyone"]

#: Buckets of a message. Users' ids spread over them, so a crowd on one message makes no big record.
BUCKETS: Final = 32
#: Keys in one list of a day; a sweep handles one list at a time.
_LISTED: Final = 200
_EMOJI_CHARS: Final = 64
#: In the place of an erased author; an author of 0 was never known. Erased people who reacted are -1, -2, and so on.
NOBODY: Final = -1

Keys = dict[str, set[str]]


def bucket_key(guild_id: int, message_id: int, user_id: int) -> str:
    """The bucket that holds a user's reactions to a message."""
    return f"{guild_id}:{message_id}:{(user_id ^ user_id >> 22) % BUCKETS}"


def bucket_keys(guild_id: int, message_id: int) -> Iterable[str]:
    """All buckets of a message."""
    return (f"{guild_id}:{message_id}:{number}" for number in range(BUCKETS))


def _name(user_id: int, emoji: str) -> str:
    if len(emoji) > _EMOJI_CHARS:
        emoji = blake2b(emoji.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    return f"{user_id}:{emoji}"


def names_anyone(bucket: ReactionBucket, user_ids: Collection[int]) -> bool:
    """Whether a bucket names one of these people, as who reacted or whose message it was."""
    return any(
        reaction.author_id in user_ids or _user_of(name) in user_ids for name, reaction in bucket.reactions.items()
    )


def _user_of(name: str) -> int:
    return int(name.split(":", 1)[0])


def _order(taken: tuple[int, str, Reaction]) -> tuple[int, int, str, int, int]:
    """By user and emoji; what is nobody's, by what it is, so that the numbers of nobodies mean nothing."""
    user_id, name, reaction = taken
    at_ms, emoji = (reaction.at_ms if user_id < 0 else 0), name.split(":", 1)[1]
    return max(user_id, 0), at_ms, emoji, reaction.channel_id, reaction.author_id


def _nobodys(name: str, taken: Collection[str]) -> str:
    """The name of a reaction whose user is nobody any more; not one that another such reaction has."""
    emoji, number = name.split(":", 1)[1], NOBODY
    while f"{number}:{emoji}" in taken:
        number -= 1
    return f"{number}:{emoji}"


class ReactionMemory:
    """The reactions of one guild that are remembered.

    Attributes:
        grown: keys of buckets that grew since the last drain, by day of the clock.
    """

    __slots__ = ("_guild_key", "_memory_ms", "_record", "_tables", "_touched", "_touched_before", "grown")

    def __init__(self, tables: Tables, guild_key: str, record: GuildRecord, memory_ms: int) -> None:
        self._tables = tables
        self._guild_key = guild_key
        self._record = record
        self._memory_ms = memory_ms
        self.grown: dict[int, list[str]] = {}
        self._touched: set[str] = set()
        self._touched_before: set[str] = set()

    @property
    def touched(self) -> set[str]:
        """Keys of buckets that may have grown since the last commit that is stored: one may be on its way."""
        return self._touched | self._touched_before

    def list_keys(self) -> set[str]:
        """Keys of all lists."""
        return {
            self._list_key(day, number) for day, count in self._record.reaction_lists.items() for number in range(count)
        }

    def advance(self, ts_ms: int) -> None:
        """Move the guild's reaction clock, which never goes back."""
        record = self._record
        if ts_ms > record.reaction_ms:
            record.reaction_ms = ts_ms
            self._tables.guilds.put(self._guild_key, record)

    def remember(self, key: str, user_id: int, emoji: str, reaction: Reaction) -> None:
        """Keep a reaction in its bucket; the same one again replaces what was known of it."""
        buckets = self._tables.reactions
        bucket = buckets.get(key) or ReactionBucket()
        reaction.seen_ms = self._record.reaction_ms
        bucket.reactions[_name(user_id, emoji)] = reaction
        day = reaction.seen_ms // DAY_MS
        if day != bucket.day:
            bucket.day = day
            self.grown.setdefault(day, []).append(key)
        buckets.put(key, bucket)
        self._touched.add(key)

    def take(self, key: str, user_id: int, emoji: str, ts_ms: int) -> Reaction | None:
        """Forget a reaction that is removed at an instant; None where nothing is remembered of it."""
        bucket = self._tables.reactions.get(key)
        found = None if bucket is None else bucket.reactions.pop(_name(user_id, emoji), None)
        if bucket is None or found is None:
            return None
        self._keep(key, bucket)
        return found if self._is_remembered(found, ts_ms) else None

    def take_all(self, keys: Iterable[str], emoji: str | None, ts_ms: int) -> list[tuple[int, Reaction]]:
        """Forget a message's reactions, or those of one emoji: user ids and what is remembered of each, in order."""
        taken: list[tuple[int, str, Reaction]] = []
        for key in keys:
            bucket = self._tables.reactions.get(key)
            if bucket is None:
                continue
            for name in list(bucket.reactions):
                user_id = _user_of(name)
                if emoji is None or name == _name(user_id, emoji):
                    reaction = bucket.reactions.pop(name)
                    if self._is_remembered(reaction, ts_ms):
                        taken.append((user_id, name, reaction))
            self._keep(key, bucket)
        return [(user_id, reaction) for user_id, _, reaction in sorted(taken, key=_order)]

    def forget(self, user_id: int, keys: Iterable[str]) -> None:
        """Keep a member's reactions, and those to their messages, as nobody's.

        Args:
            user_id: who.
            keys: of stored buckets that name them, loaded; those that changed since are known here.
        """
        buckets = self._tables.reactions
        for key in {*keys, *self.touched}:
            bucket = buckets.get(key)
            if bucket is None or not names_anyone(bucket, (user_id,)):
                continue
            for name, reaction in list(bucket.reactions.items()):
                if reaction.author_id == user_id:
                    reaction.author_id = NOBODY
                if _user_of(name) == user_id:
                    del bucket.reactions[name]
                    bucket.reactions[_nobodys(name, bucket.reactions)] = reaction
            buckets.put(key, bucket)

    def people(self, keys: Iterable[str]) -> set[int]:
        """Everybody in loaded buckets: who reacted, and whose messages they were."""
        found: set[int] = set()
        for key in keys:
            bucket = self._tables.reactions.get(key)
            for name, reaction in bucket.reactions.items() if bucket is not None else ():
                found.add(_user_of(name))
                found.add(reaction.author_id)
        return {user_id for user_id in found if user_id > 0}

    def store_lists(self) -> None:
        """Write down which buckets grew since the last drain."""
        self._touched_before, self._touched = self._touched, set()
        if not self.grown:
            return
        lists = self._record.reaction_lists
        for day, keys in self.grown.items():
            for start in range(0, len(keys), _LISTED):
                number = lists.get(day, 0)
                lists[day] = number + 1
                self._tables.reaction_lists.put(
                    self._list_key(day, number), ReactionList(1, keys[start : start + _LISTED])
                )
        self.grown = {}
        self._tables.guilds.put(self._guild_key, self._record)

    def sweep(self) -> Generator[Keys, None, None]:
        """Remove one list of a day that is past the memory, and what is forgotten of its buckets.

        Yields:
            Keys to fetch before it is resumed.
        """
        record, tables = self._record, self._tables
        day = min(record.reaction_lists, default=None)
        if day is None or (day + 1) * DAY_MS + self._memory_ms > record.reaction_ms:
            return
        list_key = self._list_key(day, record.reaction_lists[day] - 1)
        yield {"reaction_lists": {list_key}}
        listed = tables.reaction_lists.get(list_key)
        keys = [] if listed is None else listed.keys
        yield {"reactions": set(keys)}
        for key in keys:
            bucket = tables.reactions.get(key)
            if bucket is not None:
                gone = [name for name, its in bucket.reactions.items() if self._is_past(its)]
                for name in gone:
                    del bucket.reactions[name]
                self._keep(key, bucket)
        tables.reaction_lists.delete(list_key)
        record.reaction_lists[day] -= 1
        if not record.reaction_lists[day]:
            del record.reaction_lists[day]
        tables.guilds.put(self._guild_key, record)

    def _keep(self, key: str, bucket: ReactionBucket) -> None:
        if bucket.reactions:
            self._tables.reactions.put(key, bucket)
        else:
            self._tables.reactions.delete(key)

    def _is_remembered(self, reaction: Reaction, ts_ms: int) -> bool:
        return ts_ms - reaction.at_ms <= self._memory_ms and not self._is_past(reaction)

    def _is_past(self, reaction: Reaction) -> bool:
        return self._record.reaction_ms - reaction.seen_ms > self._memory_ms

    def _list_key(self, day: int, number: int) -> str:
        return f"{self._guild_key}:{day}:{number}"
