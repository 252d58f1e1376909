"""Slices: a segment's time, cut at UTC hours and local midnights, counted and awarded (DESIGN §5.3, §5.4)."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from guildstream.measures import M
from processors.rules.conditions import BOT
from processors.rules.guild import Guild
from processors.rules.local_time import HOUR_MS, MINUTE_MS
from processors.rules.policy import ONE
from processors.rules.records import MemberRecord, PendingAward, Segment

__all__ = ["Slices", "uuid8"]

_FIRST: Final = M.VOICE_MS
_CLIPPED: Final = M.CLIPPED_MS
_XP: Final = M.XP


class Slices:
    """Counts the time of a guild's segments.

    Attributes:
        guild: whose voice it is.
    """

    __slots__ = ("guild",)

    def __init__(self, guild: Guild) -> None:
        self.guild = guild

    def settle(self, segment: Segment, to_ms: int, extra: int = 0) -> None:
        """Count a segment's time up to an instant, hour by hour and local day by local day.

        Args:
            segment: an open one.
            to_ms: the instant; before it the time counts, at it no longer.
            extra: bits that hold for this stretch only.
        """
        start_ms = segment.settled_ms
        if to_ms <= start_ms:
            return
        guild, bits, user_id = self.guild, segment.bits | extra, segment.user_id
        member = guild.members.get(user_id) or guild.member(user_id)
        place = (segment.channel_id, user_id)
        columns, active = guild.policy.columns(bits)
        measures, days = segment.measures, guild.policy.days
        passed_ms = to_ms - start_ms
        for column in columns:
            measures[column - _FIRST] += passed_ms
        member.voice_ms += passed_ms
        member.last_active_ms = max(member.last_active_ms, to_ms)
        while start_ms < to_ms:
            hour_ms = start_ms - start_ms % HOUR_MS
            day, day_end_ms = days.day_and_end(start_ms)
            end_ms = min(to_ms, hour_ms + HOUR_MS, day_end_ms)
            passed_ms = end_ms - start_ms
            row = guild.voice_row(hour_ms, day, place, member.bot)
            for column in columns:
                row[column] += passed_ms
            award = segment.award
            if award is not None and (award.day != day or award.last_ms < hour_ms):
                self.end_slice(segment)
            if active:
                rest_ms = member.voice_rest_ms + passed_ms
                if rest_ms > MINUTE_MS:
                    self._minutes(segment, member, row, day, start_ms, rest_ms=rest_ms)
                else:
                    member.voice_rest_ms = rest_ms
            elif member.voice_rest_ms == MINUTE_MS:
                # The minute that was complete where this stretch begins.
                self._minutes(segment, member, row, day, start_ms, rest_ms=MINUTE_MS + 1)
                member.voice_rest_ms = 0
            start_ms = end_ms
        segment.settled_ms = to_ms
        self.save(segment)

    def _minutes(
        self, segment: Segment, member: MemberRecord, row: list[int], day: int, start_ms: int, *, rest_ms: int
    ) -> None:
        """Award the minutes that are complete before the end of a stretch; one complete at the end waits."""
        count = (rest_ms - 1) // MINUTE_MS
        first_ms = start_ms + MINUTE_MS - member.voice_rest_ms
        self._award(segment, member, row, day, first_ms, count=count)
        member.voice_rest_ms = rest_ms - count * MINUTE_MS

    def complete_minute(self, segment: Segment) -> None:
        """Award a minute complete at the very instant where the segment stands: nothing begins there."""
        member = self.guild.member(segment.user_id)
        if member.voice_rest_ms != MINUTE_MS:
            return
        at_ms = segment.settled_ms
        member.voice_rest_ms = 0
        day = self.guild.policy.days.day(at_ms)
        row = self.guild.voice_row_at(at_ms, (segment.channel_id, segment.user_id), member.bot)
        award = segment.award
        if award is not None and (award.day != day or award.last_ms < at_ms - at_ms % HOUR_MS):
            self.end_slice(segment)
        self._award(segment, member, row, day, at_ms, count=1)
        self.save(segment)

    def _award(
        self, segment: Segment, member: MemberRecord, row: list[int], day: int, first_ms: int, *, count: int
    ) -> None:
        """Award full minutes, the first at ``first_ms``; a daily cap cuts the last of them."""
        guild, policy = self.guild, self.guild.policy
        each, multiplier = policy.per_minute, ONE
        if not policy.plain:
            multiplier = policy.multiplier(segment.channel_id, None, member.roles)
            each = each * multiplier // ONE
        points = guild.allowance(member, day, each * count)
        if points <= 0:
            return
        row[_XP] += points
        count = -(-points // each)
        last_ms = first_ms + (count - 1) * MINUTE_MS
        award = segment.award
        if award is None:
            version = guild.record.settings_version
            base = policy.per_minute
            segment.award = PendingAward(first_ms, last_ms, day, count, base, multiplier, points, version)
        else:
            award.last_ms = last_ms
            award.count += count
            award.xp += points
        guild.award(segment.user_id, member, day, first_ms, each, points=points)

    def end_slice(self, segment: Segment) -> None:
        """Write the ledger row of the running slice's awards, if there are any."""
        award = segment.award
        if award is None:
            return
        segment.award = None
        digest = blake2b(segment.segment_id + award.first_ms.to_bytes(8, "big"), digest_size=16).digest()
        self.guild.outbox.awards.append(
            [
                uuid8(digest),
                award.first_ms,
                award.last_ms,
                award.day,
                segment.guild_id,
                segment.channel_id,
                segment.user_id,
                "voice",
                award.count,
                award.base,
                award.multiplier,
                award.xp,
                award.settings_version,
                None,
            ]
        )

    def go_blind(self, segment: Segment, to_ms: int, extra: int | None) -> None:
        """Pass over time that nobody watched.

        Args:
            segment: settled up to where the blind time begins.
            to_ms: where it ends.
            extra: bits to count it under; None to count it as clipped only.
        """
        start_ms = segment.settled_ms
        if to_ms <= start_ms:
            return
        self.complete_minute(segment)
        self.end_slice(segment)
        if extra is not None:
            self.settle(segment, to_ms, extra)
            self.end_slice(segment)
            return
        guild, place = self.guild, (segment.channel_id, segment.user_id)
        segment.measures[_CLIPPED - _FIRST] += to_ms - start_ms
        while start_ms < to_ms:
            hour_ms = start_ms - start_ms % HOUR_MS
            day, day_end_ms = guild.policy.days.day_and_end(start_ms)
            end_ms = min(to_ms, hour_ms + HOUR_MS, day_end_ms)
            row = guild.voice_row(hour_ms, day, place, bool(segment.bits & BOT))
            row[_CLIPPED] += end_ms - start_ms
            start_ms = end_ms
        segment.settled_ms = to_ms
        self.save(segment)

    def save(self, segment: Segment) -> None:
        """Mark a segment as changed."""
        guild, user_id = self.guild, segment.user_id
        guild.tables.voice.put(guild.member_keys.get(user_id) or guild.key_of(user_id), segment)


def uuid8(digest: bytes) -> bytes:
    """A digest in the form of a UUID version 8."""
    return digest[:6] + bytes((digest[6] & 0x0F | 0x80, digest[7], digest[8] & 0x3F | 0x80)) + digest[9:]
