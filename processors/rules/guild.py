"""One guild in memory: its windows, the members touched since the last drain, and its points."""

from __future__ import annotations

from hashlib import blake2b
from typing import Final

from guildstream.events import Event
from processors.rules.local_time import HOUR_MS, MINUTE_MS, month_name, periods_of, week_name
from processors.rules.options import RuleOptions
from processors.rules.outbox import Board, Outbox
from processors.rules.periods import DAYS, MONTHS, WEEKS, score
from processors.rules.policy import Policy, policy_of
from processors.rules.reaction_memory import ReactionMemory
from processors.rules.records import GuildRecord, MemberRecord, SourceRecord
from processors.rules.tables import Tables
from processors.rules.windows import Window, hour_window

__all__ = ["Guild"]

#: Members of whom it is remembered whether they were erased.
_REMEMBERED_IDS: Final = 10_000
#: Stands where no window is at hand: no event is that old.
_NO_WINDOW: Final = Window(0, 0, 0, 0, voice=False)


class Guild:
    """What the rules hold of a guild. Everything here follows from the tables.

    Attributes:
        id: its snowflake.
        key: its key in ``tables.guilds``.
        member_keys: keys of members by user id; a memory that may be emptied at any time.
        record: its stored record, shared with the table.
        source: the source that owns it, None before its first event.
        policy: its settings, compiled.
        reactions: what may be taken back.
        has_erased: somebody was erased, or the guild itself.
        members: members touched since the last drain.
        members_before: those touched before it: the commit that stores them may be on its way.
        windows: un-emitted windows by ``(start_ms, day, voice)``.
        window: the current window, for all but voice.
        rows: its rows, valid for times from ``window_from`` up to ``window_to``.
        window_start: bucket of that window.
        day: local day of that window.
    """

    __slots__ = (
        "_all_board",
        "_board_day",
        "_erased_ids",
        "_erasure_key",
        "_hour",
        "_memory_ms",
        "_month",
        "_month_board",
        "_week",
        "_week_board",
        "day",
        "has_erased",
        "id",
        "key",
        "member_keys",
        "members",
        "members_before",
        "outbox",
        "policy",
        "reactions",
        "record",
        "rows",
        "source",
        "tables",
        "window",
        "window_from",
        "window_ms",
        "window_start",
        "window_to",
        "windows",
    )

    def __init__(self, guild_id: int, tables: Tables, outbox: Outbox, options: RuleOptions) -> None:
        self.id = guild_id
        self.key = str(guild_id)
        self.tables = tables
        self.outbox = outbox
        self.window_ms = options.window_ms
        self.record = tables.guilds.get(self.key) or GuildRecord()
        self.source: SourceRecord | None = None
        if self.record.owner is not None:
            self.source = tables.sources.get(self.record.owner)
        self.policy: Policy = policy_of(self.record.settings)
        self._memory_ms = options.reaction_memory_ms
        self._erasure_key = options.erasure_key
        self._erased_ids: dict[int, tuple[int, bool] | None] = {}
        self.has_erased = bool(self.record.erased or self.record.erased_ms)
        self.reactions = ReactionMemory(tables, self.key, self.record, options.reaction_memory_ms)
        self.member_keys: dict[int, str] = {}
        self.members: dict[int, MemberRecord] = {}
        self.members_before: dict[int, MemberRecord] = {}
        self.windows: dict[tuple[int, int, bool], Window] = {}
        self.window = self._hour = _NO_WINDOW
        self.rows = self.window.rows
        self.window_from = self.window_to = self.window_start = self.day = 0
        self._board_day = -1
        self._week = self._month = 0
        self._all_board: Board = {}
        self._week_board: Board = {}
        self._month_board: Board = {}

    def save(self) -> None:
        """Mark the record as changed."""
        self.tables.guilds.put(self.key, self.record)

    def key_of(self, user_id: int) -> str:
        """The key of a member, and of a person in voice."""
        key = self.member_keys.get(user_id)
        if key is None:
            key = self.member_keys[user_id] = f"{self.key}:{user_id}"
        return key

    def member(self, user_id: int) -> MemberRecord:
        """A member's record, to be changed: a totals row follows at the next drain."""
        found = self.members.get(user_id)
        if found is None:
            key = self.member_keys.get(user_id) or self.key_of(user_id)
            found = self.tables.members.get(key) or MemberRecord()
            self.tables.members.put(key, found)
            self.members[user_id] = found
        return found

    def known(self, user_id: int) -> MemberRecord:
        """A member's record, to keep an attribute in: no totals row follows."""
        found = self.members.get(user_id)
        if found is None:
            key = self.key_of(user_id)
            found = self.tables.members.get(key) or MemberRecord()
            self.tables.members.put(key, found)
        return found

    def is_bot(self, user_id: int) -> bool:
        """Whether a member is known to be a bot; changes nothing."""
        found = self.members.get(user_id) or self.tables.members.get(self.key_of(user_id))
        return found is not None and found.bot

    def turn_out_bot(self, user_id: int) -> None:
        """A member is a bot: they leave the boards, and say so in their totals if they have any."""
        member = self.known(user_id)
        member.bot = True
        if member.messages or member.voice_ms or member.xp:
            self.member(user_id)
        self.take_off_boards(user_id, member)

    def take_off_boards(self, user_id: int, member: MemberRecord) -> None:
        """No board shows the member any more."""
        if not member.week:
            return
        weeks, months = {member.week, *(member.weeks or ())}, {member.month, *(member.months or ())}
        for period in ("all", *map(week_name, weeks), *map(month_name, months)):
            self.outbox.boards.setdefault((self.id, period), {})[user_id] = 0

    def begin_anew(self, record: GuildRecord) -> None:
        """Forget everything but this record."""
        self.record = record
        self.save()
        self.policy = policy_of(record.settings)
        self.reactions = ReactionMemory(self.tables, self.key, record, self._memory_ms)
        self._erased_ids.clear()
        self.member_keys.clear()
        self.members.clear()
        self.members_before.clear()
        self.windows.clear()
        self.window_from = self.window_to = 0
        self._hour = _NO_WINDOW
        self._board_day = -1
        self.has_erased = True

    def entomb(self, user_id: int, ts_ms: int, *, keep_out: bool) -> None:
        """Remember, without their id, that a member was erased."""
        digest = self._tombstone(user_id)
        former, _ = self.record.erased.get(digest, (0, False))
        self.record.erased[digest] = (max(former, ts_ms), keep_out)
        self._erased_ids.clear()
        self.has_erased = True
        self.save()

    def is_forgotten(self, user_id: int, ts_ms: int) -> bool:
        """Whether what somebody did at an instant is not to be known any more."""
        if not self.has_erased or not user_id:
            return False
        if user_id not in self._erased_ids:
            if len(self._erased_ids) > _REMEMBERED_IDS:
                self._erased_ids.clear()
            self._erased_ids[user_id] = self.record.erased.get(self._tombstone(user_id))
        found = self._erased_ids[user_id]
        return found is not None and (found[1] or ts_ms <= found[0])

    def refuses(self, event: Event) -> bool:
        """Whether an event is of a time, or of somebody, that was erased."""
        record, user_id = self.record, event.user_id
        if record.keep_out or event.ts <= record.erased_ms:
            return True
        return user_id is not None and self.is_forgotten(int(user_id), event.ts)

    def _tombstone(self, user_id: int) -> bytes:
        named = self.id.to_bytes(8, "big") + user_id.to_bytes(8, "big")
        return blake2b(named, digest_size=16, key=self._erasure_key).digest()

    def turn_to(self, ts_ms: int) -> None:
        """Make the window of an instant the current one."""
        start = ts_ms - ts_ms % self.window_ms
        day, day_start, day_end = self.policy.days.stretch(ts_ms)
        window = self.windows.get((start, day, False))
        if window is None:
            window = Window(self.id, start, start + self.window_ms, day, voice=False)
            self.windows[start, day, False] = window
        window.changed = True
        self.window, self.rows, self.window_start, self.day = window, window.rows, start, day
        self.window_from, self.window_to = max(start, day_start), min(window.end_ms, day_end)

    def row(self, ts_ms: int, channel_id: int, user_id: int) -> list[int]:
        """The row of the window of an instant, for all but voice."""
        if not self.window_from <= ts_ms < self.window_to:
            self.turn_to(ts_ms)
        place = (channel_id, user_id)
        return self.rows.get(place) or self.new_row(place, bot=user_id != 0 and self.is_bot(user_id))

    def new_row(self, place: tuple[int, int], bot: bool) -> list[int]:
        """A new row of the current window."""
        self.outbox.pending_rows += 1
        return self.window.new_row(place, bot)

    def row_of_day(self, ts_ms: int, day: int, place: tuple[int, int], bot: bool) -> list[int]:
        """The row of the window of an instant on the local day that was booked for it then."""
        start = ts_ms - ts_ms % self.window_ms
        window = self.windows.get((start, day, False))
        if window is None:
            window = self.windows[start, day, False] = Window(self.id, start, start + self.window_ms, day, voice=False)
        window.changed = True
        row = window.rows.get(place)
        if row is None:
            self.outbox.pending_rows += 1
            row = window.new_row(place, bot)
        return row

    def voice_row(self, hour_ms: int, day: int, place: tuple[int, int], bot: bool) -> list[int]:
        """The row of a UTC hour and local day, for voice."""
        window = self._hour
        if window.start_ms != hour_ms or window.day != day:
            window = self._turn_to_hour(hour_ms, day)
        row = window.rows.get(place)
        if row is None:
            self.outbox.pending_rows += 1
            row = window.new_row(place, bot)
        return row

    def _turn_to_hour(self, hour_ms: int, day: int) -> Window:
        """Make the voice window of an hour the current one."""
        window = self.windows.get((hour_ms, day, True))
        if window is None:
            window = self.windows[hour_ms, day, True] = hour_window(self.id, hour_ms, day)
        window.changed = True
        self._hour = window
        return window

    def voice_row_at(self, ts_ms: int, place: tuple[int, int], bot: bool) -> list[int]:
        """The voice row that an instant falls in."""
        return self.voice_row(ts_ms - ts_ms % HOUR_MS, self.policy.days.day(ts_ms), place, bot)

    def award(self, user_id: int, member: MemberRecord, day: int, first_ms: int, each: int, *, points: int) -> None:
        """Add points to a member, to the boards and to the level.

        Args:
            user_id: who.
            member: their record.
            day: local day of the award.
            first_ms: when; of several awards, the first, the others a minute apart.
            each: points of one award.
            points: of all of them; the last may be cut.
        """
        before = member.xp
        member.xp = xp = before + points
        if day != self._board_day:
            self._turn_boards(day)
        if member.day == day:
            member.day_xp += points
            member.week_xp = in_week = member.week_xp + points
            member.month_xp = in_month = member.month_xp + points
            if not member.bot:
                self._all_board[user_id] = xp
                self._week_board[user_id] = in_week
                self._month_board[user_id] = in_month
        else:
            self._score_elsewhen(user_id, member, day, points, capped=points)
        totals, level = self.policy.curve.totals, member.level
        first = before + each if each < points else xp
        if level + 1 >= len(totals) or first < totals[level] or xp >= totals[level + 1]:
            self._relevel(user_id, member, first_ms, before, each)

    def correct(self, user_id: int, member: MemberRecord, day: int, ts_ms: int, points: int, *, capped: bool) -> None:
        """Add points that are no award, or take some.

        Args:
            user_id: who.
            member: their record, with as many points as are taken.
            day: local day that they are booked to.
            ts_ms: when.
            points: how many, negative to take.
            capped: they count for the day's cap.
        """
        before = member.xp
        member.xp = before + points
        if day != self._board_day:
            self._turn_boards(day)
        self._score_elsewhen(user_id, member, day, points, capped=points if capped else 0)
        self._relevel(user_id, member, ts_ms, before, points)

    def allowance(self, member: MemberRecord, day: int, points: int) -> int:
        """What the daily cap leaves of points; nothing for a day too old to be remembered."""
        cap = self.policy.daily_cap
        if cap is None:
            return points
        if member.day == day:
            had = member.day_xp
        elif member.days is not None and len(member.days) >= DAYS and day < min(member.days):
            return 0
        else:
            had = (member.days or {}).get(day, 0)
        return max(0, min(points, cap - had))

    def _score_elsewhen(self, user_id: int, member: MemberRecord, day: int, points: int, *, capped: int) -> None:
        """Score on a day that is not the member's latest, or begins for them; of it ``capped`` for the cap."""
        was = (member.day, member.day_xp, member.days)
        member.day, member.day_xp, member.days, _ = score(was, day, capped, DAYS)
        in_week: int | None
        in_month: int | None
        weeks = (member.week, member.week_xp, member.weeks)
        member.week, member.week_xp, member.weeks, in_week = score(weeks, self._week, points, WEEKS)
        months = (member.month, member.month_xp, member.months)
        member.month, member.month_xp, member.months, in_month = score(months, self._month, points, MONTHS)
        if member.bot:
            return
        self._all_board[user_id] = member.xp
        if in_week is not None:
            self._week_board[user_id] = in_week
        if in_month is not None:
            self._month_board[user_id] = in_month

    def _turn_boards(self, day: int) -> None:
        """Point at the boards of a local day."""
        self._board_day = day
        self._week, self._month = periods_of(day)
        boards = self.outbox.boards
        self._all_board = boards.setdefault((self.id, "all"), {})
        self._week_board = boards.setdefault((self.id, week_name(self._week)), {})
        self._month_board = boards.setdefault((self.id, month_name(self._month)), {})

    def _relevel(self, user_id: int, member: MemberRecord, first_ms: int, xp: int, each: int) -> None:
        """Go through awards one by one, since each may cross levels, also down where the curve is another now.

        Args:
            user_id: who.
            member: their record, with all of the points.
            first_ms: when the first award was; the others follow a minute apart.
            xp: points before it.
            each: points of one award; the last may be cut.
        """
        curve, last, before = self.policy.curve, member.xp, xp
        while xp != last:
            xp = last if each < 0 else min(xp + each, last)
            level = curve.level(xp)
            if level != member.level:
                at_ms = first_ms + ((xp - before - 1) // each) * MINUTE_MS if each > 0 else first_ms
                self._announce(user_id, member, level, at_ms, xp)
            if level + 1 >= len(curve.totals) or curve.totals[level + 1] > last:
                return
            # Awards that reach no level are passed over.
            xp += (curve.totals[level + 1] - xp - 1) // each * each

    def _announce(self, user_id: int, member: MemberRecord, level: int, at_ms: int, xp: int) -> None:
        """Another level: a notice if it is the highest so far, or if roles come or go with it."""
        roles, remove_roles = self.policy.roles_between(member.level, level)
        member.level = level
        identity = f"{self.id}:{user_id}:{level}:{self.record.reward_version}"
        kind = "level_up"
        if level > member.top_level:
            member.top_level = level
        elif roles or remove_roles:
            member.role_changes += 1
            kind, identity = "role_rewards", f"{identity}:{member.role_changes}"
        else:
            return
        self.outbox.notices.append(
            {
                "id": identity,
                "type": kind,
                "ts": at_ms,
                "guild_id": self.id,
                "user_id": user_id,
                "level": level,
                "xp": xp,
                "roles": roles,
                "remove_roles": remove_roles,
            }
        )

    def totals(self) -> list[list[object]]:
        """Totals rows of the members touched, who then count as untouched; ends the current window's turn."""
        guild_id = self.id
        rows: list[list[object]] = [
            [
                guild_id,
                user_id,
                member.bot,
                member.xp,
                member.level,
                member.messages,
                member.voice_ms,
                member.reactions_given,
                member.first_active_ms or None,
                member.last_active_ms or None,
            ]
            for user_id, member in self.members.items()
        ]
        self.members_before, self.members = self.members, {}
        self._board_day = -1
        self.window_from = self.window_to = 0
        self._hour = _NO_WINDOW
        return rows
