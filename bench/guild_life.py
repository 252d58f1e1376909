"""A seeded year of one guild: 100,000 members, 50 million events, some 400 people in voice at any time.

Members' activity follows a power law. People talk in conversations: a few of them in one channel, each with a
message every dozen seconds, about thirty messages in all, in as many conversations at once as the hour's rate of
events needs. Nights are quieter than evenings. Of 100 events 80 are messages, 6 reactions added and 1 taken
back, 8 voice (joins, moves, mute changes, leaves), 3 edits and deletions, 1.5 commands, the rest members coming
and going. Beside them a heartbeat every 5 s.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any, Final

from guildstream import events as ev

__all__ = ["GUILD", "START_MS", "YEAR_EVENTS", "life"]

GUILD: Final = 9 << 22
START_MS: Final = 1_760_000_400_000
YEAR_EVENTS: Final = 50_000_000
MEMBERS: Final = 100_000
#: How busy each hour of a day is.
_HOURS: Final = (7, 5, 3, 2, 2, 3, 4, 6, 8, 9, 10, 11, 12, 12, 12, 13, 14, 15, 17, 19, 20, 18, 14, 10)
_HOUR_MS: Final = 3_600_000
_BEAT_MS: Final = 5_000
_IN_VOICE: Final = 400
#: From here on there are 9 per cent of reactions, voice, and so on.
_KINDS: Final = (
    (0.80, "message"),
    (0.86, "react"),
    (0.87, "unreact"),
    (0.95, "voice"),
    (0.97, "edit"),
    (0.98, "delete"),
    (0.995, "command"),
    (1.0, "member"),
)


class Conversation:
    """A few people in one channel."""

    __slots__ = ("channel", "people")

    def __init__(self, draw: random.Random) -> None:
        self.channel = GUILD + 1 + int(20 * draw.random() ** 2)
        self.people = [_member(draw) for _ in range(draw.choice((1, 2, 3, 3, 4, 5)))]


class Guild:
    """Who talks and who is in voice, and what they do next."""

    def __init__(self, seed: int, talk: int) -> None:
        self.talk = talk
        self.draw = random.Random(seed)
        self.talks: list[Conversation] = []
        self.inside: dict[int, int] = {}
        self.voices: list[int] = []
        self.seq = 0
        self.messages: list[tuple[int, int, int]] = [(1, GUILD + 1, _member(self.draw))]
        self.reactions: list[tuple[int, tuple[int, int, int]]] = []

    def prepare(self, per_hour: float) -> None:
        """As many conversations as it takes for everybody in them to speak every dozen seconds."""
        wanted = max(1, int(per_hour * 12 / 3600 / 3))
        del self.talks[wanted:]
        while len(self.talks) < wanted:
            self.talks.append(Conversation(self.draw))

    def event(self, ts: int) -> ev.Event:
        """What happens at an instant."""
        self.seq += 1
        kind = self.draw.random()
        if kind < _KINDS[0][0]:
            return self._message(ts)
        name = next(name for limit, name in _KINDS if kind < limit)
        made: ev.Event = getattr(self, f"_{name}")(ts)
        return made

    def _common(self, ts: int, user_id: int | None, channel_id: int | None) -> dict[str, Any]:
        return {
            "v": 1,
            "ts": ts,
            "session": "life",
            "seq": self.seq,
            "shard": 0,
            "guild_id": GUILD,
            "channel_id": channel_id,
            "user_id": user_id,
        }

    def _talk(self) -> tuple[Conversation, int]:
        draw, talks = self.draw, self.talks
        number = int(len(talks) * draw.random())
        if draw.random() < 1 / self.talk:
            talks[number] = Conversation(draw)
        talk = talks[number]
        return talk, talk.people[int(len(talk.people) * draw.random())]

    def _message(self, ts: int) -> ev.Event:
        talk, user_id = self._talk()
        number = (ts - 1_420_070_400_000 << 22) + self.seq % 4_194_304
        self.messages.append((number, talk.channel, user_id))
        if len(self.messages) > 500:
            del self.messages[:250]
        chars = int(self.draw.random() * 80) + 1
        data = ev.MessageData(message_id=number, chars=chars, words=chars // 5, attachments=0, embeds=0)
        return ev.MessageCreate(
            v=1,
            ts=ts,
            session="life",
            seq=self.seq,
            shard=0,
            guild_id=GUILD,
            channel_id=talk.channel,
            user_id=user_id,
            data=data,
        )

    def _react(self, ts: int) -> ev.Event:
        message = self.messages[-1 - int(min(40, len(self.messages)) * self.draw.random())]
        user_id = self._talk()[1]
        self.reactions.append((user_id, message))
        if len(self.reactions) > 2000:
            del self.reactions[:1000]
        data = ev.ReactionData(message_id=message[0], emoji="👍", author_id=message[2])
        return ev.ReactionAdd(**self._common(ts, user_id, message[1]), data=data)

    def _unreact(self, ts: int) -> ev.Event:
        if not self.reactions:
            return self._react(ts)
        user_id, message = self.reactions.pop(int(len(self.reactions) * self.draw.random()))
        return ev.ReactionRemove(
            **self._common(ts, user_id, message[1]), data=ev.ReactionData(message_id=message[0], emoji="👍")
        )

    def _voice(self, ts: int) -> ev.Event:
        draw, inside, voices = self.draw, self.inside, self.voices
        kind = draw.random()
        if len(inside) < _IN_VOICE and (kind < 0.4 or len(inside) < 0.9 * _IN_VOICE):
            user_id = _member(draw)
            if user_id not in inside:
                voices.append(user_id)
            inside[user_id] = GUILD + 100 + int(40 * draw.random() ** 1.5)
        else:
            place = int(len(voices) * draw.random())
            user_id = voices[place]
            if kind < 0.4:
                voices[place] = voices[-1]
                voices.pop()
                del inside[user_id]
            elif kind < 0.5:
                inside[user_id] = GUILD + 100 + int(40 * draw.random() ** 1.5)
        flags = ev.VoiceFlags(self_mute=draw.random() < 0.4, self_deaf=draw.random() < 0.1)
        return ev.VoiceState(**self._common(ts, user_id, inside.get(user_id)), data=flags)

    def _edit(self, ts: int) -> ev.Event:
        number, channel_id, user_id = self.messages[-1]
        return ev.MessageUpdate(**self._common(ts, user_id, channel_id), data=ev.MessageRef(number))

    def _delete(self, ts: int) -> ev.Event:
        number, channel_id, _ = self.messages[-1]
        return ev.MessageDelete(**self._common(ts, None, channel_id), data=ev.MessageRef(number))

    def _command(self, ts: int) -> ev.Event:
        talk, user_id = self._talk()
        name = ("rank", "play", "skip", "help", "page:2")[int(5 * self.draw.random() ** 2)]
        kind = "component" if ":" in name else "slash"
        data = ev.CommandData(interaction_id=self.seq, name=name, kind=kind)
        return ev.Command(**self._common(ts, user_id, talk.channel), data=data)

    def _member(self, ts: int) -> ev.Event:
        common = self._common(ts, _member(self.draw), None)
        if self.draw.random() < 0.5:
            return ev.MemberJoin(**common, data=ev.MemberData(invite="abc"))
        return ev.MemberLeave(**common)


def _member(draw: random.Random) -> int:
    return (1 + int(MEMBERS * draw.random() ** 2)) << 22


def life(events: int, *, seed: int = 1, talk: int = 30) -> Iterator[ev.Event]:
    """The first ``events`` events of the guild's life, heartbeats in between, which are not counted.

    Args:
        events: how many.
        seed: the same seed, the same life.
        talk: about how many messages make a conversation; 1 makes everybody a stranger to who came before.
    """
    guild, made, hour = Guild(seed, talk), 0, 0
    beat_ms = START_MS
    while made < events:
        share = _HOURS[(START_MS // _HOUR_MS + hour) % 24] / sum(_HOURS) * 24
        per_hour = YEAR_EVENTS / 365 / 24 * share
        guild.prepare(per_hour)
        start_ms, count = START_MS + hour * _HOUR_MS, round(per_hour)
        for number in range(min(count, events - made)):
            ts = start_ms + number * _HOUR_MS // count
            while beat_ms <= ts:
                yield ev.Heartbeat(v=1, ts=beat_ms, session="life")
                beat_ms += _BEAT_MS
            yield guild.event(ts)
        made += count
        hour += 1
