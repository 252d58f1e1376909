"""A guild's voice: who is where, since when, and what of it counts (DESIGN §5.3).

Nobody's time is counted while nothing about them changes. A person's segment is settled up to an
instant when something does: their own state, company coming or going, a slice's pane being due. So a
join or a leave touches one or two people, however many are in the channel, and when the settling
happens never changes a sum.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from guildstream.measures import M
from processors.rules.conditions import AFK, ALONE, AUDIENCE, BOT, SUPPRESSED
from processors.rules.guild import Guild
from processors.rules.local_time import HOUR_MS
from processors.rules.records import MemberRecord, PendingAward, Segment

__all__ = ["MINUTE_MS", "SHOWN_EVERY_MS", "Room", "Voice"]

MINUTE_MS: Final = 60_000
#: An open segment's row is written at most this often.
SHOWN_EVERY_MS: Final = 5 * MINUTE_MS
_FIRST: Final = M.VOICE_MS
_CLIPPED: Final = M.CLIPPED_MS
_XP: Final = M.XP
_ONE: Final = 1000


class Room:
    """Who is in a channel: people, and bots, which are nobody's company."""

    __slots__ = ("bots", "humans")

    def __init__(self) -> None:
        self.humans: set[int] = set()
        self.bots: set[int] = set()


