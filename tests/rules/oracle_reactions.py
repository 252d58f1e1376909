"""Reactions as the oracle has them: a dictionary of everything that may be taken back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass
class Reacted:
    """A reaction that may be taken back."""

    ts: int
    clock: int
    channel: int
    rows: list[list[Any]]


class Reactions:
    """What an oracle does with reactions."""

    def on_reaction_add(self, event: Any, _owned: bool) -> None:
        guild, data = event.guild_id, event.data
        points = self.settings[guild].get("reaction", {})
        author = None if self.is_forgotten(guild, data.author_id, event.ts) else data.author_id
        rows = []
        for user, measure, kind in (
            (event.user_id, "reactions_given", "given"),
            (author, "reactions_received", "received"),
        ):
            if user is not None:
                row = self._row(event, user)
                row[measure] += 1
                xp = self._earn(event, user, row, points.get(kind, 0))
                rows.append([row, measure, xp, (guild, user), self.day(guild, event.ts)])
        self.clock[guild] = max(self.clock[guild], event.ts)
        key = (guild, data.message_id, data.emoji, event.user_id)
        self.reactions[key] = Reacted(event.ts, self.clock[guild], event.channel_id, rows)

    def on_reaction_remove(self, event: Any, _owned: bool) -> None:
        self.clock[event.guild_id] = max(self.clock[event.guild_id], event.ts)
        key = (event.guild_id, event.data.message_id, event.data.emoji, event.user_id)
        self.unmatched += not self._take_back(key, event.ts)

    def on_reaction_clear(self, event: Any, _owned: bool) -> None:
        self.clock[event.guild_id] = max(self.clock[event.guild_id], event.ts)
        for key in sorted(self.reactions, key=self._order):
            if key[:2] == (event.guild_id, event.data.message_id) and event.data.emoji in (None, key[2]):
                self._take_back(key, event.ts)

    def _order(self, key: tuple[int, int, str, int]) -> tuple[int, ...]:
        """By user and emoji; erased people first, by what there is of their reactions."""
        _, _, emoji, user = key
        reacted = self.reactions[key]
        author = reacted.rows[1][3][1] if len(reacted.rows) > 1 else 0
        return max(user, 0), reacted.ts if user < 0 else 0, ord(emoji), reacted.channel, max(author, -1)

    def _take_back(self, key: tuple[int, int, str, int], ts: int) -> bool:
        found = self.reactions.pop(key, None)
        if found is None or max(ts - found.ts, self.clock[key[0]] - found.clock) > 7 * 86_400_000:
            return False
        for row, measure, points, who, day in found.rows:
            # Elsewhere nothing but its own removal takes points, so they are there.
            taken = min(points, self.xp[who]) if "voice" in self.settings[who[0]] and who[1] > 0 else points
            row[measure] -= 1
            row["xp"] -= taken
            self.limits.earned[*who, day] -= taken
            self.xp[who] -= taken if who[1] > 0 else 0
        return True
