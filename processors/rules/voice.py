"""A guild's voice: who is where, since when, and what of it counts (DESIGN §5.3).

Nobody's time is counted while nothing about them changes. A person's segment is settled up to an
instant when something does: their own state, company coming or going, a slice's pane being due. So a
join or a leave touches one or two people, however many are in the channel, and when the settling
happens never changes a sum.
"""

from __future__ import annotations

from typing import Final

from guildstream.measures import M
from processors.rules.conditions import AFK, ALONE, AUDIENCE, BOT, IGNORED, SUPPRESSED
from processors.rules.guild import Guild
from processors.rules.local_time import HOUR_MS, MINUTE_MS
from processors.rules.records import Segment
from processors.rules.slices import Slices

__all__ = ["SHOWN_EVERY_MS", "Room", "Voice"]

#: An open segment's row is written at most this often.
SHOWN_EVERY_MS: Final = 5 * MINUTE_MS
#: So many people in voice make early panes of them a minute rarer, down to that often.
_PANE_PEOPLE: Final = 100
#: An outage of this length has no return.
GIVEN_UP_MS: Final = 24 * HOUR_MS
#: Beyond so many people in a channel nobody is listed with whom; their sessions say it too.
CROWD: Final = 50


class Room:
    """Who is in a channel: people, and bots, which are nobody's company."""

    __slots__ = ("bots", "humans")

    def __init__(self) -> None:
        self.humans: set[int] = set()
        self.bots: set[int] = set()


class Voice(Slices):
    """Everybody in a guild's voice channels.

    Attributes:
        guild: whose voice it is.
        segments: open segments by user id.
        rooms: channels with anybody in them.
        paned_ms: up to here everybody was settled together.
    """

    __slots__ = ("paned_ms", "rooms", "segments")

    def __init__(self, guild: Guild) -> None:
        super().__init__(guild)
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
        member = guild.member(user_id)
        segment = Segment(1, guild.id, user_id, channel_id, *ids, at_ms, at_ms, at_ms, flags)
        segment.bits = self._bits(segment, flags)
        if flags & BOT and not member.bot:
            guild.turn_out_bot(user_id)
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
        self.save(segment)
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

    def give_up(self) -> None:
        """Close everybody's segments where an outage has lasted so long that nothing will say how they went on.

        When it is noticed doesn't matter: it is so from a heartbeat of the owner on, and nothing accrues.
        """
        outage, source = self.guild.record.outage, self.guild.source
        if outage is None or source is None or source.heartbeat_ms - outage[0] < GIVEN_UP_MS:
            return
        for _, segment in sorted(self.segments.items()):
            self.close(segment, self.now_ms(), "outage")

    def others(self, channel_id: int, user_id: int) -> list[int]:
        """Who else is in a channel; nobody where it is a crowd, since each would be a row."""
        room = self.rooms.get(channel_id)
        if room is None or len(room.humans) + len(room.bots) > CROWD:
            return []
        return sorted((room.humans | room.bots) - {user_id})

    def change(self, segment: Segment, at_ms: int, flags: int) -> None:
        """Other flags from an instant on."""
        bits = self._bits(segment, flags | segment.bits & BOT)
        if bits & BOT and not segment.bits & BOT:
            self._turn_out_bot(segment, at_ms)
        self._become(segment, at_ms, bits | segment.bits & ALONE)

    def find_bot(self, user_id: int) -> None:
        """A member turns out to be a bot; what they have earned in voice so far comes first."""
        segment = self.segments.get(user_id)
        if segment is not None:
            self.settle(segment, self.now_ms())
        self.guild.turn_out_bot(user_id)

    def _turn_out_bot(self, segment: Segment, at_ms: int) -> None:
        """Somebody taken for a person is a bot: company no longer, active no longer."""
        self.settle(segment, at_ms)
        self.end_slice(segment)
        self.guild.turn_out_bot(segment.user_id)
        self._leave(segment, at_ms)
        segment.bits = segment.bits & ~ALONE | BOT
        self._enter(segment, at_ms)
        self.save(segment)

    def cut(self, at_ms: int) -> None:
        """End everybody's slice, because what counts is about to change."""
        for segment in self.segments.values():
            self.settle(segment, at_ms)
            self.end_slice(segment)

    def reread(self) -> None:
        """Read everybody's conditions anew, after ``cut`` and the change."""
        for segment in self.segments.values():
            segment.bits = self._bits(segment, segment.bits) | segment.bits & ALONE
            self.save(segment)

    def see_roles(self, user_id: int, roles: tuple[int | str, ...], ts_ms: int, *, owned: bool) -> None:
        """Keep a member's roles; where they matter, a change cuts their slice."""
        member = self.guild.known(user_id)
        seen = tuple(int(role) for role in roles)
        if seen == member.roles:
            return
        segment = self.segments.get(user_id) if self.guild.policy.by_roles else None
        if segment is not None:
            self.settle(segment, self.advance(ts_ms) if owned else self.now_ms())
            self.end_slice(segment)
        member.roles = seen
        if segment is not None:
            segment.bits = self._bits(segment, segment.bits) | segment.bits & ALONE
            self.save(segment)

    def pane_every_ms(self) -> int:
        """How much event time lies between early panes: a pane costs by people, not by what they do."""
        return min(MINUTE_MS * (1 + len(self.segments) // _PANE_PEOPLE), SHOWN_EVERY_MS)

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

    def _bits(self, segment: Segment, bits: int) -> int:
        """Bits of the voice state alone, and what follows from the guild and its settings."""
        guild, channel_id = self.guild, segment.channel_id
        bits &= ~(AFK | AUDIENCE | ALONE | IGNORED)
        if not guild.policy.plain:
            roles = guild.known(segment.user_id).roles
            bits |= IGNORED if guild.policy.ignores(segment.user_id, channel_id, None, roles) else 0
        if channel_id == guild.record.afk_channel_id:
            return bits | AFK
        # Discord suppresses everybody in the AFK channel too, which is no stage.
        return bits | (AUDIENCE if bits & SUPPRESSED else 0)

    def _become(self, segment: Segment, at_ms: int, bits: int) -> None:
        if bits != segment.bits:
            self.settle(segment, at_ms)
            self.end_slice(segment)
            segment.bits = bits
            self.save(segment)

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
