"""Writes a file of generated events: seeded, in time order, shaped like a busy bot's hour.

    python -m bench.generate --events 1000000 > events.jsonl

Guild sizes and people's activity follow power laws. People talk in conversations: a few of them in one
channel, each with a message every dozen seconds, about thirty messages in all. 85 of 100 events are
messages, 5 are reactions and 10 are voice (joins, moves, mute changes, leaves). Guild ids spread over the
partitions as Discord's do.
"""

from __future__ import annotations

import argparse
import random
import sys
from bisect import bisect
from collections.abc import Iterator
from itertools import accumulate

import orjson

START_MS = 1_760_000_000_000
DISCORD_EPOCH_MS = 1_420_070_400_000


class Conversation:
    """A few people of one guild in one channel.

    Attributes:
        guild: the guild's id.
        channel: the channel's.
        people: user ids.
    """

    def __init__(self, town: Town, draw: random.Random) -> None:
        self.guild, size = town.guild(draw)
        self.channel = self.guild + 1 + int(20 * draw.random() ** 2)
        self.people = [
            self.guild + 10_000 + int(size * draw.random() ** 2) for _ in range(draw.choice((1, 2, 3, 3, 4, 5)))
        ]


class Town:
    """All guilds, by size."""

    def __init__(self, guilds: int, members: int) -> None:
        self._ids = [(1_000_000 + number * 7_919) << 22 | number for number in range(guilds)]
        self._weights = list(accumulate(1 / (rank + 1) for rank in range(guilds)))
        self._sizes = [max(5, int(members / (rank + 1) / self._weights[-1])) for rank in range(guilds)]

    def guild(self, draw: random.Random) -> tuple[int, int]:
        """A guild's id and its size, large ones more often."""
        number = bisect(self._weights, draw.random() * self._weights[-1])
        return self._ids[number], self._sizes[number]


def events(count: int, *, guilds: int, members: int, hours: float, seed: int) -> Iterator[dict[str, object]]:
    """``count`` events of one source, over ``hours`` of event time."""
    draw = random.Random(seed)
    town = Town(guilds, members)
    voice: dict[tuple[int, int], int] = {}
    step = hours * 3_600_000 / count
    # As many as it takes for everybody in them to speak every dozen seconds.
    talks = [Conversation(town, draw) for _ in range(max(1, int(12_000 / step / 3)))]
    for seq in range(count):
        ts = START_MS + int(seq * step)
        number = int(len(talks) * draw.random())
        if draw.random() < 1 / 30:
            talks[number] = Conversation(town, draw)
        talk = talks[number]
        user = draw.choice(talk.people)
        kind = draw.random()
        event: dict[str, object] = {
            "v": 1,
            "type": "message_create",
            "ts": ts,
            "guild_id": talk.guild,
            "channel_id": talk.channel,
            "user_id": user,
            "session": "bench",
            "seq": seq,
            "shard": 0,
        }
        if kind < 0.85:
            event["data"] = {
                "message_id": (ts - DISCORD_EPOCH_MS << 22) + seq % 4_194_304,
                "chars": int(draw.expovariate(1 / 40)) + 1,
                "words": int(draw.expovariate(1 / 8)) + 1,
                "attachments": int(draw.random() < 0.05),
                "embeds": 0,
                "stickers": 0,
                "mentions": int(draw.random() < 0.1),
            }
        elif kind < 0.90:
            event["type"] = "reaction_add"
            event["data"] = {"message_id": ts - DISCORD_EPOCH_MS << 22, "emoji": "👍", "author_id": talk.people[0]}
        else:
            _voice(event, (talk.guild, user), voice, draw)
        yield event


def _voice(
    event: dict[str, object], person: tuple[int, int], voice: dict[tuple[int, int], int], draw: random.Random
) -> None:
    event["type"] = "voice_state"
    flags = {"self_mute": draw.random() < 0.4, "self_deaf": draw.random() < 0.1}
    guild = person[0]
    if person not in voice:
        voice[person] = guild + 100 + draw.randrange(5)
    elif draw.random() < 0.5:
        del voice[person]
    elif draw.random() < 0.2:
        voice[person] = guild + 100 + draw.randrange(5)
    event["channel_id"] = voice.get(person)
    event["data"] = {**flags, "mute": False, "deaf": False, "stream": False, "video": False, "suppress": False}


def main() -> None:
    """Write the file to standard output."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--guilds", type=int, default=500)
    parser.add_argument("--members", type=int, default=50_000)
    parser.add_argument("--hours", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    made = events(
        options.events, guilds=options.guilds, members=options.members, hours=options.hours, seed=options.seed
    )
    for event in made:
        sys.stdout.buffer.write(orjson.dumps(event) + b"\n")


if __name__ == "__main__":
    main()
