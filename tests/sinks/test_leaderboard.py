"""Who leads, by every period and measure."""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

import psycopg
import pytest

from guildstream.errors import ConfigError
from guildstream.repositories import PERIODS, LeaderboardRow, leaderboard, member_rank
from tests.sinks.conftest import Stage
from tests.sinks.production import DAY_MS, EPOCH_MS, guild_of, pane

GUILD = guild_of(1)
#: A Sunday: the last day of its week, the first of its month.
SUNDAY = date(2026, 3, 1)
#: User → days before Sunday → XP.
XP = {
    10: {0: 100, 1: 50, 6: 7},
    11: {0: 100, 7: 5000},
    12: {3: 150, 29: 9},
    13: {30: 40},
    14: {-1: 60, 45: 1},
    99: {0: 10_000},
}


def produce(stage: Stage) -> None:
    rows = []
    for user, days in XP.items():
        for ago, xp in days.items():
            bucket = EPOCH_MS - ago * DAY_MS
            rows.append(pane((bucket, bucket // DAY_MS, GUILD, 7, user), bot=user == 99, xp=xp, messages=1))
    rows.append(pane((EPOCH_MS, EPOCH_MS // DAY_MS, GUILD, 7, 0), deletes=5, xp=1))
    totals = [
        [GUILD, user, user == 99, sum(days.values()), user - 10, len(days), 0, 0, EPOCH_MS, EPOCH_MS]
        for user, days in XP.items()
    ]
    common = {"v": 1, "type": "member_update", "ts": EPOCH_MS, "guild_id": GUILD, "session": "s"}
    names = [
        {**common, "user_id": user, "seq": user, "data": data}
        for user, data in {10: {"username": "ada", "nick": "Ada"}, 11: {"username": "bo"}}.items()
    ]  # fmt: skip
    stage.production.commit(1, names, activity=rows, totals=totals)
    stage.load()


def expected(first: date, last: date) -> list[tuple[int, int, int]]:
    sums = {
        user: sum(xp for ago, xp in days.items() if first <= SUNDAY - timedelta(days=ago) <= last)
        for user, days in XP.items()
        if user != 99
    }
    places = sorted((-value, user) for user, value in sums.items() if value > 0)
    return [(1 + sum(other < value for other, _ in places), user, -value) for value, user in places]


def short(rows: list[LeaderboardRow]) -> list[tuple[int, int, int]]:
    return [(row.rank, row.user_id, row.value) for row in rows]


def test_every_period_counts_its_days_and_ties_share_a_rank(stage: Stage) -> None:
    produce(stage)
    days = {
        "day": (SUNDAY, SUNDAY),
        "week": (date(2026, 2, 23), SUNDAY),
        "month": (SUNDAY, date(2026, 3, 31)),
        "rolling_7d": (SUNDAY - timedelta(days=6), SUNDAY),
        "rolling_30d": (SUNDAY - timedelta(days=29), SUNDAY),
        "all": (date.min, date.max),
    }
    assert set(days) == set(PERIODS)
    with psycopg.connect(stage.database_url) as connection:
        for period, (first, last) in days.items():
            assert short(leaderboard(connection, GUILD, period, at=SUNDAY)) == expected(first, last), period
        assert [row.rank for row in leaderboard(connection, GUILD, "day", at=SUNDAY)] == [1, 1]
        past = leaderboard(connection, GUILD, "month", at=date(2026, 2, 10))
        assert short(past) == expected(date(2026, 2, 1), date(2026, 2, 28))


def test_places_carry_names_levels_and_pages(stage: Stage) -> None:
    produce(stage)
    with psycopg.connect(stage.database_url) as connection:
        rows = leaderboard(connection, GUILD, "all")
        assert rows[0] == LeaderboardRow(rank=1, user_id=11, display_name="bo", value=5100, level=1)
        assert {row.user_id: row.display_name for row in rows}[10] == "Ada"
        assert {row.user_id: row.display_name for row in rows}[13] is None
        assert leaderboard(connection, GUILD, "all", max_rows=2, skip=1) == rows[1:3]
        assert leaderboard(connection, GUILD, "all", measure="messages")[0].value == 3
        assert leaderboard(connection, GUILD, "all", measure="stream_ms") == []
        assert member_rank(connection, GUILD, 10, "all") == rows[2]
        assert member_rank(connection, GUILD, 99, "all") is None
        assert leaderboard(connection, GUILD + 1, "all") == []


@pytest.mark.parametrize("arguments", [{"period": "year"}, {"period": "day", "measure": "guild_id"}])
def test_unknown_periods_and_measures_are_named(stage: Stage, arguments: dict[str, Any]) -> None:
    with psycopg.connect(stage.database_url) as connection:
        with pytest.raises(ConfigError, match="there is no"):
            leaderboard(connection, GUILD, **arguments)
        asked = {"measure": "xp", **arguments}
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="there is no"):
            connection.execute(
                "SELECT * FROM analytics.leaderboard(%s, %s, %s)", (GUILD, asked["period"], asked["measure"])
            )
