"""The rules once more, as naive as can be: one loop, everybody in voice looked at every time.

Shares nothing with the rules but the events. It keeps every stretch of everybody's presence in a
list and does the sums at the end. Its methods are named after the event types.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from hashlib import blake2b
from typing import Any
from zoneinfo import ZoneInfo

from guildstream.measures import MEASURES

from .histories import PURGE_MS
from .oracle_erasure import erase_guild, erase_member
from .oracle_points import Limits
from .oracle_reactions import Reacted, Reactions

HOUR, MINUTE, WINDOW = 3_600_000, 60_000, 60_000


@dataclass
class Stay:
    """One stretch in a channel, under constant conditions or blind."""

    guild: int
    user: int
    channel: int
    segment: int
    start: int
    end: int
    held: frozenset[str]


@dataclass
class Person:
    channel: int
    segment: int
    flags: dict[str, bool]


@dataclass
class Seg:
    guild: int | None
    user: int
    channel: int
    start: int
    end: int | None = None
    reason: str | None = None
    ms: dict[str, int] = field(default_factory=lambda: defaultdict(int))


class Oracle(Reactions):
    def __init__(self, zones: dict[int, str], settings: dict[int, dict[str, Any]]) -> None:
        self.settings = {guild: its.get("xp", {}) for guild, its in settings.items()}
        self.reactions: dict[tuple[int, int, str, int], Reacted] = {}
        self.clock: dict[int, int] = defaultdict(int)
        self.unmatched = 0
        self.zones = {guild: ZoneInfo(zone) for guild, zone in zones.items()}
        self.seen: dict[str, tuple[int, int]] = {}
        self.last: dict[str, int] = defaultdict(int)
        self.beat: dict[str, int] = defaultdict(int)
        self.final: set[str] = set()
        self.owner: dict[int, str] = {}
        self.stand: dict[int, int] = defaultdict(int)
        self.frozen: set[int] = set()
        self.afk: dict[int, int | None] = defaultdict(lambda: None)
        self.inside: dict[int, dict[int, Person]] = defaultdict(dict)
        self.stays: list[Stay] = []
        self.segments: list[Seg] = []
        self.rows: dict[tuple[int, ...], dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self.limits = Limits()
        #: Points but for those of voice.
        self.xp: dict[tuple[int, int], int] = defaultdict(int)
        self.awarded: dict[tuple[int, int], int] = {}
        self.bots: set[tuple[int, int]] = set()
        self.outcomes: list[str] = []
        self.flow: list[list[Any]] = []
        #: Since when a guild is unavailable.
        self.outage: dict[int, int] = {}
        #: Of erased members: whether they are kept out, and when.
        self.erased: dict[tuple[int, int], tuple[bool, int]] = {}
        #: The same of erased guilds.
        self.gone: dict[int, tuple[bool, int]] = {}
        #: Since when the bot is not in a guild, and how far the partition has come.
        self.removed: dict[int, int] = {}
        self.top = 0
        #: Erased members live on as numbers below 0, each their own, and are nobody at the end.
        self.nobodies = 0

    def feed(self, event: Any) -> None:
        self.top = max(self.top, event.ts - (0 if event.type == "heartbeat" else 5000))
        if event.guild_id in self.removed:
            self.purge(event.guild_id)
            if event.type not in ("guild_remove", "settings", "adjust", "gap", "erase"):
                self.come_back(event.guild_id, event.ts)
        self.outcomes.append(self._feed(event))
        self.give_up()

    def purge(self, guild: int) -> None:
        """Erase a guild that the bot was removed from long ago."""
        removed = self.removed[guild]
        if self.top - removed >= PURGE_MS:
            erase_guild(self, guild)
            keep_out, erased_ms = self.gone.get(guild, (False, -1))
            self.gone[guild] = (keep_out, max(removed, erased_ms))

    def come_back(self, guild: int, ts: int) -> None:
        if guild in self.removed and ts > self.removed[guild]:
            del self.removed[guild]

    def on_guild_remove(self, event: Any, owned: bool) -> None:
        if owned:
            self.removed[event.guild_id] = event.ts
            if self.inside[event.guild_id]:
                self.advance(event.guild_id, event.ts)
                for user in list(self.inside[event.guild_id]):
                    self.close(event.guild_id, user, "guild_remove")

    def give_up(self) -> None:
        """A day of heartbeats into an outage nothing can say any more how voice went on."""
        for guild, since in self.outage.items():
            if self.beat[self.owner[guild]] - since >= 86_400_000:
                for user in list(self.inside[guild]):
                    self.close(guild, user, "outage")

    def _feed(self, event: Any) -> str:
        session, ts = event.session, event.ts
        if event.type == "heartbeat":
            if ts > self.last[session]:
                self.final.discard(session)
            self.last[session] = max(self.last[session], ts)
            self.beat[session] = max(self.beat[session], ts)
            if event.data.final:
                self.final.add(session)
            return "HEARTBEAT"
        identity = (event.seq, event.part)
        if identity <= self.seen.get(session, (-1, 0)):
            return "DUPLICATE"
        self.seen[session] = identity
        self.last[session] = max(self.last[session], ts)
        self.final.discard(session)
        if event.type == "erase":
            self.on_erase(event)
            return "ERASURE"
        return "ERASED" if self.refuses(event) else self._count(event)

    def _count(self, event: Any) -> str:
        session, guild = event.session, event.guild_id
        if event.type in ("settings", "adjust", "gap"):
            if event.type == "adjust":
                self.on_adjust(event, False)
            return "ACCEPTED"
        if self.owner.get(guild) != session and not self._passes(guild, event):
            if event.shard is not None or event.type in ("voice_state", "voice_snapshot"):
                return "SUPERSEDED"
            getattr(self, "on_" + event.type)(event, False)
            return "ACCEPTED"
        self.give_up()
        getattr(self, "on_" + event.type)(event, True)
        return "ACCEPTED"

    def refuses(self, event: Any) -> bool:
        keep_out, gone_ms = self.gone.get(event.guild_id, (False, -1))
        if keep_out or event.ts <= gone_ms:
            return True
        return self.is_forgotten(event.guild_id, event.user_id, event.ts)

    def is_forgotten(self, guild: int, user: int | None, ts: int) -> bool:
        keep_out, erased_ms = self.erased.get((guild, user or 0), (False, -1))
        return keep_out or ts <= erased_ms

    def on_erase(self, event: Any) -> None:
        guild, user = event.guild_id, event.user_id
        if user is None:
            erase_guild(self, guild)
            self.gone[guild] = (event.data.keep_out, max(event.ts, self.gone.get(guild, (False, -1))[1]))
            return
        if user in self.inside[guild]:
            self.advance(guild, event.ts)
            self.close(guild, user, "erase")
        self.nobodies -= 1
        erase_member(self, guild, user, self.nobodies)
        self.erased[guild, user] = (event.data.keep_out, max(event.ts, self.erased.get((guild, user), (False, -1))[1]))

    def _passes(self, guild: int, event: Any) -> bool:
        owner = self.owner.get(guild)
        if owner is None:
            self.owner[guild] = event.session
            self.stand[guild] = max(self.stand[guild], 0)
            if event.type == "voice_snapshot":
                self.frozen.add(guild)
            return True
        silent = owner not in self.final and event.ts - self.last[owner] >= 30_000
        if not (event.type == "voice_snapshot" or owner in self.final or silent):
            return False
        self.count(guild, self.now(guild))
        self.owner[guild] = event.session
        if event.shard is not None or event.type == "voice_snapshot":
            self.frozen.add(guild)
        elif silent and guild not in self.frozen and self.inside[guild]:
            self.count(guild, max(event.ts, self.now(guild)), "clipped_ms")
        return True

    def now(self, guild: int) -> int:
        beat = 0 if guild in self.frozen else self.beat[self.owner.get(guild, "")]
        return max(self.stand[guild], beat)

    def advance(self, guild: int, ts: int) -> int:
        self.count(guild, self.now(guild))
        if guild not in self.frozen and ts > self.stand[guild]:
            self.count(guild, ts)
        return self.stand[guild]

    def count(self, guild: int, to: int, blind: str = "") -> None:
        """Everybody stays as they are up to ``to``."""
        people, since = self.inside[guild], self.stand[guild]
        for user, person in people.items() if to > since else ():
            held = {blind} if blind else self.held(guild, user, person)
            self.stays.append(Stay(guild, user, person.channel, person.segment, since, to, frozenset(held)))
        self.stand[guild] = max(since, to)

    def held(self, guild: int, user: int, person: Person) -> set[str]:
        flags, held = person.flags, {"voice_ms"}
        others = [
            other
            for other, its in self.inside[guild].items()
            if other != user and its.channel == person.channel and not its.flags["bot"]
        ]
        if not others:
            held.add("alone_ms")
        if flags["self_mute"] or flags["mute"]:
            held.add("muted_ms")
        if flags["self_deaf"] or flags["deaf"]:
            held.add("deafened_ms")
        if flags["stream"]:
            held.add("stream_ms")
        if flags["video"]:
            held.add("video_ms")
        if person.channel == self.afk[guild]:
            held.add("afk_ms")
        elif flags["suppress"]:
            held.add("audience_ms")
        ignored = self.limits.ignores(self.settings[guild], (guild, user), person.channel)
        if not flags["bot"] and not ignored and not held & {"alone_ms", "deafened_ms", "afk_ms"}:
            held.add("voice_active_ms")
        return held

    def open(self, guild: int, user: int, channel: int, flags: dict[str, bool], *, joined: bool) -> None:
        at = self.stand[guild]
        self.segments.append(Seg(guild, user, channel, at))
        self.inside[guild][user] = Person(channel, len(self.segments) - 1, flags)
        if flags["bot"]:
            self.bots.add((guild, user))
        if joined:
            self.rows[at - at % HOUR, self.day(guild, at), guild, channel, user]["voice_joins"] += 1

    def close(self, guild: int, user: int, reason: str) -> None:
        person = self.inside[guild].pop(user)
        segment = self.segments[person.segment]
        segment.end, segment.reason = self.stand[guild], reason

    def reflag(self, guild: int, user: int, flags: dict[str, bool]) -> None:
        person = self.inside[guild][user]
        person.flags = {**flags, "bot": flags["bot"] or person.flags["bot"]}
        if flags["bot"]:
            self.bots.add((guild, user))

    def flags(self, guild: int, user: int, state: Any) -> dict[str, bool]:
        names = ("self_mute", "self_deaf", "mute", "deaf", "stream", "video", "suppress", "bot")
        flags = {name: getattr(state, name) for name in names}
        flags["bot"] = flags["bot"] or (guild, user) in self.bots
        return flags

    def on_voice_state(self, event: Any, _owned: bool) -> None:
        guild, user, channel = event.guild_id, event.user_id, event.channel_id
        if guild in self.frozen:
            return
        self.advance(guild, event.ts)
        person = self.inside[guild].get(user)
        flags = self.flags(guild, user, event.data)
        if channel is None:
            if person:
                self.close(guild, user, "leave")
        elif person is None:
            self.open(guild, user, channel, flags, joined=True)
        elif person.channel == channel:
            self.reflag(guild, user, flags)
        else:
            self.close(guild, user, "move")
            self.open(guild, user, channel, flags, joined=False)

    def on_voice_snapshot(self, event: Any, _owned: bool) -> None:
        guild = event.guild_id
        states = {
            state.user_id: state for state in event.data.states if not self.is_forgotten(guild, state.user_id, event.ts)
        }
        self.count(guild, self.now(guild))
        moved = set()
        for user, person in list(self.inside[guild].items()):
            if user not in states:
                self.close(guild, user, "timeout")
            elif states[user].channel_id != person.channel:
                self.close(guild, user, "move")
                moved.add(user)
        self.frozen.discard(guild)
        self.outage.pop(guild, None)
        self.count(guild, max(event.ts, self.now(guild)), "clipped_ms")
        for user, state in states.items():
            flags = self.flags(guild, user, state)
            if user in self.inside[guild]:
                self.reflag(guild, user, flags)
            else:
                self.open(guild, user, state.channel_id, flags, joined=user not in moved)

    def on_member_leave(self, event: Any, owned: bool) -> None:
        self.flow.append([event.ts, event.guild_id, event.user_id, "leave", None])
        if owned and event.user_id in self.inside[event.guild_id]:
            self.advance(event.guild_id, event.ts)
            self.close(event.guild_id, event.user_id, "member_leave")

    def on_channel_delete(self, event: Any, owned: bool) -> None:
        guild = event.guild_id
        if owned and self.inside[guild]:
            self.advance(guild, event.ts)
            for user, person in list(self.inside[guild].items()):
                if person.channel == event.data.channel_id:
                    self.close(guild, user, "channel_delete")

    def on_guild_unavailable(self, event: Any, owned: bool) -> None:
        if owned:
            self.advance(event.guild_id, event.ts)
            self.frozen.add(event.guild_id)
            self.outage.setdefault(event.guild_id, event.ts)

    def on_guild_update(self, event: Any, owned: bool) -> None:
        afk = event.data.afk_channel_id
        if owned and self.afk[event.guild_id] != afk:
            if self.inside[event.guild_id]:
                self.advance(event.guild_id, event.ts)
            self.afk[event.guild_id] = afk

    def on_adjust(self, event: Any, _owned: bool) -> None:
        """Only of guilds without points for voice, where what somebody has is at hand."""
        guild, who, data = event.guild_id, (event.guild_id, event.user_id), event.data
        self.count(guild, self.now(guild))
        row = self._row(event, event.user_id)
        xp = max(0, (self.xp[who] if data.set_xp is None else data.set_xp) + (data.xp or 0))
        row["xp"] += xp - self.xp[who]
        self.xp[who] = xp
        messages = sum(its["messages"] for key, its in self.rows.items() if (key[2], key[4]) == who)
        row["messages"] += max(data.messages, -messages)
        voice_ms = sum(its["voice_ms"] for key, its in self.rows.items() if (key[2], key[4]) == who)
        voice_ms += sum(s.end - s.start for s in self.stays if (s.guild, s.user) == who and "voice_ms" in s.held)
        hour = (event.ts - event.ts % HOUR, *next(key for key, its in self.rows.items() if its is row)[1:])
        self.rows[hour]["voice_ms"] += max(data.voice_ms, -voice_ms)

    def on_member_join(self, event: Any, _owned: bool) -> None:
        self.flow.append([event.ts, event.guild_id, event.user_id, "join", event.data.invite])

    def on_message_update(self, event: Any, _owned: bool) -> None:
        self._row(event, event.user_id)["edits"] += 1

    def on_message_delete(self, event: Any, _owned: bool) -> None:
        self._row(event, 0)["deletes"] += 1

    def on_command(self, event: Any, _owned: bool) -> None:
        row = self._row(event, event.user_id)
        if event.data.kind in ("slash", "user", "message"):
            row["commands"] += 1
            self._earn(event, event.user_id, row, self.settings[event.guild_id].get("command", 0))

    def on_message_create(self, event: Any, _owned: bool) -> None:
        data, row, who = event.data, self._row(event, event.user_id), (event.guild_id, event.user_id)
        row["messages"] += 1
        if data.chars is not None:
            row["sized"] += 1
            row["chars"] += data.chars
        row["attachments"] += data.attachments or 0
        row["replies"] += data.reply_to is not None
        if data.bot:
            self.bots.add(who)
        rule = {"min": 15, "max": 25, "cooldown_seconds": 60, **self.settings[event.guild_id].get("message", {})}
        if who not in self.awarded or event.ts - self.awarded[who] >= rule["cooldown_seconds"] * 1000:
            digest = blake2b(data.message_id.to_bytes(8, "big"), digest_size=8).digest()
            base = rule["min"] + int.from_bytes(digest, "big") % (rule["max"] - rule["min"] + 1)
            if self._earn(event, event.user_id, row, base):
                self.awarded[who] = event.ts

    def _earn(self, event: Any, user: int, row: dict[str, int], base: int) -> int:
        """Points for an event, as far as settings and the day's cap let them be."""
        who = (event.guild_id, user)
        day = self.day(event.guild_id, event.ts)
        allow = 0 if who in self.bots else base
        xp = self.limits.allow(self.settings[event.guild_id], who, day, event.channel_id, allow)
        row["xp"] += xp
        self.xp[who] += xp
        return xp

    def _row(self, event: Any, user: int) -> dict[str, int]:
        bucket = event.ts - event.ts % WINDOW
        return self.rows[bucket, self.day(event.guild_id, event.ts), event.guild_id, event.channel_id, user]

    def day(self, guild: int, ts: int) -> int:
        return (self.local(guild, ts) - date(1970, 1, 1)).days

    def local(self, guild: int, ts: int) -> date:
        return (datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=ts)).astimezone(self.zones[guild]).date()

    def finish(self) -> None:
        """Everything counted to where each guild's voice stands, then added up."""
        for guild in list(self.removed):
            self.purge(guild)
        for guild in list(self.inside):
            self.count(guild, self.now(guild))
        active: dict[tuple[int, int], int] = defaultdict(int)
        for stay in self.stays:
            for a, b in self._pieces(stay):
                row = self.rows[a - a % HOUR, self.day(stay.guild, a), stay.guild, stay.channel, stay.user]
                for name in stay.held:
                    row[name] += b - a
            for name in stay.held:
                self.segments[stay.segment].ms[name] += stay.end - stay.start
            if "voice_active_ms" in stay.held:
                who = (stay.guild, stay.user)
                before = active[who]
                active[who] += stay.end - stay.start
                for full in range(before // MINUTE + 1, active[who] // MINUTE + 1):
                    self._minute(stay, stay.start + full * MINUTE - before)

    def _minute(self, stay: Stay, at: int) -> None:
        """A minute complete at an instant belongs to what begins there."""
        segment, channel = stay.segment, stay.channel
        while self.segments[segment].end == at and self.segments[segment].reason == "move":
            following = [
                number
                for number, its in enumerate(self.segments)
                if number > segment and (its.guild, its.user) == (stay.guild, stay.user)
            ]
            if not following or self.segments[following[0]].start != at:
                break
            segment = following[0]
            channel = self.segments[segment].channel
        each = self.settings[stay.guild].get("voice", {}).get("per_minute", 5)
        self.rows[at - at % HOUR, self.day(stay.guild, at), stay.guild, channel, stay.user]["xp"] += each

    def _pieces(self, stay: Stay) -> list[tuple[int, int]]:
        """A stay cut at quarters of an hour: finer than hours and local midnights, with the same sums."""
        step, a, pieces = 15 * MINUTE, stay.start, []
        while a < stay.end:
            b = min(stay.end, a - a % step + step)
            pieces.append((a, b))
            a = b
        return pieces

    def table(self) -> dict[tuple[int, ...], list[int]]:
        rows: dict[tuple[int, ...], list[int]] = defaultdict(lambda: [0] * len(MEASURES))
        for key, row in self.rows.items():
            sums = rows[*key[:4], max(key[4], 0)]
            sums[:] = [a + row.get(name, 0) for a, name in zip(sums, MEASURES, strict=True)]
        return {key: row for key, row in rows.items() if any(row)}
