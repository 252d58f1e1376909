"""From what Discord's gateway says to sums: every payload through the translation and the rules.

``tests/data/payloads.jsonl`` holds invented payloads of every dispatch that counts, and some that don't. A larger
file of the same form (``t`` the event name, ``d`` its payload), such as one recorded from other libraries' tests,
is read where ``PAYLOADS_FILE`` names one.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from guildstream.codec import EventReader
from guildstream.discord import Source, Translator
from guildstream.events import Event
from guildstream.measures import MEASURES, M

from .twin import Shell

SAMPLE = Path(__file__).parents[1] / "data" / "payloads.jsonl"
NOW = 1_795_000_000_000
GUILD = 613_000_000_000_000_001
#: What 221 payloads of other libraries' tests and Discord's documentation come to: as they are, and each with a
#: guild where it names none. Three of the latter lack what their name promises, and are counted for that.
RECORDED: dict[bool, dict[str, int]] = {
    False: {
        "channel_delete": 3,
        "channel_update": 21,
        "command": 21,
        "gap": 1,
        "guild_remove": 2,
        "guild_unavailable": 1,
        "guild_update": 20,
        "heartbeat": 8,
        "member_update": 225,
        "message_create": 11,
        "message_delete": 1,
        "message_delete_bulk": 1,
        "message_update": 1,
        "moderation": 2,
        "reaction_clear": 3,
        "reaction_remove": 2,
        "role_delete": 1,
        "thread_update": 8,
        "voice_snapshot": 17,
        "voice_state": 4,
    },
    True: {
        "channel_delete": 3,
        "channel_update": 25,
        "command": 24,
        "gap": 1,
        "guild_remove": 2,
        "guild_unavailable": 1,
        "guild_update": 20,
        "heartbeat": 8,
        "member_update": 225,
        "message_create": 17,
        "message_delete": 2,
        "message_delete_bulk": 1,
        "message_update": 1,
        "moderation": 3,
        "reaction_add": 3,
        "reaction_clear": 6,
        "reaction_remove": 4,
        "role_delete": 1,
        "thread_update": 11,
        "voice_snapshot": 17,
        "voice_state": 6,
    },
}


@dataclass
class Queue:
    """Takes events as the publisher would, and reads them as the processor does."""

    events: list[Event] = field(default_factory=list)
    reader: EventReader = field(default_factory=EventReader)

    def put(self, _partition: int, _source: bytes, payload: bytes) -> None:
        self.events.append(self.reader.read(payload, NOW))


@dataclass
class StoppedClock:
    def monotonic(self) -> float:
        return NOW / 1000

    def now_ms(self) -> int:
        return NOW


@dataclass
class Heard:
    """What became of some payloads."""

    source: Source
    translator: Translator
    shell: Shell
    kinds: Counter[str]


def hear(path: Path, *, in_guild: bool = False) -> Heard:
    queue, translator, shell = Queue(), Translator(content_intent=True), Shell()
    source = Source(queue, translator, shard=0, shard_count=1, partitions=8, clock=StoppedClock())
    source.dispatch("READY", 1, {"session_id": "payloads"})
    for seq, line in enumerate(path.read_text().splitlines(), start=2):
        said: dict[str, Any] = json.loads(line)
        payload = {"guild_id": str(GUILD)} | said["d"] if in_guild else said["d"]
        source.dispatch(said["t"], seq, payload)
    source.heartbeat()
    shell.chunk(queue.events)
    shell.commit(early=True)
    return Heard(source, translator, shell, Counter(event.type for event in queue.events))


def test_every_dispatch_that_counts_reaches_the_sums() -> None:
    heard = hear(SAMPLE)
    assert heard.kinds == {
        "channel_delete": 2,
        "channel_update": 2,
        "command": 5,
        "guild_remove": 1,
        "guild_unavailable": 1,
        "guild_update": 2,
        "heartbeat": 8,
        "member_join": 1,
        "member_leave": 1,
        "member_update": 6,
        "message_create": 4,
        "message_delete": 1,
        "message_delete_bulk": 1,
        "message_update": 1,
        "moderation": 1,
        "reaction_add": 2,
        "reaction_clear": 2,
        "reaction_remove": 1,
        "role_delete": 1,
        "role_update": 2,
        "thread_update": 2,
        "voice_snapshot": 1,
        "voice_state": 4,
    }
    assert heard.translator.skipped_messages == {7: 1}
    assert heard.translator.ignored == {"direct message": 1, "TYPING_START": 1, "PRESENCE_UPDATE": 1}
    sums = heard.shell.sums
    rows = list(sums.activity.values())
    counted = {
        name: sum(row[MEASURES.index(name)] for row in rows) for name in ("messages", "edits", "deletes", "commands")
    }
    assert counted == {"messages": 4, "edits": 1, "deletes": 3, "commands": 2}
    assert sum(row[M.REACTIONS_GIVEN] for row in rows) == 0, "the second was cleared, the first removed"
    assert sorted(row[8] for row in sums.sessions.values()) == ["channel_delete", "leave", "member_leave"]
    assert [row[3] for row in sums.flow] == ["join", "leave"]
    assert heard.source.untranslated == {("INTERACTION_CREATE", "KeyError"): 1, ("GUILD_MEMBER_ADD", "KeyError"): 1}


@pytest.mark.skipif("PAYLOADS_FILE" not in os.environ, reason="names no file of recorded payloads")
@pytest.mark.parametrize("in_guild", [False, True])
def test_recorded_payloads_pass_translation_and_rules(in_guild: bool) -> None:
    heard = hear(Path(os.environ["PAYLOADS_FILE"]), in_guild=in_guild)
    assert dict(heard.kinds) == RECORDED[in_guild]
    assert sum(heard.source.untranslated.values()) == (3 if in_guild else 0)
