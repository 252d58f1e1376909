"""How long reactions are remembered, and what that costs."""

from __future__ import annotations

from typing import Any

from guildstream import events as ev
from guildstream.measures import M
from processors.rules import RuleOptions
from processors.rules.reaction_memory import BUCKETS

from .twin import Shell

GUILD = 9 << 22
T0 = 1_760_000_000_000
DAY = 86_400_000


class Script:
    """Reaction events of one source, in order."""

    def __init__(self) -> None:
        self.seq = 0

    def _common(self, ts: int, user: int | None) -> dict[str, Any]:
        self.seq += 1
        where = {"guild_id": GUILD, "channel_id": 5, "user_id": user}
        return {"v": 1, "ts": ts, "session": "a", "seq": self.seq, **where}

    def add(self, ts: int, user: int = 6, message: int = 1, emoji: str = "x") -> ev.ReactionAdd:
        return ev.ReactionAdd(**self._common(ts, user), data=ev.ReactionData(message, emoji, 7))

    def remove(self, ts: int, user: int = 6, message: int = 1, emoji: str = "x") -> ev.ReactionRemove:
        return ev.ReactionRemove(**self._common(ts, user), data=ev.ReactionData(message, emoji))

    def clear(self, ts: int, message: int = 1, emoji: str | None = None) -> ev.ReactionClear:
        return ev.ReactionClear(**self._common(ts, None), data=ev.ReactionClearData(message, emoji))


def run(*events: ev.Event, options: RuleOptions | None = None, chunk: int = 1) -> Shell:
    """Each chunk with a commit and a hand-over after it."""
    shell = Shell(options)
    for start in range(0, len(events), chunk):
        shell.chunk(events[start : start + chunk])
        shell.commit(early=True)
        shell.hand_over()
    return shell


def given(shell: Shell) -> int:
    return sum(row[M.REACTIONS_GIVEN] for row in shell.sums.activity.values())


def test_a_removal_is_matched_for_seven_days_to_the_millisecond() -> None:
    for late, left in ((0, 0), (1, 1)):
        script = Script()
        shell = run(script.add(T0), script.remove(T0 + 7 * DAY + late))
        assert (given(shell), shell.sums.counters["unmatched"]) == (left, left)


def test_the_memory_is_a_setting() -> None:
    script = Script()
    events = [script.add(T0), script.remove(T0 + 2 * DAY)]
    assert given(run(*events, options=RuleOptions(reaction_memory_ms=DAY))) == 1


def test_history_beside_live_events_is_taken_back_too() -> None:
    script = Script()
    old = T0 - 1000 * DAY
    assert given(run(script.add(T0, message=9), script.add(old), script.remove(old + DAY), chunk=3)) == 1


def test_another_emoji_message_or_user_is_not_taken_back() -> None:
    script = Script()
    added = script.add(T0)
    others = [script.remove(T0, user=8), script.remove(T0, message=2), script.remove(T0, emoji="y" * 500)]
    shell = run(added, *others)
    assert (given(shell), shell.sums.counters["unmatched"]) == (1, 3)


def test_what_is_removed_leaves_no_state() -> None:
    script = Script()
    adds = [script.add(T0, user=user, emoji="é" * length) for user in range(1, 40) for length in (1, 90)]
    shell = run(*adds, script.clear(T0 + 1))
    assert given(shell) == 0
    assert shell.stored["reactions"] == {}


def test_what_is_forgotten_is_swept_while_others_come() -> None:
    """Sixty days of twenty reactions each hold no more than nine do."""
    script, shell, sizes = Script(), Shell(), []
    for day in range(60):
        events = [script.add(T0 + day * DAY + number, user=number + 1, message=day + 1) for number in range(20)]
        shell.chunk(events[:10])
        shell.chunk(events[10:])
        shell.commit()
        sizes.append((len(shell.stored["reactions"]), len(shell.stored["reaction_lists"])))
    assert sizes[-1] == max(sizes[20:])
    assert sizes[-1][0] <= 9 * 20
    assert sizes[-1][1] <= 9
    assert given(run(script.clear(T0 + 59 * DAY))) == 0


def test_a_crowd_on_one_message_touches_one_bucket_each() -> None:
    script, shell = Script(), Shell()
    shell.chunk([script.add(T0, user=user << 22) for user in range(1, 3000)])
    shell.commit()
    assert len(shell.stored["reactions"]) == BUCKETS
    shell.chunk([script.add(T0, user=1 << 30)])
    assert len(shell.tables["reactions"].dirty) == 1
    largest = max(len(value) for value in shell.stored["reactions"].values())
    assert largest < 16_384


def test_points_are_taken_back_as_far_as_they_are_there() -> None:
    script = Script()
    settings = ev.SettingsChange(
        v=1, ts=T0, session="cli", seq=1, guild_id=GUILD, data={"xp": {"reaction": {"given": 10}, "daily_cap": 15}}
    )
    shell = run(settings, script.add(T0), script.add(T0, emoji="y"), script.remove(T0), script.add(T0, emoji="z"))
    assert [row[11] for row in shell.sums.awards.values()] == [10, 5, -10, 10]
    assert shell.sums.totals[GUILD, 6][3] == 15
