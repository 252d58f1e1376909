"""Dead letters: events that could not be processed, to look at and to try again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import redis

from guildstream.keys import Keys

__all__ = ["DeadLetter", "find_letters", "letters", "requeue"]

_PAGE: Final = 100
#: How many letters one step moves: a letter has up to 64 KiB, and Redis serves nobody else meanwhile.
_STEP: Final = 50

#: KEYS: dead letters, events. ARGV: ids of letters. Redis refuses a script for want of memory at its first write
#: only, and the kinds of both keys are checked before that: a letter is in one stream or the other, never in both.
_REQUEUE: Final = """
local kind = redis.call('TYPE', KEYS[2]).ok
if kind ~= 'stream' and kind ~= 'none' then
    return redis.error_reply('WRONGTYPE ' .. KEYS[2] .. ' holds a ' .. kind)
end
local moved = 0
for _, id in ipairs(ARGV) do
    local found = redis.call('XRANGE', KEYS[1], id, id)[1]
    if found then
        local fields = {}
        for at = 1, #found[2], 2 do fields[found[2][at]] = found[2][at + 1] end
        redis.call('XADD', KEYS[2], '*', 'e', fields['e'] or '', 'r', id, 'o', fields['origin'] or '')
        redis.call('XDEL', KEYS[1], id)
        moved = moved + 1
    end
end
return moved
"""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One event that could not be processed.

    Attributes:
        id: of the letter in its partition's stream of dead letters.
        partition: where it is.
        reason: a word to sort by, such as ``not_json``; ``processing_failed`` where an agent raised.
        detail: for people; the traceback where an agent raised.
        origin: stream, entry id and index in the entry that it was read from first.
        payload: its first 64 KiB.
    """

    id: str
    partition: int
    reason: str
    detail: str
    origin: str
    payload: bytes


def letters(client: redis.Redis, keys: Keys, partition: int) -> Iterator[DeadLetter]:
    """All dead letters of a partition, oldest first, in pages; those that come meanwhile are left out."""
    stream = keys.partition(partition).dead
    newest: Any = client.xrevrange(stream, count=1)
    if not newest:
        return
    begin, end = "-", newest[0][0].decode()
    while True:
        page: Any = client.xrange(stream, min=begin, max=end, count=_PAGE)
        if not page:
            return
        for entry_id, fields in page:
            yield _letter(entry_id, fields, partition)
        begin = f"({page[-1][0].decode()}"


def find_letters(client: redis.Redis, keys: Keys, partitions: Sequence[int], letter_id: str) -> list[DeadLetter]:
    """The letters of this id: ids are unique within a partition only."""
    found = []
    for partition in partitions:
        page: Any = client.xrange(keys.partition(partition).dead, min=letter_id, max=letter_id)
        found += [_letter(entry_id, fields, partition) for entry_id, fields in page]
    return found


def requeue(client: redis.Redis, keys: Keys, partition: int, ids: Sequence[str]) -> int:
    """Move letters back to the end of their partition's events, some at a time, each in one atomic step.

    The new entry names its letter in field ``r``, by which the duplicate check is skipped, and where that came
    from in field ``o``. May be repeated: a letter that was moved already is passed over.

    Returns:
        How many were moved.

    Raises:
        redis.RedisError: Redis refuses, or is away; letters are in one stream or the other. A step whose reply was
            lost may have been taken: repeat the call.
    """
    names = keys.partition(partition)
    moved = 0
    for begin in range(0, len(ids), _STEP):
        step: Any = client.eval(_REQUEUE, 2, names.dead, names.events, *ids[begin : begin + _STEP])
        moved += int(step)
    return moved


def _letter(entry_id: bytes, fields: dict[bytes, bytes], partition: int) -> DeadLetter:
    reason, detail, origin = (
        fields.get(name, b"").decode(errors="replace") for name in (b"reason", b"detail", b"origin")
    )
    return DeadLetter(entry_id.decode(), partition, reason, detail, origin, fields.get(b"e", b""))
