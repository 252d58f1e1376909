"""What the rules cost: CPU an event, and what they hold, without transport or servers.

    python -m bench.rules stage --people 1000 2000 5000 10000 20000
    python -m bench.rules life --events 2000000
    python -m bench.rules life --events 136986 --live

``stage``: people join one stage channel, half of them within a minute, stay for two hours of heartbeats and
panes as they are due, and leave, all at once. Linear means that a person costs what they would in guilds of a
thousand; as many people as there are in the last stage are therefore measured in such guilds too.

``life``: the guild of ``bench.guild_life``. Events come to a real state table of the transport, with a bounded
cache over a dictionary in Redis' place: encoding and decoding count, the network doesn't. A commit every 10,000
events, as in a replay at full speed; with ``--live`` every 5 s of event time, each with early panes, as where one
guild's events come as they happen.
"""

from __future__ import annotations

import argparse
import gc
import resource
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, Final

from bench.guild_life import GUILD, START_MS, life
from guildstream import events as ev
from processors.activity import STATES
from processors.rules import Drained, PartitionRules, RuleOptions, Tables
from processors.rules.memory_tables import memory_tables
from processors.transport.state import PartitionTable

CHUNK: Final = 1000
COMMIT: Final = 10_000
#: Every how many commits early panes are due: 5 s of real time at 100,000 events a second.
EARLY: Final = 50
ROWS: Final = ("activity", "totals", "awards", "sessions", "commands", "participants")


