"""The rules of one partition: events in, rows out, everything that lasts in tables.

A ``PartitionRules`` is rebuilt from its tables at a hand-over and after a rollback, and gives from
there what it would have given without.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from enum import IntEnum
from itertools import islice
from typing import Any, Final

from guildstream.events import (
    Adjust,
    ChannelDelete,
    Command,
    Erase,
    Event,
    Gap,
    GuildRemove,
    GuildUnavailable,
    GuildUpdate,
    Heartbeat,
    MemberJoin,
    MemberLeave,
    MemberUpdate,
    MessageCreate,
    MessageDelete,
    MessageDeleteBulk,
    MessageUpdate,
    ReactionAdd,
    ReactionClear,
    ReactionRemove,
    SettingsChange,
    VoiceSnapshot,
    VoiceState,
    snowflake,
)
from processors.rules import adjustments, messages, reactions, voice_events
from processors.rules.erasure import erase_guild, erase_member, purge_guild
from processors.rules.guild import Guild
from processors.rules.local_time import HOUR_MS
from processors.rules.options import RuleOptions
from processors.rules.outbox import Drained, Outbox
from processors.rules.ownership import NEVER_OWN, pass_ownership
from processors.rules.reaction_memory import Keys
from processors.rules.reactions import REACTIONS
from processors.rules.records import SourceRecord
from processors.rules.tables import Tables
from processors.rules.voice import Voice

__all__ = ["Outcome", "PartitionRules", "RuleOptions"]

#: Guilds without anything open that stay in memory between commits.
_IDLE_GUILDS: Final = 4096
#: Member keys remembered between chunks.
_KEYS: Final = 262_144

#: Types that touch more than their guild and their user.
_MORE_KEYS: Final = REACTIONS | {VoiceSnapshot}

_VOICE: Final = frozenset({VoiceState, VoiceSnapshot})

_HANDLERS: Final[dict[type[Event], Callable[[Voice, Any, bool], None]]] = {
    MessageCreate: messages.message_create,
    MessageUpdate: messages.message_update,
    MessageDelete: messages.message_delete,
    MessageDeleteBulk: messages.message_delete_bulk,
    Command: messages.command,
    ReactionAdd: reactions.reaction_add,
    ReactionRemove: reactions.reaction_remove,
    ReactionClear: reactions.reaction_clear,
    VoiceState: voice_events.voice_state,
    VoiceSnapshot: voice_events.voice_snapshot,
    MemberLeave: voice_events.member_leave,
    MemberJoin: voice_events.member_join,
    MemberUpdate: voice_events.member_update,
    ChannelDelete: voice_events.channel_delete,
    GuildRemove: voice_events.guild_remove,
    GuildUnavailable: voice_events.guild_unavailable,
    GuildUpdate: voice_events.guild_update,
    SettingsChange: voice_events.settings_change,
    Adjust: adjustments.adjust,
    Gap: voice_events.gap,
}


class Outcome(IntEnum):
    """What became of an event."""

    ACCEPTED = 0
    DUPLICATE = 1
    SUPERSEDED = 2
    HEARTBEAT = 3
    ERASED = 4
    """Of a time or of somebody that was erased: not counted and not stored."""
    ERASURE = 5
    """An accepted ``erase``; its position must be told by ``place_erasure``."""


ACCEPTED, DUPLICATE, SUPERSEDED, HEARTBEAT, ERASED, ERASURE = Outcome


class PartitionRules:
    """Applies a partition's events in order. Not for concurrent use; nothing blocks.

    After an exception the object and everything put into its tables since the last commit must be
    thrown away.
    """

    def __init__(self, tables: Tables, options: RuleOptions) -> None:
        self._tables = tables
        self._options = options
        self._grace_ms = options.grace_ms
        self._outbox = Outbox()
        self._outbox.removed = {int(key): its.removed_ms for key, its in tables.removals.items()}
        #: Guilds that a commit has to look at: touched since the last, or with something open ...
        self._guilds: dict[int, Voice] = {}
        #: ... and others that are remembered, the longest untouched first.
        self._idle: dict[int, Voice] = {}
        self._member_keys: dict[int, dict[int, str]] = {}
        self._keys_made = 0
        self._touched: dict[str, SourceRecord] = {}
        self._session: str | None = None
        self._source = SourceRecord()
        self._top_ms = max((source.watermark_ms for _, source in tables.sources.items()), default=0)
        self._restored = False
        self._guild_state: dict[int, Keys] = {}
        self._erased_reactions: dict[int, set[str]] = {}

    @property
    def pending_rows(self) -> int:
        """Rows in un-emitted windows."""
        return self._outbox.pending_rows

    def initial_keys(self) -> dict[str, set[str]]:
        """By table, the keys to fetch before anything else: guilds and people with something open.

        Also pins them: the guilds until they are taken up, the people in voice as long as they are,
        since they are settled when no event names them.
        """
        guilds = {str(window.guild_id) for _, window in self._tables.windows.items()}
        members: set[str] = set()
        for key, segment in self._tables.voice.items():
            guilds.add(str(segment.guild_id))
            members.add(key)
            self._tables.members.pin(key)
        for key in guilds:
            self._tables.guilds.pin(key)
        return {"guilds": guilds, "members": members}

    def rounds(self, events: Sequence[Event]) -> Generator[Keys, None, None]:
        """What to fetch before these events are applied, in rounds: what a round brings may ask for more.

        Most chunks need one. The initial keys must have been fetched.

        Yields:
            By table, keys to fetch before it is resumed.
        """
        self._erased_reactions.clear()
        more: list[Event] = []
        yield self.keys(events, more)
        by_guild: dict[int, list[Event]] = {}
        for event in more:
            guild_id: Any = event.guild_id
            if event.__class__ in REACTIONS:
                by_guild.setdefault(guild_id, []).append(event)
        for guild_id, its in by_guild.items():
            voice = self._guilds.get(guild_id) or self._open(guild_id)
            yield from reactions.people_of(voice, its)

    def keys(self, events: Sequence[Event], more: list[Event] | None = None) -> Keys:
        """By table, the keys that these events may touch, but for what only these keys can tell.

        Args:
            events: the next ones.
            more: takes those that touch more than their guild and their user.
        """
        more = [] if more is None else more
        self._restore()
        if self._keys_made > _KEYS:
            self._forget_keys()
        guilds: set[int] = set()
        members: set[str] = set()
        by_guild = self._member_keys
        for event in events:
            guild_id: Any = event.guild_id
            if guild_id is None:
                continue
            guilds.add(guild_id)
            known = by_guild.get(guild_id)
            if known is None:
                known = by_guild[guild_id] = {}
            user_id: Any = event.user_id
            if user_id is not None:
                key = known.get(user_id)
                if key is None:
                    key = known[user_id] = f"{guild_id}:{user_id}"
                    self._keys_made += 1
                members.add(key)
            if event.__class__ in _MORE_KEYS:
                more.append(event)
        wanted = {"guilds": {str(guild_id) for guild_id in guilds}, "members": members}
        for event in more:
            _add_keys(wanted, event)
        return wanted

    # The path of every event: branches cost less than calls here.
    def apply(self, event: Event, *, requeued: bool = False) -> Outcome:  # noqa: C901, PLR0911
        """Count one event.

        Args:
            event: with ids as ints, as ``guildstream.codec`` gives it.
            requeued: a dead letter that comes again: not checked for being a duplicate.

        Raises:
            InvalidEvent: something that its type needs is missing or not valid.
        """
        session, kind = event.session, event.__class__
        source = self._source if session == self._session else self._turn_to(session)
        if kind is Heartbeat:
            return self._heartbeat(source, event.ts, event.data.final)  # type: ignore[attr-defined]
        seq = event.seq
        if seq <= source.seq and (seq < source.seq or event.part <= source.part):
            if not requeued:
                return DUPLICATE
        else:
            source.seq = seq
            source.part = event.part
        ts = event.ts
        if ts > source.last_ms:
            source.last_ms = ts
            source.watermark_ms = max(source.watermark_ms, ts - self._grace_ms)
        source.final = False
        guild_id: Any = event.guild_id
        if guild_id is None:
            if kind is Gap:
                self._outbox.gaps.append(voice_events.gap_row(event))  # type: ignore[arg-type]
            return ACCEPTED
        voice = self._guilds.get(guild_id) or self._open(guild_id)
        guild = voice.guild
        if kind is Erase:
            return self._erase(voice, event)  # type: ignore[arg-type]
        if guild.has_erased and guild.refuses(event):
            return ERASED
        owned = guild.source is source
        if not owned and kind not in NEVER_OWN:
            owned = pass_ownership(voice, source, event)
            if not owned and (event.shard is not None or kind in _VOICE):
                return SUPERSEDED
        handler = _HANDLERS.get(kind)
        if handler is not None:
            handler(voice, event, owned)
        return ACCEPTED

    def voice_of(self, guild_id: int) -> Voice:
        """A guild as it stands, to look at; its key must have been fetched."""
        return self._guilds.get(guild_id) or self._open(guild_id)

    def name_guild_state(self, guild_id: int, keys: Keys) -> None:
        """Say which keys of a guild are stored, before an event that erases the guild is applied."""
        self._guild_state[guild_id] = keys

    def name_reactions(self, guild_id: int, keys: Iterable[str]) -> Keys:
        """Say which stored reactions of a guild name members whom these events erase, after their ``rounds``.

        Returns:
            What to fetch before the events are applied.
        """
        found = self._erased_reactions[guild_id] = set(keys)
        return {"reactions": found | self.voice_of(guild_id).guild.reactions.touched}

    @property
    def removed(self) -> Collection[int]:
        """Guilds that the bot was removed from; of their events ``outlives`` must be asked before they are applied."""
        return self._outbox.removed

    def purges(self) -> list[int]:
        """Removed guilds whose time is over: of each, ``purge`` is to be called, and its place told."""
        if not self._options.purge_ms or not self._outbox.removed:
            return []
        over_ms = self._latest_ms() - self._options.purge_ms
        return [guild_id for guild_id, removed_ms in self._outbox.removed.items() if removed_ms <= over_ms]

    def outlives(self, event: Event) -> bool:
        """Whether the time of a removed guild is over where this event of it comes: ``purge`` it before.

        If not, and the event shows that the bot is back, the guild counts as never removed.
        """
        guild_id: Any = event.guild_id
        removed_ms, purge_ms = self._outbox.removed[guild_id], self._options.purge_ms
        if purge_ms and max(self._latest_ms(), event.ts - self._grace_ms) - removed_ms >= purge_ms:
            return True
        kind = event.__class__
        if event.ts > removed_ms and kind is not GuildRemove and kind not in NEVER_OWN:
            del self._outbox.removed[guild_id]
            self._tables.removals.delete(str(guild_id))
        return False

    def purge(self, guild_id: int) -> None:
        """Forget a removed guild whose time is over; ``name_guild_state`` and ``place_erasure`` as for an erasure."""
        removed_ms, keys = self._outbox.removed[guild_id], self._guild_state.pop(guild_id, {})
        purge_guild(self.voice_of(guild_id), keys, removed_ms)

    def _latest_ms(self) -> int:
        """The partition's highest watermark."""
        return max(self._top_ms, max((its.watermark_ms for its in self._touched.values()), default=0))

    def place_erasure(self, position: int) -> None:
        """Say where the erasure that was just applied lies in the partition."""
        self._outbox.erased[-1][3] = position

    def _erase(self, voice: Voice, event: Erase) -> Outcome:
        if event.user_id is not None:
            erase_member(voice, event, self._erased_reactions.get(voice.guild.id, ()))
        else:
            erase_guild(voice, event, self._guild_state.pop(voice.guild.id, {}))
        return ERASURE

    def drain(self, *, early: bool) -> Drained:
        """What this commit hands over. Stores what stays un-emitted.

        Args:
            early: emit open windows too, and settle running voice that was not for a while.
        """
        self._restore()
        for voice in self._guilds.values():
            if voice.segments:
                voice.give_up()
                self._pane(voice, early=early)
        for session, source in self._touched.items():
            self._tables.sources.put(session, source)
            self._top_ms = max(self._top_ms, source.watermark_ms)
        self._touched = {}
        self._session = None
        drained = self._outbox.take()
        for voice in self._guilds.values():
            drained.totals += voice.guild.totals()
            voice.guild.reactions.store_lists()
            if voice.guild.windows:
                self._emit(voice.guild, drained, early=early)
        self._put_aside()
        return drained

    def _put_aside(self) -> None:
        """Let the next commit pass over guilds that nothing is open in."""
        touched, self._guilds, idle = self._guilds, {}, self._idle
        for guild_id, voice in touched.items():
            (self._guilds if voice.segments or voice.guild.windows else idle)[guild_id] = voice
        if len(idle) > _IDLE_GUILDS:
            self._idle = dict(islice(idle.items(), _IDLE_GUILDS // 2, None))

    def _turn_to(self, session: str) -> SourceRecord:
        source = self._touched.get(session)
        if source is None:
            found = self._tables.sources.get(session)
            source = found if found is not None else SourceRecord()
            if found is None:
                self._tables.sources.put(session, source)
            self._touched[session] = source
        self._session, self._source = session, source
        return source

    def _heartbeat(self, source: SourceRecord, ts: int, final: bool) -> Outcome:
        """Move a source's watermark; constant in cost but for a final one."""
        if ts > source.last_ms:
            source.last_ms = ts
            source.final = False
        if ts > source.heartbeat_ms:
            source.heartbeat_ms = ts
            source.watermark_ms = max(source.watermark_ms, ts)
        if final:
            self._restore()
            source.final = True
            for voice in self._guilds.values():
                if voice.segments and voice.guild.source is source:
                    voice.pane(final=True)
        return HEARTBEAT

    def _pane(self, voice: Voice, *, early: bool) -> None:
        """Settle a guild's voice if enough event time, or an hour's end, makes it worth it."""
        now_ms, paned_ms = voice.now_ms(), voice.paned_ms
        if now_ms // HOUR_MS != paned_ms // HOUR_MS or (early and now_ms - paned_ms >= voice.pane_every_ms()):
            voice.pane()

    def _emit(self, guild: Guild, drained: Drained, *, early: bool) -> None:
        """Emit a guild's windows that are closed, or all; store the others where they changed."""
        source, stored = guild.source, self._tables.windows
        horizon_ms = self._top_ms - HOUR_MS
        # Without an owner, as where points were only imported, there is nobody to wait for.
        if source is None or source.final:
            early = True
        else:
            horizon_ms = max(horizon_ms, source.watermark_ms)
        for identity, window in list(guild.windows.items()):
            if early or window.end_ms <= horizon_ms:
                self._outbox.pending_rows -= len(window.rows)
                drained.activity += window.emit()
                del guild.windows[identity]
                if window.stored:
                    stored.delete(window.key)
            elif window.changed:
                window.changed, window.stored = False, True
                stored.put(window.key, window)

    def _open(self, guild_id: int) -> Voice:
        self._restore()
        voice = self._guilds.get(guild_id) or self._idle.pop(guild_id, None)
        if voice is None:
            guild = Guild(guild_id, self._tables, self._outbox, self._options)
            guild.member_keys = self._member_keys.setdefault(guild_id, guild.member_keys)
            voice = Voice(guild)
        self._guilds[guild_id] = voice
        return voice

    def _restore(self) -> None:
        """Take up what was open at the last commit, once."""
        if self._restored:
            return
        self._restored = True
        for _, window in self._tables.windows.items():  # noqa: PERF102 - a Table is no dict
            guild = self._open(window.guild_id).guild
            guild.windows[window.start_ms, window.day, window.voice] = window
            self._outbox.pending_rows += len(window.rows)
        for _, segment in self._tables.voice.items():  # noqa: PERF102 - a Table is no dict
            self._open(segment.guild_id).restore(segment)
        for voice in self._guilds.values():
            self._tables.guilds.unpin(voice.guild.key)

    def _forget_keys(self) -> None:
        """Empty the memory of member keys, in place, since guilds share it."""
        self._keys_made = 0
        for known in self._member_keys.values():
            known.clear()
        self._member_keys = {
            guild_id: known
            for guild_id, known in self._member_keys.items()
            if guild_id in self._guilds or guild_id in self._idle
        }


def _add_keys(wanted: Keys, event: Any) -> None:
    """What an event touches beyond its guild and its user."""
    guild_id, kind = event.guild_id, event.__class__
    if kind is VoiceSnapshot:
        wanted["members"].update(f"{guild_id}:{snowflake(state.user_id)}" for state in event.data.states)
        return
    wanted.setdefault("reactions", set()).update(reactions.buckets_of(event))
    if kind is ReactionAdd and event.data.author_id is not None:
        wanted["members"].add(f"{guild_id}:{snowflake(event.data.author_id)}")
