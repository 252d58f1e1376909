"""What the rules cost: CPU an event, and what they hold, without transport or servers.

    python -m bench.rules stage --people 10000
    python -m bench.rules life --events 2000000

``stage``: people join one stage channel, half of them within a minute, stay for two hours of heartbeats and
panes every 5 s of event time, and leave. The cost of a join and of a pane a person is printed for the
size asked for and for a tenth of it: linear means that they are the same.

``life``: a seeded guild with 100,000 members and about 400 people in voice at any time. Events come to a
real state table of the transport, with a bounded cache over a dictionary in Redis' place: encoding and
decoding count, the network doesn't.
"""

from __future__ import annotations

import argparse
import random
import resource
import time
from collections.abc import Iterator
from typing import Any

from guildstream import events as ev
from processors.activity import STATES
from processors.rules import PartitionRules, RuleOptions, Tables
from processors.rules.memory_tables import memory_tables
from processors.transport.state import PartitionTable

GUILD = 9 << 22
START_MS = 1_760_000_400_000
DAY_MS = 86_400_000
CHUNK = 1000
COMMIT = 10_000


def voice(seq: int, ts: int, user: int, channel: int | None) -> ev.VoiceState:
    """A join or a leave."""
    return ev.VoiceState(v=1, ts=ts, session="s", seq=seq, guild_id=GUILD, channel_id=channel, user_id=user)


def stage(people: int) -> None:
    """Print what one person costs in a full channel."""
    for size in (people // 10, people):
        rules = PartitionRules(memory_tables(), RuleOptions())
        late = size // 2
        joins = [voice(n + 1, START_MS + n * 60_000 // late, (n + 1) << 22, 5) for n in range(late)]
        joins += [
            voice(n + 1, START_MS + 60_000 + (n - late) * 600_000 // late, (n + 1) << 22, 5) for n in range(late, size)
        ]
        joined = _apply(rules, joins)
        begun, panes = time.process_time(), 0
        for second in range(660, 7860, 5):
            rules.apply(ev.Heartbeat(v=1, ts=START_MS + second * 1000, session="s"))
            panes += bool(rules.drain(early=True).activity)
        paned = time.process_time() - begun
        end = START_MS + 7_860_000
        left = _apply(rules, [voice(size + n + 1, end, (n + 1) << 22, None) for n in range(size)])
        print(
            f"{size:>7} people: join {joined / size * 1e6:6.1f} µs, leave {left / size * 1e6:6.1f} µs, "
            f"pane {paned / panes / size * 1e6:5.2f} µs a person ({panes} panes in 2 h), "
            f"{paned / 7200 * 100:.2f} % of a core while it lasts"
        )


def _apply(rules: PartitionRules, events: list[ev.VoiceState]) -> float:
    begun = time.process_time()
    for start in range(0, len(events), CHUNK):
        chunk = events[start : start + CHUNK]
        for _ in rules.rounds(chunk):
            pass
        for event in chunk:
            rules.apply(event)
    rules.drain(early=False)
    return time.process_time() - begun


def life(count: int, days: float, seed: int) -> Iterator[ev.Event]:
    """A guild's events in order of time, with a heartbeat every 5 s or every 100 events."""
    draw = random.Random(seed)
    step = days * DAY_MS / count
    inside: dict[int, int] = {}
    beat = 0
    for seq in range(count):
        ts = START_MS + int(seq * step)
        if ts - beat >= max(5000, 100 * step):
            beat = ts
            yield ev.Heartbeat(v=1, ts=ts, session="s")
        user = (1 + int(100_000 * draw.random() ** 2)) << 22
        common: dict[str, Any] = {"v": 1, "ts": ts, "session": "s", "seq": seq, "guild_id": GUILD, "user_id": user}
        kind = draw.random()
        if kind < 0.85:
            data = ev.MessageData(message_id=seq + 1, chars=int(draw.random() * 100))
            yield ev.MessageCreate(**common, channel_id=GUILD + int(20 * draw.random()), data=data)
        elif kind < 0.95:
            what = ev.ReactionData(message_id=1 + seq // 50, emoji="x", author_id=user + (1 << 22))
            yield (ev.ReactionAdd if kind < 0.94 else ev.ReactionRemove)(**common, channel_id=GUILD + 1, data=what)
        elif len(inside) < 400 or user in inside:
            channel = None if inside.pop(user, None) else GUILD + 100 + int(20 * draw.random())
            if channel:
                inside[user] = channel
            yield ev.VoiceState(**common, channel_id=channel)
        else:
            gone, _ = inside.popitem()
            common["user_id"] = gone
            yield ev.VoiceState(**common, channel_id=None)


class Store:
    """Keyed state as the transport keeps it, over dictionaries in Redis' place."""

    def __init__(self, limit: int) -> None:
        self.tables: dict[str, PartitionTable[Any]] = {spec.name: PartitionTable(spec, limit) for spec in STATES}
        self.stored: dict[str, dict[str, bytes]] = {spec.name: {} for spec in STATES}

    def prefetch(self, keys: dict[str, set[str]]) -> None:
        """Read what is not cached."""
        for name, wanted in keys.items():
            missing = self.tables[name].missing(wanted)
            self.tables[name].fill(missing, map(self.stored[name].get, missing))

    def commit(self) -> None:
        """Write what changed, and forget what was not used for long."""
        for name, table in self.tables.items():
            changed, deleted = table.take_changes()
            self.stored[name].update(zip((key.decode() for key in changed[::2]), changed[1::2], strict=True))
            for key in deleted:
                self.stored[name].pop(key.decode(), None)
            table.shrink()

    def sizes(self) -> str:
        """Keys and bytes of each table."""
        return ", ".join(
            f"{name} {len(table):,} ({sum(map(len, table.values())) / 2**20:.1f} MiB)"
            for name, table in self.stored.items()
        )


def run_life(count: int, days: float, seed: int) -> None:
    """Print CPU an event and memory as the guild grows older."""
    store = Store(20_000)
    rules = PartitionRules(Tables(**store.tables), RuleOptions())
    store.prefetch(rules.initial_keys())
    spent, done, events = 0.0, 0, life(count, days, seed)
    while chunk := [event for _, event in zip(range(CHUNK), events, strict=False)]:
        begun = time.process_time()
        for keys in rules.rounds(chunk):
            store.prefetch(keys)
        for event in chunk:
            rules.apply(event)
        done += len(chunk)
        if done % COMMIT == 0:
            rules.drain(early=done % (5 * COMMIT) == 0)
            store.commit()
        spent += time.process_time() - begun
        if done % max(CHUNK, count // 10 // CHUNK * CHUNK) == 0:
            cached = sum(map(len, store.tables.values()))
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
            print(f"{done:>10,} events: {spent / done * 1e6:5.2f} µs each; {cached:,} keys cached; peak {peak:.0f} MiB")
            print(f"           stored: {store.sizes()}", flush=True)


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("stage", "life"))
    parser.add_argument("--people", type=int, default=10_000)
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--days", type=float, help="event time of the life; in proportion to a year of 50 million")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    if options.what == "stage":
        stage(options.people)
    else:
        run_life(options.events, options.days or 365 * options.events / 50_000_000, options.seed)


if __name__ == "__main__":
    main()
