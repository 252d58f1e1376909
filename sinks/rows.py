"""Rows in PostgreSQL's binary COPY format, packed by precompiled structs.

A row is its number of fields, then each field's length and bytes. Times arrive as milliseconds and days
as days since 1970; PostgreSQL counts microseconds and days from 2000.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final

from guildstream.measures import MEASURES, VOICE_MEASURES, M

__all__ = [
    "COPY_HEADER",
    "COPY_TRAILER",
    "PARTICIPANT_GUILD",
    "POSTGRES_EPOCH_DAYS",
    "POSTGRES_EPOCH_MS",
    "QUIET",
    "QUIET_ZEROS",
    "activity_row",
    "award_row",
    "clean_text",
    "command_row",
    "flow_row",
    "participants_rows",
    "session_row",
    "text_field",
    "totals_row",
]

COPY_HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
COPY_TRAILER: Final = b"\xff\xff"
POSTGRES_EPOCH_MS: Final = 946_684_800_000
POSTGRES_EPOCH_DAYS: Final = 10_957

_NULL: Final = b"\xff\xff\xff\xff"
_MEASURES: Final = len(MEASURES)
_ACTIVITY_FIELDS: Final = 6 + _MEASURES
_ACTIVITY: Final = struct.Struct("!h" + "iq" + "ii" + "iqiqiq" + "i?" + "iq" * _MEASURES)
#: Most panes are of messages alone: everything between ``chars`` and ``xp`` is zero and is copied whole.
QUIET: Final = slice(M.CHARS + 1, M.XP)
QUIET_ZEROS: Final = [0] * (M.XP - M.CHARS - 1)
_QUIET_FIELDS: Final = (b"\0\0\0\x08" + bytes(8)) * len(QUIET_ZEROS)
_MESSAGES: Final = struct.Struct(f"!hiqiiiqiqiqi?iqiqiq{len(_QUIET_FIELDS)}siq")
_LENGTHS: Final = [8, 0] * _MEASURES

_TOTALS: Final = struct.Struct("!h" + "iqiq" + "i?" + "iq" * 7)
_AWARD: Final = struct.Struct("!h" + "iq" * 5 + "i16s" + "ii" + "iq" * 4)
_AWARD_FIELDS: Final = 14
_NO_DECISION: Final = _NULL + _NULL
_PARTICIPANT: Final = struct.Struct("!h" + "iq" + "i16s" + "iq" * 3)
#: The guild in a packed row of ``event_participants``, as something to sort by.
PARTICIPANT_GUILD: Final = itemgetter(slice(38, 46))
_FLOW: Final = struct.Struct("!h" + "iq" * 3)
_COMMAND: Final = struct.Struct("!h" + "iq" * 5)
_SESSION: Final = struct.Struct("!h" + "i16si16s" + "iq" * 5 + "iq" * len(VOICE_MEASURES))
_LENGTH: Final = struct.Struct("!i")
_INT8: Final = struct.Struct("!iq")


def activity_row(row: Sequence[Any]) -> bytes:
    """A row of ``member_activity`` or ``activity_delta`` from an ``ActivityRow``."""
    bucket_ms, local_day, guild_id, channel_id, user_id, bot, measures = row
    bucket = (bucket_ms - POSTGRES_EPOCH_MS) * 1000
    day = local_day - POSTGRES_EPOCH_DAYS
    if measures[QUIET] == QUIET_ZEROS:
        head = (_ACTIVITY_FIELDS, 8, bucket, 4, day, 8, guild_id, 8, channel_id, 8, user_id, 1, bot)
        return _MESSAGES.pack(*head, 8, measures[0], 8, measures[1], 8, measures[2], _QUIET_FIELDS, 8, measures[22])
    fields = _LENGTHS.copy()
    fields[1::2] = measures
    return _ACTIVITY.pack(_ACTIVITY_FIELDS, 8, bucket, 4, day, 8, guild_id, 8, channel_id, 8, user_id, 1, bot, *fields)


def totals_row(row: Sequence[Any]) -> bytes:
    """A row of ``member_totals`` from a ``TotalsRow``."""
    guild_id, user_id, bot, xp, level, messages, voice_ms, reactions, first_ms, last_ms = row
    if first_ms is None or last_ms is None:
        head = _TOTALS.pack(
            10, 8, guild_id, 8, user_id, 1, bot, 8, xp, 8, level, 8, messages, 8, voice_ms, 8, reactions, 8, 0, 8, 0
        )
        return head[:-24] + _time_field(first_ms) + _time_field(last_ms)
    first, last = (first_ms - POSTGRES_EPOCH_MS) * 1000, (last_ms - POSTGRES_EPOCH_MS) * 1000
    return _TOTALS.pack(
        10, 8, guild_id, 8, user_id, 1, bot, 8, xp, 8, level, 8, messages, 8, voice_ms, 8, reactions, 8, first, 8, last
    )


def award_row(row: Sequence[Any]) -> bytes:
    """A row of ``xp_awards`` from an ``AwardRow``; columns as ``AWARD_COLUMNS`` of the loader."""
    award_id, first_ms, last_ms, day, guild, channel, user, reason, count, base, thousandths, xp, version, event = row[
        :14
    ]
    head = _AWARD.pack(
        16,
        8,
        (first_ms - POSTGRES_EPOCH_MS) * 1000,
        8,
        (last_ms - POSTGRES_EPOCH_MS) * 1000,
        8,
        guild,
        8,
        channel,
        8,
        user,
        16,
        award_id,
        4,
        day - POSTGRES_EPOCH_DAYS,
        8,
        count,
        8,
        base,
        8,
        xp,
        8,
        version,
    )
    tail = _NO_DECISION if len(row) == _AWARD_FIELDS else _decision_fields(*row[_AWARD_FIELDS:])
    return head + _uuid_field(event) + _thousandths_field(thousandths) + text_field(reason) + tail


def _decision_fields(note: str | None, given_by: int | None) -> bytes:
    return _text_or_null(note) + (_NULL if given_by is None else _INT8.pack(8, given_by))


def participants_rows(row: Sequence[Any]) -> list[bytes]:
    """Rows of ``event_participants`` from a ``ParticipantsRow``, one a person."""
    event_id, occurred_ms, guild_id, channel_id, user_ids = row
    occurred = (occurred_ms - POSTGRES_EPOCH_MS) * 1000
    return [
        _PARTICIPANT.pack(5, 8, occurred, 16, event_id, 8, guild_id, 8, channel_id, 8, user_id) for user_id in user_ids
    ]


def flow_row(row: Sequence[Any]) -> bytes:
    """A row of ``member_flow`` from a ``FlowRow``."""
    occurred_ms, guild_id, user_id, kind, invite = row
    head = _FLOW.pack(5, 8, (occurred_ms - POSTGRES_EPOCH_MS) * 1000, 8, guild_id, 8, user_id)
    return head + text_field(kind) + _text_or_null(invite)


def _text_or_null(text: str | None) -> bytes:
    return _NULL if text is None else text_field(text)


def command_row(row: Sequence[Any]) -> bytes:
    """A row of ``command_usage`` from a ``CommandRow``."""
    bucket_ms, guild_id, channel_id, user_id, name, kind, uses = row
    bucket = (bucket_ms - POSTGRES_EPOCH_MS) * 1000
    head = _COMMAND.pack(7, 8, bucket, 8, guild_id, 8, channel_id, 8, user_id, 8, uses)
    return head + text_field(name) + text_field(kind)


def session_row(row: Sequence[Any]) -> bytes:
    """A row of ``voice_sessions`` from a ``SessionRow``; what may be null comes last."""
    segment_id, visit_id, guild_id, channel_id, user_id, started_ms, ended_ms, counted_ms, reason, measures = row
    fields = [8, 0] * len(VOICE_MEASURES)
    fields[1::2] = measures
    started, counted = (started_ms - POSTGRES_EPOCH_MS) * 1000, (counted_ms - POSTGRES_EPOCH_MS) * 1000
    head = _SESSION.pack(
        9 + len(VOICE_MEASURES),
        16,
        segment_id,
        16,
        visit_id,
        8,
        guild_id,
        8,
        channel_id,
        8,
        user_id,
        8,
        started,
        8,
        counted,
        *fields,
    )
    return head + _time_field(ended_ms) + (_NULL if reason is None else text_field(reason))


@lru_cache(maxsize=4096)
def text_field(text: str) -> bytes:
    """A text with its length, cleaned."""
    encoded = clean_text(text).encode()
    return _LENGTH.pack(len(encoded)) + encoded


def clean_text(text: str) -> str:
    """Text that PostgreSQL can hold: NUL and lone surrogates become U+FFFD."""
    if text.isascii():
        return text.replace("\0", "\ufffd")
    return text.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _time_field(time_ms: int | None) -> bytes:
    return _NULL if time_ms is None else _INT8.pack(8, (time_ms - POSTGRES_EPOCH_MS) * 1000)


def _uuid_field(value: bytes | None) -> bytes:
    return _NULL if value is None else b"\0\0\0\x10" + value


@lru_cache(maxsize=4096)
def _thousandths_field(thousandths: int) -> bytes:
    """A numeric of three decimals: digits to the base of 10,000, of which the last holds the decimals."""
    whole, decimals = divmod(abs(thousandths), 1000)
    digits: list[int] = []
    while whole:
        whole, digit = divmod(whole, 10_000)
        digits.insert(0, digit)
    sign = 0x4000 if thousandths < 0 else 0
    weight = len(digits) - 1
    digits.append(decimals * 10)
    body = struct.pack(f"!hhHh{len(digits)}h", len(digits), weight, sign, 3, *digits)
    return _LENGTH.pack(len(body)) + body
