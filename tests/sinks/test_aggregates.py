"""The relations that people read equal a recomputation from the facts, whenever they are read."""

# Statements are put together from names in this file only.
# ruff: noqa: S608

from __future__ import annotations

import random
import threading
from datetime import date, timedelta
from typing import Any

import psycopg

from guildstream.measures import MEASURES
from guildstream.repositories import refresh_status
from sinks.refresh import refresh
from tests.servers import wait_until
from tests.sinks.conftest import Stage
from tests.sinks.production import DAY_MS, EPOCH_MS, guild_of, message_commit, pane

SUMS = ", ".join(f"sum({name})::bigint" for name in MEASURES)
NAMES = ", ".join(MEASURES)
#: Relation → its interval, that as an expression over facts, and its keys.
RELATIONS = {
    "guild_hourly": ("bucket", "date_bin('1 hour', bucket, '2000-01-01 00:00:00+00')", "guild_id"),
    "channel_hourly": ("bucket", "date_bin('1 hour', bucket, '2000-01-01 00:00:00+00')", "guild_id, channel_id"),
    "member_hourly": ("bucket", "date_bin('1 hour', bucket, '2000-01-01 00:00:00+00')", "guild_id, user_id"),
    "guild_daily": ("day", "local_day", "guild_id"),
    "channel_daily": ("day", "local_day", "guild_id, channel_id"),
    "member_daily": ("day", "local_day", "guild_id, user_id"),
    "member_channel_daily": ("day", "local_day", "guild_id, channel_id, user_id"),
    "guild_weekly": ("week", "date_trunc('week', local_day::timestamp)::date", "guild_id"),
    "member_weekly": ("week", "date_trunc('week', local_day::timestamp)::date", "guild_id, user_id"),
    "guild_monthly": ("month", "date_trunc('month', local_day::timestamp)::date", "guild_id"),
    "member_monthly": ("month", "date_trunc('month', local_day::timestamp)::date", "guild_id, user_id"),
}


def random_panes(dice: random.Random, partition: int, count: int) -> list[list[Any]]:
    """Panes of few members over 40 days, with bots, user 0, channel 0 and takings back."""
    rows = []
    for _ in range(count):
        bucket = EPOCH_MS + dice.randrange(40 * 24 * 60) * 60_000
        guild = guild_of(partition, dice.randrange(2))
        user = dice.choice([0, 1, 2, 3, 4])
        day = bucket // DAY_MS - dice.randrange(2)
        values = {name: dice.choice([0, 0, 1, 5, -1]) for name in MEASURES}
        rows.append(pane((bucket, day, guild, dice.randrange(3), user), bot=user == 4, **values))
    return rows


def rows_of(stage: Stage, relation: str) -> list[tuple[Any, ...]]:
    time, _, keys = RELATIONS[relation]
    extra = "bot" if "user_id" in keys else "active_members"
    return stage.query(f"SELECT {time}, {keys}, {NAMES}, {extra} FROM analytics.{relation} ORDER BY {time}, {keys}")


def recomputed(stage: Stage, relation: str) -> list[tuple[Any, ...]]:
    time, expression, keys = RELATIONS[relation]
    if "user_id" in keys:
        return stage.query(
            f"SELECT {expression} AS {time}, {keys}, {SUMS}, bool_or(bot) FROM guildstream.member_activity "
            f"WHERE user_id <> 0 GROUP BY 1, {keys} ORDER BY {time}, {keys}"
        )
    return stage.query(
        f"WITH members AS (SELECT {expression} AS {time}, {keys}, user_id, NOT bool_or(bot) AND user_id <> 0 AND "
        "(sum(messages) > 0 OR sum(reactions_given) > 0 OR sum(commands) > 0 OR sum(voice_ms) > 0) AS active "
        f"FROM guildstream.member_activity GROUP BY 1, {keys}, user_id) "
        f"SELECT {time}, {keys}, {SUMS}, (SELECT count(*) FROM members AS m WHERE m.active AND m.{time} = f.{time} "
        f"AND {' AND '.join(f'm.{key.strip()} = f.{key.strip()}' for key in keys.split(','))}) "
        f"FROM (SELECT {expression} AS {time}, {keys}, {NAMES} FROM guildstream.member_activity) AS f "
        f"GROUP BY {time}, {keys} ORDER BY {time}, {keys}"
    )


