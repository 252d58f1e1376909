"""Every example of docs/rules.md is run and must come out as it says."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from guildstream import events as ev
from guildstream.measures import MEASURES

from .twin import Shell, Sums

DOCUMENT = Path(__file__).parents[2] / "docs" / "rules.md"
EXAMPLES = re.findall(r"```example\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
DAY = 20_000
DAY_MS = DAY * 86_400_000
GUILD = 5 << 22
PEOPLE = {"nobody": 0, "somebody": 99, "ann": 1, "bob": 2, "cid": 3, "robot": 4}
PLACES = {"chat": 7, "talk": 8, "games": 9}
NAMES = {number: name for name, number in PLACES.items()}
REACTING = ("reacts", "unreacts", "clears")
FLAGS = {"muted": "self_mute", "deaf": "self_deaf", "suppress": "suppress", "bot": "bot"}


def at(clock: str) -> int:
    hours, minutes, seconds = clock.split(":")
    return DAY_MS + (int(hours) * 3600 + int(minutes) * 60) * 1000 + round(float(seconds) * 1000)


class Scene:
    """Events from the lines of an example."""

    def __init__(self) -> None:
        self.seq = 0
        self.events: list[ev.Event] = []

    def line(self, text: str) -> None:
        clock, words = text.split(" ", 1)
        ts = at(clock)
        if words in ("heartbeat", "final"):
            final = ev.HeartbeatData(final=words == "final")
            self.events.append(ev.Heartbeat(v=1, ts=ts, session="s", data=final))
            return
        self.seq += 1
        common: dict[str, Any] = {"v": 1, "ts": ts, "session": "s", "seq": self.seq, "guild_id": GUILD}
        who, verb, *rest = words.split(" ")
        if who == "settings":
            self.events.append(ev.SettingsChange(**common, data=json.loads(words.removeprefix("settings "))))
        elif who == "afk":
            self.events.append(ev.GuildUpdate(**common, data=ev.GuildData(afk_channel_id=PLACES[verb])))
        elif who == "erase":
            keep_out = ev.EraseData(keep_out="keep-out" in rest)
            self.events.append(ev.Erase(**common, user_id=PEOPLE[verb], data=keep_out))
        elif who == "snapshot":
            pairs = [pair.split(":") for pair in (verb, *rest)]
            states = tuple(ev.VoiceStateOf(user_id=PEOPLE[name], channel_id=PLACES[place]) for name, place in pairs)
            self.events.append(ev.VoiceSnapshot(**common, data=ev.VoiceStates(states)))
        else:
            self.events.append(self.deed(common | {"user_id": PEOPLE[who]}, verb, rest))

    def reaction(self, chat: dict[str, Any], verb: str, rest: list[str]) -> ev.Event:
        number = int(rest[-1])
        if verb == "clears":
            return ev.ReactionClear(**chat, data=ev.ReactionClearData(message_id=number))
        author = PEOPLE[rest[0]] if verb == "reacts" else None
        data = ev.ReactionData(message_id=number, emoji="x", author_id=author)
        return (ev.ReactionAdd if verb == "reacts" else ev.ReactionRemove)(**chat, data=data)

    def deed(self, common: dict[str, Any], verb: str, rest: list[str]) -> ev.Event:  # noqa: PLR0911
        chat = common | {"channel_id": PLACES["chat"]}
        if verb == "says":
            chars = None if rest[0] == "?" else int(rest[0])
            return ev.MessageCreate(**chat, data=ev.MessageData(message_id=self.seq, chars=chars, bot="bot" in rest))
        if verb == "edits":
            return ev.MessageUpdate(**chat, data=ev.MessageRef(1))
        if verb == "deletes":
            return ev.MessageDelete(**chat, data=ev.MessageRef(1))
        if verb == "uses":
            return ev.Command(**chat, data=ev.CommandData(interaction_id=1, kind=rest[0], name=rest[1]))
        if verb == "gets":
            return ev.Adjust(**common, data=ev.AdjustData(xp=int(rest[0]), reason="because", by=9))
        if verb in REACTING:
            return self.reaction(chat, verb, rest)
        flags = ev.VoiceFlags(**{FLAGS[word]: True for word in rest if word in FLAGS})
        place = PLACES[rest[0]] if verb == "in" else None
        return ev.VoiceState(**common, channel_id=place, data=flags, replayed="replayed" in rest)


def measured(rows: list[list[int]], words: list[str]) -> None:
    """``name value`` pairs against the sum of rows."""
    for name, value in zip(words[::2], words[1::2], strict=True):
        known = {"active": "voice_active_ms"}.get(name, name if name in MEASURES else f"{name}_ms")
        expected = int(value[:-1]) * 1000 if value.endswith("s") else int(value)
        assert sum(row[MEASURES.index(known)] for row in rows) == expected, name


def check_rows(sums: Sums, subject: str, words: list[str]) -> None:
    if subject == "unmatched":
        assert sums.counters["unmatched"] == int(words[0])
    elif subject == "adjusted":
        rows = [row for row in sums.awards.values() if (row[6], row[7]) == (PEOPLE[words[0]], "adjust")]
        assert [row[11] for row in rows] == [int(word) for word in words[1:]]
        assert {tuple(row[14:]) for row in rows} == {("because", 9)}
    elif subject == "notice":
        assert [words[1], *(int(word) for word in words[2:])] in [
            [its["type"], *its["roles"], *(-role for role in its["remove_roles"])]
            for its in sums.notices.values()
            if its["user_id"] == PEOPLE[words[0]]
        ]
    elif subject == "given":
        rows = [
            row[11]
            for row in sums.awards.values()
            if (row[1], row[6], row[7]) == (at(words[1]), PEOPLE[words[0]], "reaction_given")
        ]
        assert rows == [int(word) for word in words[2:]]


def check(sums: Sums, text: str) -> None:
    subject, *words = text.split(" ")
    if subject == "session":
        rows = [
            [row[5], row[6], row[8]]
            for row in sums.sessions.values()
            if (row[4], row[3]) == (PEOPLE[words[0]], PLACES[words[1]])
        ]
        ended = [at(words[3]), words[4]] if len(words) > 4 else [None, None]
        assert [at(words[2]), *ended] in rows
    elif subject == "row":
        who, hour, *rest = words
        places = [PLACES[rest.pop(0)]] if rest[0] in PLACES else list(PLACES.values())
        days = [DAY + int(rest[1])] if rest[0] == "day" else [DAY, DAY + 1]
        pairs = rest[2:] if rest[0] == "day" else rest
        found = [
            row
            for (bucket, day, _, channel, user), row in sums.activity.items()
            if (bucket, user) == (at(hour), PEOPLE[who]) and channel in places and day in days
        ]
        measured(found, pairs)
    elif subject == "ledger":
        expected = [at(words[1]), at(words[2]), PEOPLE[words[0]], "voice", int(words[3])]
        assert expected in [[row[1], row[2], row[6], row[7], row[8]] for row in sums.awards.values()]
    elif subject in ("unmatched", "adjusted", "notice", "given"):
        check_rows(sums, subject, words)
    elif subject == "level":
        notices = [[its["user_id"], its["level"], its["ts"]] for its in sums.notices.values()]
        assert [PEOPLE[words[0]], int(words[1]), at(words[2])] in notices
    elif subject == "used":
        assert sum(uses for key, uses in sums.commands.items() if [key[5], key[4]] == words[:2]) == int(words[2])
    elif words[0] == "awards":
        times = [row[1] for row in sums.awards.values() if row[6] == PEOPLE[subject]]
        assert times == [at(clock) for clock in words[1:]]
    else:
        measured([row for key, row in sums.activity.items() if key[4] == PEOPLE[subject]], words)


@pytest.mark.parametrize("example", EXAMPLES, ids=[str(number) for number in range(len(EXAMPLES))])
def test_an_example_of_the_documentation(example: str) -> None:
    lines = example.strip().splitlines()
    scene = Scene()
    for line in lines:
        if not line.startswith("="):
            scene.line(line.replace(" outage", " somebody is-away") if line.endswith(" outage") else line)
            if line.endswith(" outage"):
                away = scene.events.pop()
                scene.events.append(ev.GuildUnavailable(v=1, ts=away.ts, session="s", seq=away.seq, guild_id=GUILD))
    shell = Shell()
    shell.chunk(scene.events)
    shell.commit(early=True)
    for line in lines:
        if line.startswith("="):
            check(shell.sums, line[2:])


def test_the_documentation_has_examples() -> None:
    assert len(EXAMPLES) > 15
