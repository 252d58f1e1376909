"""A simulated Discord in the test's loop, gateway processes beside it, and what they left in Redis."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from gateway.simulator import SimulatedDiscord, demo_token
from guildstream.codec import EventReader, entry_payloads
from guildstream.connections import connect_redis
from guildstream.events import Event
from guildstream.keys import DEFAULT_PARTITIONS, Keys

RUN_GATEWAY = """
import sys
from guildstream.components import run_component
from guildstream.settings import load_settings
sys.exit(run_component("gateway", load_settings()))
"""


async def eventually(condition: Callable[[], bool], *, deadline_seconds: float = 20.0, what: str) -> None:
    """Poll without holding up the simulated Discord."""
    ends = time.monotonic() + deadline_seconds
    while not condition():
        assert time.monotonic() < ends, f"{what} did not come true within {deadline_seconds} s"
        await asyncio.sleep(0.02)


@asynccontextmanager
async def simulated_discord(**settings: object) -> AsyncIterator[SimulatedDiscord]:
    discord = SimulatedDiscord(**settings)  # type: ignore[arg-type]
    await discord.start()
    try:
        yield discord
    finally:
        await discord.stop()


@dataclass
class GatewayProcess:
    """Starts the gateway as a process of its own, as often as asked, always on the same data directory."""

    redis_url: str
    discord: SimulatedDiscord
    data_dir: Path
    environment: dict[str, str] = field(default_factory=dict)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        environment = {
            **os.environ,
            "GUILDSTREAM_REDIS_URL": self.redis_url,
            "GUILDSTREAM_DATA_DIR": str(self.data_dir),
            "GUILDSTREAM_DISCORD_REST_URL": self.discord.rest_url,
            "GUILDSTREAM_DISCORD_TOKEN": demo_token(),
            **self.environment,
        }
        self.process = subprocess.Popen([sys.executable, "-c", RUN_GATEWAY], env=environment)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        process, self.process = self.process, None
        assert process is not None
        process.send_signal(number)
        return await asyncio.to_thread(process.wait, 20)

    def clean_up(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait()


@asynccontextmanager
async def running_gateway(
    redis_url: str, discord: SimulatedDiscord, data_dir: Path, **environment: str
) -> AsyncIterator[GatewayProcess]:
    gateway = GatewayProcess(redis_url, discord, data_dir, environment)
    gateway.start()
    try:
        yield gateway
    finally:
        gateway.clean_up()


@dataclass
class Published:
    """What Redis holds, read by the rule of the contract.

    Attributes:
        accepted: first occurrences, in stream order within each partition.
        duplicates: events not above the highest (seq, part) of their session and partition.
        heartbeats: by partition, in order.
    """

    accepted: list[Event] = field(default_factory=list)
    duplicates: int = 0
    heartbeats: dict[int, list[Event]] = field(default_factory=dict)

    def counts(self) -> Counter[tuple[str, str]]:
        return Counter((str(event.guild_id), event.type) for event in self.accepted if event.guild_id)

    def of_type(self, kind: str) -> list[Event]:
        return [event for event in self.accepted if event.type == kind]


def published(redis_url: str, partitions: int = DEFAULT_PARTITIONS) -> Published:
    found = Published()
    with connect_redis(redis_url, name="tests") as client:
        for partition in range(partitions):
            highest: dict[str, tuple[int, int]] = {}
            for event in _events(client.xrange(Keys().partition(partition).events), partition, partitions):
                if event.type == "heartbeat":
                    found.heartbeats.setdefault(partition, []).append(event)
                elif (event.seq, event.part) > highest.get(event.session, (-1, -1)):
                    highest[event.session] = (event.seq, event.part)
                    found.accepted.append(event)
                else:
                    found.duplicates += 1
    return found


def _events(entries: list[tuple[bytes, dict[bytes, bytes]]], partition: int, partitions: int) -> Iterator[Event]:
    reader = EventReader(partitions, partition)
    for entry_id, fields in entries:
        payload, packed = entry_payloads(fields)
        entry_ms = int(entry_id.partition(b"-")[0])
        for line in payload.split(b"\n") if packed else [payload]:
            yield reader.read(line, entry_ms)


def expected(discord: SimulatedDiscord, *, member_updates: bool = True) -> Counter[tuple[str, str]]:
    """What the simulated Discord says it meant, by guild and type."""
    return Counter(
        {
            (guild_id, kind): count
            for guild_id, kinds in discord.counts()["events"].items()
            for kind, count in kinds.items()
            if member_updates or kind != "member_update"
        }
    )