def test_relations_equal_a_recomputation_folded_or_not(stage: Stage) -> None:
    stage.options["refresh_seconds"] = 600
    dice = random.Random(1)
    with stage.sink():
        for number in range(8):
            stage.production.commit(number % 4, [], entries=[{b"x": b""}], positions=1, dropped=[(0, 1)],
                                    activity=random_panes(dice, number % 4, 150))  # fmt: skip
        stage.wait_loaded()
        assert stage.query("SELECT count(*) > 0 FROM guildstream.activity_delta") == [(True,)]
        unfolded = {name: rows_of(stage, name) for name in RELATIONS}
        for name in RELATIONS:
            assert unfolded[name] == recomputed(stage, name), name
    assert stage.query("SELECT count(*) FROM guildstream.activity_delta") == [(0,)]
    assert {name: rows_of(stage, name) for name in RELATIONS} == unfolded


def test_readers_see_every_level_move_together_while_loads_and_folds_run(stage: Stage) -> None:
    stage.options.update(refresh_seconds=0.02, sink_batch_events=200)
    dice = random.Random(2)
    for number in range(80):
        message_commit(stage.production, number % 4, 100, dice=dice, panes=1.0)
    statement = "SELECT (SELECT coalesce(sum(position), 0) FROM guildstream.sink_offsets)::bigint, " + ", ".join(
        f"(SELECT coalesce(sum(messages), 0) FROM analytics.{name})::bigint" for name in RELATIONS
    )
    seen = []
    stop = threading.Event()

    def fold() -> None:
        with psycopg.connect(stage.database_url, autocommit=True) as connection:
            while not stop.is_set():
                refresh(connection)

    folding = threading.Thread(target=fold)
    folding.start()
    try:
        with stage.sink():
            while stage.loaded() < stage.committed():
                seen.extend(stage.query(statement))
            stage.wait_loaded()
    finally:
        stop.set()
        folding.join()
    seen.extend(stage.query(statement))
    assert len({row[0] for row in seen}) > 2
    assert all(len(set(row)) == 1 for row in seen)
    assert seen[-1][0] == stage.committed()


def test_late_rows_count_at_once_however_old_they_are(stage: Stage) -> None:
    guild = guild_of(1)
    with stage.sink():
        for age in (0, 400, 8000):
            bucket = EPOCH_MS - age * DAY_MS
            row = pane((bucket, bucket // DAY_MS, guild, 7, 8), messages=3)
            stage.production.commit(1, [], entries=[{b"x": b""}], positions=1, dropped=[(0, 1)], activity=[row])
            stage.wait_loaded()
            day = date(2026, 3, 1) - timedelta(days=age)
            assert stage.query("SELECT messages, active_members FROM analytics.guild_daily WHERE day = %s", day) == [
                (3, 1)
            ]


def test_the_fold_reports_what_it_did(stage: Stage) -> None:
    message_commit(stage.production, 1, 50, dice=random.Random(3))
    stage.options["refresh_seconds"] = 600
    stage.load()
    with psycopg.connect(stage.database_url) as connection:
        (status,) = refresh_status(connection)
    assert status.name == "fold"
    assert status.folded_rows > 0
    assert status.last_run_at is not None
    assert status.error is None


def test_a_failing_fold_says_why_and_goes_on(stage: Stage) -> None:
    message_commit(stage.production, 1, 50, dice=random.Random(3))
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        connection.execute(
            "ALTER TABLE guildstream.activity_daily ADD CONSTRAINT broken CHECK (messages < 0) NOT VALID"
        )
        with stage.sink():
            stage.wait_loaded()
            wait_until(lambda: bool(refresh_status(connection)[0].error), what="the error")
            (status,) = refresh_status(connection)
            assert "broken" in str(status.error)
            assert status.backlog_rows > 0
        connection.execute("ALTER TABLE guildstream.activity_daily DROP CONSTRAINT broken")
        refresh(connection)
        assert refresh_status(connection)[0].error is None
    assert stage.query("SELECT count(*) FROM guildstream.activity_delta") == [(0,)]
    assert rows_of(stage, "guild_daily") == recomputed(stage, "guild_daily")


def test_a_filter_reaches_the_index(stage: Stage) -> None:
    with psycopg.connect(stage.database_url) as connection:
        connection.execute("SET enable_seqscan = off")
        plan = connection.execute(
            "EXPLAIN SELECT * FROM analytics.member_daily WHERE guild_id = 5 AND day >= '2026-03-01'"
        ).fetchall()
    text = "\n".join(row[0] for row in plan)
    assert "Index Cond: ((guild_id = 5) AND (day >= '2026-03-01'::date))" in text.replace("'5'::bigint", "5")