class Voice:
    """Everybody in a guild's voice channels.

    Attributes:
        guild: whose voice it is.
        segments: open segments by user id.
        rooms: channels with anybody in them.
        paned_ms: up to here everybody was settled together.
    """

    __slots__ = ("guild", "paned_ms", "rooms", "segments")

    def __init__(self, guild: Guild) -> None:
        self.guild = guild
        self.segments: dict[int, Segment] = {}
        self.rooms: dict[int, Room] = {}
        self.paned_ms = 0

    def restore(self, segment: Segment) -> None:
        """Put back a segment that was open at the last commit."""
        self.segments[segment.user_id] = segment
        room = self._room(segment.channel_id)
        (room.bots if segment.bits & BOT else room.humans).add(segment.user_id)

    def now_ms(self) -> int:
        """Where the guild's voice stands: nothing accrues beyond it."""
        record, source = self.guild.record, self.guild.source
        if record.frozen or source is None or source.heartbeat_ms <= record.voice_ms:
            return record.voice_ms
        return source.heartbeat_ms

    def advance(self, ts_ms: int) -> int:
        """Move the voice to an instant, unless it is further or frozen; where it stands then."""
        record = self.guild.record
        now_ms = self.now_ms()
        if ts_ms > now_ms and not record.frozen:
            now_ms = ts_ms
        if record.voice_ms != now_ms:
            record.voice_ms = now_ms
            self.guild.save()
        return now_ms

    def open(
        self, user_id: int, channel_id: int, flags: int, at_ms: int, ids: tuple[bytes, bytes], *, joined: bool
    ) -> None:
        """Begin a segment.

        Args:
            user_id: who.
            channel_id: where.
            flags: what their voice state says, ``BOT`` included.
            at_ms: when.
            ids: of the segment and of the visit.
            joined: a visit begins with it.
        """
        guild = self.guild
        segment = Segment(1, guild.id, user_id, channel_id, *ids, at_ms, at_ms, at_ms, self._bits(flags, channel_id))
        member = guild.member(user_id)
        if flags & BOT:
            member.bot = True
        if not 0 < member.first_active_ms <= at_ms:
            member.first_active_ms = at_ms
        member.last_active_ms = max(member.last_active_ms, at_ms)
        guild.tables.members.pin(guild.key_of(user_id))
        if not self.segments:
            self.paned_ms = at_ms
        self._enter(segment, at_ms)
        self.segments[user_id] = segment
        if joined:
            place = (channel_id, user_id)
            guild.voice_row_at(at_ms, place, bot=member.bot)[M.VOICE_JOINS] += 1
        self._save(segment)
        guild.outbox.sessions[segment.segment_id] = segment.row()

    def close(self, segment: Segment, at_ms: int, reason: str, *, moves_on: bool = False) -> None:
        """End a segment. ``moves_on``: another begins at this instant, which a minute then belongs to."""
        guild = self.guild
        self.settle(segment, at_ms)
        if not moves_on:
            self.complete_minute(segment)
        self.end_slice(segment)
        del self.segments[segment.user_id]
        self._leave(segment, at_ms)
        key = guild.key_of(segment.user_id)
        guild.tables.voice.delete(key)
        guild.tables.members.unpin(key)
        guild.outbox.sessions[segment.segment_id] = segment.row(segment.settled_ms, reason)

    def change(self, segment: Segment, at_ms: int, flags: int) -> None:
        """Other flags from an instant on."""
        bits = self._bits(flags | segment.bits & BOT, segment.channel_id)
        if bits & BOT and not segment.bits & BOT:
            self._turn_out_bot(segment, at_ms)
        self._become(segment, at_ms, bits | segment.bits & ALONE)

    def _turn_out_bot(self, segment: Segment, at_ms: int) -> None:
        """Somebody taken for a person is a bot: company no longer, active no longer."""
        self.settle(segment, at_ms)
        self.end_slice(segment)
        self.guild.member(segment.user_id).bot = True
        self._leave(segment, at_ms)
        segment.bits = segment.bits & ~ALONE | BOT
        self._enter(segment, at_ms)
        self._save(segment)

    def refresh(self, at_ms: int) -> None:
        """What the guild says has changed: everybody's slice ends, and their conditions are read anew."""
        for segment in self.segments.values():
            self.settle(segment, at_ms)
            self.end_slice(segment)
            segment.bits = self._bits(segment.bits, segment.channel_id) | segment.bits & ALONE
            self._save(segment)

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
        guild, bits = self.guild, segment.bits | extra
        member, place = guild.member(segment.user_id), (segment.channel_id, segment.user_id)
        columns, active = guild.policy.columns(bits)
        measures, days = segment.measures, guild.policy.days
        for column in columns:
            measures[column - _FIRST] += to_ms - start_ms
        member.voice_ms += to_ms - start_ms
        member.last_active_ms = max(member.last_active_ms, to_ms)
        while start_ms < to_ms:
            hour_ms = start_ms - start_ms % HOUR_MS
            day, day_end_ms = days.day_and_end(start_ms)
            end_ms = min(to_ms, hour_ms + HOUR_MS, day_end_ms)
            row = guild.voice_row(hour_ms, day, place, member.bot)
            for column in columns:
                row[column] += end_ms - start_ms
            if segment.award is not None and (segment.award.day != day or segment.award.last_ms < hour_ms):
                self.end_slice(segment)
            if active or member.voice_rest_ms == MINUTE_MS:
                self._minutes(segment, member, row, day, start_ms, active_ms=end_ms - start_ms if active else 1)
                if not active:
                    member.voice_rest_ms = 0
            start_ms = end_ms
        segment.settled_ms = to_ms
        self._save(segment)

    def _minutes(
        self, segment: Segment, member: MemberRecord, row: list[int], day: int, start_ms: int, *, active_ms: int
    ) -> None:
        """Award the minutes that are complete before the end of a stretch; one complete at the end waits."""
        rest_ms = member.voice_rest_ms + active_ms
        count = (rest_ms - 1) // MINUTE_MS
        if count > 0:
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
        self._save(segment)

    def _award(
        self, segment: Segment, member: MemberRecord, row: list[int], day: int, first_ms: int, *, count: int
    ) -> None:
        guild = self.guild
        base = guild.policy.per_minute
        if base == 0:
            return
        row[_XP] += base * count
        last_ms = first_ms + (count - 1) * MINUTE_MS
        award = segment.award
        if award is None:
            version = guild.record.settings_version
            segment.award = PendingAward(first_ms, last_ms, day, count, base, _ONE, base * count, version)
        else:
            award.last_ms = last_ms
            award.count += count
            award.xp += base * count
        guild.award(segment.user_id, member, day, first_ms, base, count=count)

    def end_slice(self, segment: Segment) -> None:
        """Write the ledger row of the running slice's awards, if there are any."""
        award = segment.award
        if award is None:
            return
        segment.award = None
        digest = blake2b(segment.segment_id + award.first_ms.to_bytes(8, "big"), digest_size=16).digest()
        self.guild.outbox.awards.append(
            [
                _uuid8(digest),
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
        self._save(segment)

    def pane(self, *, final: bool = False) -> None:
        """Settle everybody to where the voice stands, and write rows that were not for a while.

        ``final``: nothing follows for now, so minutes and slices end here.
        """
        now_ms = self.paned_ms = self.now_ms()
        sessions = self.guild.outbox.sessions
        for segment in self.segments.values():
            self.settle(segment, now_ms)
            if final:
                self.complete_minute(segment)
                self.end_slice(segment)
            if now_ms - segment.shown_ms >= SHOWN_EVERY_MS or (final and now_ms > segment.shown_ms):
                segment.shown_ms = now_ms
                sessions[segment.segment_id] = segment.row()

    def _bits(self, bits: int, channel_id: int) -> int:
        """Bits of the voice state alone, and what follows from the guild."""
        afk = channel_id == self.guild.record.afk_channel_id
        bits &= ~(AFK | AUDIENCE | ALONE)
        # Discord suppresses everybody in the AFK channel, which is no stage.
        return bits | (AFK if afk else AUDIENCE if bits & SUPPRESSED else 0)

    def _become(self, segment: Segment, at_ms: int, bits: int) -> None:
        if bits != segment.bits:
            self.settle(segment, at_ms)
            self.end_slice(segment)
            segment.bits = bits
            self._save(segment)

    def _enter(self, segment: Segment, at_ms: int) -> None:
        room = self._room(segment.channel_id)
        if segment.bits & BOT:
            segment.bits |= 0 if room.humans else ALONE
            room.bots.add(segment.user_id)
            return
        if not room.humans:
            segment.bits |= ALONE
        self._company(room, at_ms, from_humans=len(room.humans))
        room.humans.add(segment.user_id)

    def _company(self, room: Room, at_ms: int, *, from_humans: int) -> None:
        """Somebody comes: whoever was the only human, or a bot without one, is alone no longer."""
        lonely = room.humans if from_humans == 1 else room.bots if from_humans == 0 else ()
        for user_id in lonely:
            other = self.segments[user_id]
            self._become(other, at_ms, other.bits & ~ALONE)

    def _leave(self, segment: Segment, at_ms: int) -> None:
        room = self.rooms[segment.channel_id]
        (room.bots if segment.bits & BOT else room.humans).discard(segment.user_id)
        if not segment.bits & BOT and len(room.humans) <= 1:
            for user_id in room.humans or room.bots:
                other = self.segments[user_id]
                self._become(other, at_ms, other.bits | ALONE)
        if not room.humans and not room.bots:
            del self.rooms[segment.channel_id]

    def _room(self, channel_id: int) -> Room:
        room = self.rooms.get(channel_id)
        if room is None:
            room = self.rooms[channel_id] = Room()
        return room

    def _save(self, segment: Segment) -> None:
        self.guild.tables.voice.put(self.guild.key_of(segment.user_id), segment)


def _uuid8(digest: bytes) -> bytes:
    """A digest in the form of a UUID version 8."""
    return digest[:6] + bytes((digest[6] & 0x0F | 0x80, digest[7], digest[8] & 0x3F | 0x80)) + digest[9:]
