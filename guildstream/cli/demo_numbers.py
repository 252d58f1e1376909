"""The demo's numbers: a moment of the whole pipeline, from the simulated Discord to PostgreSQL."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Final, Self

import psycopg

from guildstream.cli.invocation import database_dsn, redis_url_of
from guildstream.cli.pipeline_state import PartitionState, existing_deployment, read_loads, read_partitions
from guildstream.cli.simulated_discord import DiscordControl
from guildstream.connections import connect_redis
from guildstream.keys import Keys
from guildstream.replay.writer import parse_id
from guildstream.settings import Settings

__all__ = ["DemoNumbers", "Sample"]

_ROWS: Final = """
SELECT coalesce(sum(n_tup_ins), 0)::bigint FROM pg_stat_user_tables
WHERE schemaname = 'guildstream' AND relname NOT IN ('migrations', 'scripts', 'sink_offsets', 'refresh_state')
"""
_TOP: Final = """
SELECT busiest.guild_id, guilds.name, coalesce(display_name, user_id::text), value, level
FROM (SELECT guild_id FROM guildstream.member_totals GROUP BY guild_id ORDER BY sum(xp) DESC, guild_id LIMIT 1) busiest
LEFT JOIN guildstream.guilds USING (guild_id)
CROSS JOIN analytics.leaderboard(busiest.guild_id, 'all', 'xp', NULL, 5, 0)
"""
_RECENT_SECONDS: Final = 5.0


@dataclass(frozen=True, slots=True)
class Sample:
    """One moment.

    Attributes:
        sent: events that the simulated Discord's dispatches mean.
        accepted: events that the processor has committed.
        commits: commits of all partitions.
        lag_entries: entries not committed yet.
        loaded: events that the sink has loaded, heartbeats included.
        rows: rows written to PostgreSQL since its start.
        freshness_seconds: from an event's entry in Redis to its commit in PostgreSQL, the slowest of the
            recent ones; None where nothing was loaded lately.
        guild_id: the guild with the most XP.
        guild_name: its name, once known.
        top: its members: name, XP, level.
    """

    sent: int = 0
    accepted: int = 0
    commits: int = 0
    lag_entries: int = 0
    loaded: int = 0
    rows: int = 0
    freshness_seconds: float | None = None
    guild_id: int | None = None
    guild_name: str | None = None
    top: list[tuple[str, int, int]] = field(default_factory=list)


class DemoNumbers:
    """Reads samples over connections of its own.

    Args:
        settings: with the URLs of the demo's servers.
        discord: the simulated Discord.
    """

    def __init__(self, settings: Settings, discord: DiscordControl) -> None:
        self._keys = Keys(settings.prefix)
        self._discord = discord
        self._redis = connect_redis(redis_url_of(settings), name="guildstream-demo")
        self._database: psycopg.Connection[Any] = psycopg.connect(database_dsn(settings), autocommit=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._redis.close()
        self._database.close()

    def read(self) -> Sample:
        """The numbers now."""
        counts = self._discord.counts()
        deployment = existing_deployment(self._redis, self._keys)
        if counts is None or deployment is None:
            return Sample()
        states = read_partitions(self._redis, self._keys, deployment.partitions)
        read_loads(self._database, deployment, states)
        top = self._database.execute(_TOP).fetchall()
        rows = self._database.execute(_ROWS).fetchone()
        return Sample(
            sent=counts["event_total"],
            accepted=sum(state.counters["accepted"] for state in states),
            commits=sum(state.commits for state in states),
            lag_entries=sum(state.lag_entries for state in states),
            loaded=sum(state.loaded_positions for state in states),
            rows=rows[0] if rows else 0,
            freshness_seconds=_freshness(states),
            guild_id=top[0][0] if top else None,
            guild_name=top[0][1] if top else None,
            top=[(name, value, level) for _, _, name, value, level in top],
        )


def _freshness(states: list[PartitionState]) -> float | None:
    now = datetime.now(UTC)
    ages = [
        state.loaded_at.timestamp() - parse_id(state.loaded_id)[0] / 1000
        for state in states
        if state.loaded_at is not None
        and state.loaded_commit
        and (now - state.loaded_at).total_seconds() < _RECENT_SECONDS
    ]
    return max(ages, default=None)