def voice(seq: int, ts: int, person: int, channel: int | None, apart: int) -> ev.VoiceState:
    """A join or a leave, with so many people in each guild."""
    guild_id, user_id = GUILD + (person // apart << 22), (person + 1) << 22
    return ev.VoiceState(v=1, ts=ts, session="s", seq=seq, guild_id=guild_id, channel_id=channel, user_id=user_id)


def stage(size: int, apart: int) -> None:
    """Print what one person costs in a full channel.

    Args:
        size: how many people there are.
        apart: how many of them are in each guild.
    """
    rules = PartitionRules(memory_tables(), RuleOptions())
    late = size // 2
    times = [n * 60_000 // late if n < late else 60_000 + (n - late) * 600_000 // late for n in range(size)]
    joined = _apply(rules, [voice(n + 1, START_MS + ts, n, 5, apart) for n, ts in enumerate(times)])
    begun, panes = time.process_time(), 0
    for second in range(660, 7860, 5):
        rules.apply(ev.Heartbeat(v=1, ts=START_MS + second * 1000, session="s"))
        panes += bool(rules.drain(early=True).activity)
    paned = time.process_time() - begun
    end = START_MS + 7_860_000
    left = _apply(rules, [voice(size + n + 1, end, n, None, apart) for n in range(size)])
    where = "" if apart >= size else f" in guilds of {apart:,}"
    print(
        f"{size:>7,} people{where}: join {joined / size * 1e6:5.1f} µs, leave {left / size * 1e6:5.1f} µs, "
        f"pane {paned / panes / size * 1e6:5.2f} µs a person ({panes} panes in 2 h), "
        f"{paned / 7200 * 100:.2f} % of a core while it lasts",
        flush=True,
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


class Store:
    """Keyed state as the transport keeps it, over dictionaries in Redis' place."""

    def __init__(self, limit: int) -> None:
        self.tables: dict[str, PartitionTable[Any]] = {spec.name: PartitionTable(spec, limit) for spec in STATES}
        self.stored: dict[str, dict[str, bytes]] = {spec.name: {} for spec in STATES}
        self.counts: Counter[str] = Counter()

    def prefetch(self, keys: dict[str, set[str]]) -> None:
        """Read what is not cached."""
        for name, wanted in keys.items():
            missing = self.tables[name].missing(wanted)
            self.counts["read"] += len(missing)
            self.tables[name].fill(missing, map(self.stored[name].get, missing))

    def commit(self) -> None:
        """Write what changed, and forget what was not used for long."""
        for name, table in self.tables.items():
            changed, deleted = table.take_changes()
            self.counts["written"] += len(changed) // 2
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


class Life:
    """A guild's life, measured.

    Attributes:
        early_every: every how many commits early panes are due.
        spent: CPU seconds of rules and state.
        done: events, heartbeats not among them.
    """

    def __init__(self, cached: int, early_every: int) -> None:
        self.early_every = early_every
        self.commits = 0
        self.store = Store(cached)
        self.rules = PartitionRules(Tables(**self.store.tables), RuleOptions())
        self.store.prefetch(self.rules.initial_keys())
        self.spent, self.done = 0.0, 0
        self.rows: Counter[str] = Counter()

    def run(self, commits: Sequence[Sequence[ev.Event]]) -> None:
        """Apply and commit events as the agent and the transport do, the events of each commit a list."""
        drains: list[Drained] = []
        begun = time.process_time()
        for events in commits:
            for start in range(0, len(events), CHUNK):
                self._chunk(events[start : start + CHUNK])
            self.commits += 1
            drains.append(self.rules.drain(early=self.commits % self.early_every == 0))
            self.store.commit()
        self.spent += time.process_time() - begun
        self.done += sum(event.__class__ is not ev.Heartbeat for events in commits for event in events)
        for drained in drains:
            for name in ROWS:
                self.rows[name] += len(getattr(drained, name))

    def _chunk(self, events: Sequence[ev.Event]) -> None:
        for keys in self.rules.rounds(events):
            self.store.prefetch(keys)
        apply = self.rules.apply
        for event in events:
            apply(event)

    def report(self) -> None:
        """Print where it stands."""
        cached = sum(map(len, self.store.tables.values()))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        each = {**self.rows, **self.store.counts}
        print(f"{self.done:>11,} events: {self.spent / self.done * 1e6:5.2f} µs each; peak {peak:.0f} MiB")
        print("    an event: " + ", ".join(f"{name} {count / self.done:.3f}" for name, count in each.items()))
        print(f"    {cached:,} keys cached; stored: {self.store.sizes()}", flush=True)


def run_life(count: int, events: Iterator[ev.Event], cached: int, *, live: bool) -> None:
    """Print CPU an event and memory as the guild grows older.

    Args:
        count: of events.
        events: that many, and heartbeats.
        cached: values that a table caches, up to twice that.
        live: events come as they happen: a commit with early panes every 5 s.
    """
    state, shown = Life(cached, 1 if live else EARLY), 0
    commits = _beats(events) if live else _batches(events)
    # Of a few commits at once, so that making events is not measured and looking at the clock costs nothing.
    while some := list(islice(commits, 500 if live else 2)):
        state.run(some)
        if state.done - shown >= count // 10 or state.done == count:
            shown = state.done
            state.report()


def _batches(events: Iterator[ev.Event]) -> Iterator[list[ev.Event]]:
    while batch := list(islice(events, COMMIT)):
        yield batch


def _beats(events: Iterator[ev.Event]) -> Iterator[list[ev.Event]]:
    """Events up to each heartbeat, it included."""
    batch: list[ev.Event] = []
    for event in events:
        batch.append(event)
        if event.__class__ is ev.Heartbeat:
            yield batch
            batch = []
    yield batch


def main() -> None:
    """Run one of them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("stage", "life"))
    parser.add_argument("--people", type=int, nargs="+", default=[1000, 2000, 5000, 10_000, 20_000])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--live", action="store_true", help="a commit every 5 s of event time")
    parser.add_argument("--cached", type=int, default=20_000, help="values that a table caches, up to twice that")
    parser.add_argument("--talk", type=int, default=30, help="messages of a conversation; 1: strangers only")
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    # As in the processor: looking for cycles among long-lived state is a cost by the size of the state.
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)
    if options.what == "stage":
        for size in options.people:
            stage(size, size)
        stage(options.people[-1], min(1000, options.people[-1]))
    else:
        events = life(options.events, seed=options.seed, talk=options.talk)
        run_life(options.events, events, options.cached, live=options.live)


if __name__ == "__main__":
    main()
