"""Whoever is erased is in no state, and no time before their erasure comes back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildstream import events as ev
from guildstream.measures import M
from processors.rules import RuleOptions

from .histories import GUILDS, MOVE, build
from .twin import Shell

GUILD = next(iter(GUILDS))
#: Of nobody else, and found in no other number.
ANN, BOB = 7_000_001, 7_000_002
T0 = 1_762_100_000_000


def event(kind: type[Any], seq: int, ts: int, user: int | None, **more: Any) -> Any:
    common = {"v": 1, "ts": ts, "session": "s", "seq": seq, "guild_id": GUILD, "channel_id": 5, "user_id": user}
    return kind(**{**common, **more})


def reaction(seq: int, user: int, author: int, message: int = 9) -> ev.ReactionAdd:
    data = ev.ReactionData(message_id=message, emoji="x", author_id=author)
    return event(ev.ReactionAdd, seq, T0 + seq, user, data=data)


def numbers(value: Any) -> Iterator[int]:
    """All whole numbers in a value, those in texts included."""
    if isinstance(value, int):
        yield value
    elif isinstance(value, str):
        yield from (int(part) for part in value.split(":") if part.lstrip("-").isdigit())
    elif isinstance(value, dict):
        yield from numbers([*value.keys(), *value.values()])
    elif isinstance(value, list | tuple):
        for its in value:
            yield from numbers(its)


def stored_numbers(shell: Shell) -> set[int]:
    found: set[int] = set()
    for table in shell.stored.values():
        for key, value in table.items():
            found |= {*numbers(key), *numbers(msgspec.msgpack.decode(value, strict=False))}
    return found


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(MOVE, max_size=40), st.booleans())
def test_no_state_names_who_was_erased(moves: list[dict[str, Any]], committed: bool) -> None:
    shell = Shell()
    events = [its for its in build(moves) if its.type != "erase"]
    for its in events:
        if its.user_id == 103:
            its.user_id = ANN
        if its.type == "reaction_add" and its.data.author_id == 103:
            its.data = ev.ReactionData(its.data.message_id, its.data.emoji, ANN)
    shell.chunk(events)
    if committed:
        shell.commit()
        shell.hand_over()
    seq = 10**9
    shell.chunk([event(ev.Erase, seq + n, T0, ANN, guild_id=guild) for n, guild in enumerate(GUILDS)])
    shell.commit()
    assert ANN not in stored_numbers(shell)


def test_what_an_erased_member_had_reacted_can_be_cleared_but_not_taken_back_by_them() -> None:
    shell = Shell()
    shell.chunk([reaction(1, ANN, BOB), reaction(2, BOB, ANN), reaction(3, ANN, BOB, message=10)])
    shell.commit(early=True)
    shell.chunk([event(ev.Erase, 4, T0 + 4, ANN)])
    removed = ev.ReactionData(message_id=10, emoji="x")
    cleared = ev.ReactionClearData(message_id=9)
    shell.chunk([event(ev.ReactionRemove, 5, T0 + 5, ANN, data=removed)])
    shell.chunk([event(ev.ReactionClear, 6, T0 + 6, None, data=cleared)])
    shell.commit(early=True)
    assert shell.sums.counters["unmatched"] == 1
    given_by = {key[4]: row[M.REACTIONS_GIVEN] for key, row in shell.sums.activity.items()}
    received = {key[4]: row[M.REACTIONS_RECEIVED] for key, row in shell.sums.activity.items()}
    assert given_by == {0: 1, BOB: 0}
    assert received == {0: 0, BOB: 1}


def test_two_erased_members_reactions_stay_two() -> None:
    shell = Shell()
    other = ANN + 32
    shell.chunk([reaction(1, ANN, BOB), reaction(2, other, BOB)])
    shell.chunk([event(ev.Erase, 3, T0 + 3, ANN), event(ev.Erase, 4, T0 + 4, other)])
    shell.chunk([event(ev.ReactionClear, 5, T0 + 5, None, data=ev.ReactionClearData(message_id=9))])
    shell.commit(early=True)
    assert {key[4]: row[M.REACTIONS_GIVEN] for key, row in shell.sums.activity.items()} == {0: 0, BOB: 0}


def test_an_older_erasure_of_a_guild_brings_nothing_back() -> None:
    shell = Shell()
    message = ev.MessageData(message_id=9)
    late = event(ev.MessageCreate, 3, T0 + 500, BOB, data=message)
    shell.chunk([event(ev.Erase, 1, T0 + 1000, None), event(ev.Erase, 2, T0, None), late])
    shell.commit(early=True)
    assert [outcome.name for outcome in shell.outcomes] == ["ERASURE", "ERASURE", "ERASED"]


DAY = 86_400_000


def beat(ts: int) -> ev.Heartbeat:
    return ev.Heartbeat(v=1, ts=ts, session="s")


def removed_guild() -> list[ev.Event]:
    """A guild with something of everything, that the bot is removed from at ``T0`` + 10 s."""
    voice = event(ev.VoiceState, 4, T0 + 4, ANN)
    message = event(ev.MessageCreate, 5, T0 + 5, ANN, data=ev.MessageData(message_id=1))
    return [reaction(1, ANN, BOB), voice, message, event(ev.GuildRemove, 6, T0 + 10_000, None)]


def test_a_guild_is_erased_a_month_after_the_bot_was_removed() -> None:
    shell = Shell()
    shell.chunk(removed_guild())
    shell.commit(early=True)
    assert [row[8] for row in shell.sums.sessions.values()] == ["guild_remove"]
    shell.hand_over()
    shell.chunk([beat(T0 + 9_999 + 30 * DAY)])
    shell.commit()
    assert {ANN, BOB} <= stored_numbers(shell)
    shell.chunk([beat(T0 + 10_000 + 30 * DAY)])
    shell.commit()
    assert {ANN, BOB}.isdisjoint(stored_numbers(shell))
    assert (shell.sums.activity, shell.sums.sessions, shell.sums.totals) == ({}, {}, {})
    ((guild, user, erased_ms, *_),) = shell.sums.erased
    assert (guild, user, erased_ms) == (GUILD, None, T0 + 10_000)
    assert shell.stored["removals"] == {}


def test_a_guild_that_comes_back_in_time_keeps_everything() -> None:
    shell = Shell()
    shell.chunk(removed_guild())
    shell.chunk([event(ev.GuildUpdate, 7, T0 + 29 * DAY, None), beat(T0 + 90 * DAY)])
    shell.commit(early=True)
    assert shell.sums.erased == []
    assert shell.sums.totals[GUILD, ANN][5] == 1


def test_a_guild_that_comes_back_too_late_begins_anew_whatever_the_chunks() -> None:
    later = event(ev.MessageCreate, 7, T0 + 31 * DAY, BOB, data=ev.MessageData(message_id=2))
    for pieces in ([[*removed_guild(), later]], [[its] for its in (*removed_guild(), later)]):
        shell = Shell()
        for chunk in pieces:
            shell.chunk(chunk)
        shell.commit(early=True)
        assert set(shell.sums.totals) == {(GUILD, BOB)}


def test_a_guild_is_kept_for_ever_where_nothing_is_purged() -> None:
    shell = Shell(RuleOptions(purge_ms=0))
    shell.chunk([*removed_guild(), beat(T0 + 900 * DAY)])
    shell.commit(early=True)
    assert shell.sums.erased == []
