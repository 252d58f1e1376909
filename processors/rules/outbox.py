"""What the rules have to hand over at the next commit."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from guildstream.results import (
    ActivityRow,
    AwardRow,
    CommandRow,
    ErasedRow,
    FlowRow,
    GapRow,
    ParticipantsRow,
    SessionRow,
    SettingsRow,
    TotalsRow,
)

__all__ = ["Board", "Drained", "Notice", "Outbox"]

#: User id to the XP of a period, absolute, as it stands now; 0 or less takes somebody off.
Board = dict[int, int]
#: What bots are told: plain JSON values.
Notice = dict[str, object]


@dataclass(slots=True)
class Drained:
    """One commit's output; rows as documented in ``guildstream.results``.

    Attributes:
        boards: by guild and period (``all``, ``2026-W47``, ``2026-11``), to be set, not added.
        notices: level-ups, each once.
        flow: who joined and left.
        gaps: stretches that nobody watched; the last of each wins.
        participants: who else was in the channel.
        erased: who is to be forgotten; everything else here comes after that.
        settings: changes of guilds' settings.
        erased_guilds: guilds whose boards go.
        counters: to be added to the partition's counters, beside those of outcomes: ``unmatched``.
    """

    activity: list[ActivityRow] = field(default_factory=list)
    sessions: list[SessionRow] = field(default_factory=list)
    awards: list[AwardRow] = field(default_factory=list)
    totals: list[TotalsRow] = field(default_factory=list)
    commands: list[CommandRow] = field(default_factory=list)
    boards: dict[tuple[int, str], Board] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    flow: list[FlowRow] = field(default_factory=list)
    gaps: list[GapRow] = field(default_factory=list)
    participants: list[ParticipantsRow] = field(default_factory=list)
    erased: list[ErasedRow] = field(default_factory=list)
    settings: list[SettingsRow] = field(default_factory=list)
    erased_guilds: set[int] = field(default_factory=set)
    counters: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Outbox:
    """What has come up since the last drain, for all guilds of a partition.

    Attributes:
        sessions: the latest row of each segment, by its id.
        commands: uses by ``(bucket_ms, guild_id, channel_id, user_id, name, kind)``.
        pending_rows: rows in un-emitted windows; these stay across drains.
        removed: guilds that the bot was removed from, by when; these stay too.
    """

    sessions: dict[bytes, SessionRow] = field(default_factory=dict)
    awards: list[AwardRow] = field(default_factory=list)
    commands: dict[tuple[int, int, int, int, str, str], int] = field(default_factory=dict)
    boards: dict[tuple[int, str], Board] = field(default_factory=dict)
    notices: list[Notice] = field(default_factory=list)
    flow: list[FlowRow] = field(default_factory=list)
    gaps: list[GapRow] = field(default_factory=list)
    participants: list[ParticipantsRow] = field(default_factory=list)
    erased: list[ErasedRow] = field(default_factory=list)
    settings: list[SettingsRow] = field(default_factory=list)
    erased_guilds: set[int] = field(default_factory=set)
    counters: Counter[str] = field(default_factory=Counter)
    pending_rows: int = 0
    removed: dict[int, int] = field(default_factory=dict)

    def take(self) -> Drained:
        """Hand over everything but activity and totals, and start anew."""
        drained = Drained(
            sessions=list(self.sessions.values()),
            awards=self.awards,
            commands=[[*use, uses] for use, uses in self.commands.items()],
            boards={board: scores for board, scores in self.boards.items() if scores},
            notices=self.notices,
            flow=self.flow,
            gaps=self.gaps,
            participants=self.participants,
            erased=self.erased,
            settings=self.settings,
            erased_guilds=self.erased_guilds,
            counters=self.counters,
        )
        self.settings = []
        self.flow, self.gaps, self.participants, self.erased, self.erased_guilds = [], [], [], [], set()
        self.counters = Counter()
        self.sessions, self.awards, self.commands, self.boards, self.notices = {}, [], {}, {}, []
        return drained

    def drop_guild(self, guild_id: int) -> None:
        """Hand over nothing of a guild but that it was erased."""
        self.sessions = {key: row for key, row in self.sessions.items() if row[2] != guild_id}
        self.awards = [row for row in self.awards if row[4] != guild_id]
        self.commands = {use: uses for use, uses in self.commands.items() if use[1] != guild_id}
        self.boards = {board: scores for board, scores in self.boards.items() if board[0] != guild_id}
        self.notices = [notice for notice in self.notices if notice["guild_id"] != guild_id]
        self.flow = [row for row in self.flow if row[1] != guild_id]
        self.gaps = [row for row in self.gaps if row[3] != guild_id]
        self.settings = [row for row in self.settings if row[0] != guild_id]
        self.participants = [row for row in self.participants if row[2] != guild_id]
        self.erased_guilds.add(guild_id)
