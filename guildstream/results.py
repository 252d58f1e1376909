"""The results stream: what one commit of one partition hands to the sink (internal, versioned).

An entry has one field ``r``: a msgpack array of :class:`Results`. Raw events are not repeated: the
entry names the range of entries that it covers and the positions in it that were dropped, and the
sink reads the events themselves. Rows are plain lists of ints, strings and 16-byte ids in the order
of the ``*Row`` aliases below; times are milliseconds since the epoch, days are days since the epoch.
"""

from __future__ import annotations

from typing import Any

import msgspec

from guildstream.errors import ConfigError

__all__ = ["RESULTS_VERSION", "Results", "decode_results", "encode_results"]

RESULTS_VERSION = 2
#: Version 1 had neither the second half of an ``AwardRow`` nor anything after ``commands``.
_READABLE = (1, RESULTS_VERSION)

#: ``[bucket_ms, local_day, guild_id, channel_id, user_id, bot, measures]``; ``measures`` is a list in the
#: order of ``guildstream.measures.MEASURES``. Window start, or the UTC hour for voice.
ActivityRow = list[Any]
#: ``[segment_id, visit_id, guild_id, channel_id, user_id, started_ms, ended_ms | None,
#: counted_until_ms, end_reason | None, measures]``; ``measures`` is a list in the order of
#: ``guildstream.measures.VOICE_MEASURES``. An upsert by ``segment_id``: the last wins.
SessionRow = list[Any]
#: ``[award_id, awarded_ms, last_awarded_ms, local_day, guild_id, channel_id, user_id, reason, count,
#: base, multiplier_thousandths, xp, settings_version, event_id | None]``, and of an adjustment also what
#: was said for it and who decided: ``note | None, given_by | None``.
AwardRow = list[Any]
#: ``[guild_id, user_id, bot, xp, level, messages, voice_ms, reactions_given, first_active_ms | None,
#: last_active_ms | None]``. The member's totals after the commit: the last wins.
TotalsRow = list[Any]
#: ``[bucket_ms, guild_id, channel_id, user_id, name, kind, uses]``.
CommandRow = list[Any]
#: ``[occurred_ms, guild_id, user_id, kind, invite | None]``; ``kind`` is join or leave.
FlowRow = list[Any]
#: ``[session, shard | None, shard_count | None, guild_id | None, started_ms, ended_ms | None, cause]``. An upsert by
#: session, shard, guild and start: the last wins.
GapRow = list[Any]
#: ``[event_id, occurred_ms, guild_id, channel_id, user_ids]``.
ParticipantsRow = list[Any]
#: ``[guild_id, user_id | None, erased_ms, position, keep_out, event_id]``. Whatever was loaded of the member, or of
#: the guild where there is no user, is to be forgotten before the other rows of this entry are loaded, and so are
#: events before ``position`` (relative to ``first_position``) of this entry's range.
ErasedRow = list[Any]


#: ``[guild_id, settings_version, changed_ms, settings, patch, event_id]``; both documents as JSON text.
SettingsRow = list[Any]


class Results(msgspec.Struct, array_like=True, kw_only=True):
    """What one commit of one partition produced.

    Attributes:
        version: ``RESULTS_VERSION``.
        partition: the partition's number.
        commit: the number of this commit in its partition; dense, rising, from 1.
        after_id: stream id of the last events entry of the commit before (exclusive), ``0-0`` at first.
        last_id: stream id of the last events entry covered (inclusive).
        first_position: position of the first event after ``after_id``. Positions number every payload
            of a partition from 0 in stream order, dropped ones and heartbeats included.
        positions: how many payloads the range holds.
        dropped: half-open ranges ``[from, to)`` of positions relative to ``first_position`` that are not
            accepted events: invalid, duplicate, unknown, superseded or heartbeats. Sorted, disjoint.
    """

    version: int = RESULTS_VERSION
    partition: int
    commit: int
    after_id: str
    last_id: str
    first_position: int
    positions: int
    dropped: list[tuple[int, int]]
    activity: list[ActivityRow]
    sessions: list[SessionRow]
    awards: list[AwardRow]
    totals: list[TotalsRow]
    commands: list[CommandRow]
    flow: list[FlowRow] = msgspec.field(default_factory=list)
    gaps: list[GapRow] = msgspec.field(default_factory=list)
    participants: list[ParticipantsRow] = msgspec.field(default_factory=list)
    erased: list[ErasedRow] = msgspec.field(default_factory=list)
    settings: list[SettingsRow] = msgspec.field(default_factory=list)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Results)


def encode_results(results: Results) -> bytes:
    """The bytes of field ``r``."""
    return _encoder.encode(results)


def decode_results(payload: bytes) -> Results:
    """Read field ``r``.

    Raises:
        ConfigError: it was written by a release with another results version.
    """
    try:
        results = _decoder.decode(payload)
    except msgspec.MsgspecError as error:
        msg = f"a results entry can't be read: {error}; was it written by another release?"
        raise ConfigError(msg) from error
    if results.version not in _READABLE:
        msg = (
            f"a results entry has version {results.version}, this release reads {RESULTS_VERSION}: "
            "drain the results with the release that wrote them, then upgrade"
        )
        raise ConfigError(msg)
    return results
