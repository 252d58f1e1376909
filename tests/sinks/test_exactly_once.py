"""Whatever dies, is repeated or goes away: every row is there once."""

from __future__ import annotations

import random
import signal
import threading
from collections.abc import Callable
from urllib.parse import urlsplit

import psycopg
import pytest

from guildstream.connections import connect_redis
from guildstream.errors import StreamDamaged
from guildstream.migrations import migrate_up
from guildstream.results import Results
from tests.servers import PrivateServer, wait_until
from tests.sinks.conftest import PARTITIONS, Stage
from tests.sinks.production import EPOCH_MS, Production, message_commit

FINGERPRINTS = {
    "events": "SELECT count(*), count(DISTINCT (partition, position)), sum(position), sum(seq) FROM guildstream.events",
    "activity": "SELECT count(*), sum(messages), sum(chars), sum(xp) FROM guildstream.member_activity",
    "awards": "SELECT count(*), count(DISTINCT award_id), sum(xp) FROM guildstream.xp_awards",
    "totals": "SELECT count(*), sum(xp), sum(level), max(last_active_at) FROM guildstream.member_totals",
    "hourly": "SELECT count(*), sum(messages), sum(chars), sum(xp), sum(active_members) FROM analytics.channel_hourly",
    "daily": "SELECT count(*), sum(messages), sum(chars), sum(xp) FROM analytics.member_daily",
}


def fingerprints(stage: Stage) -> dict[str, list[tuple[object, ...]]]:
    return {name: stage.query(statement) for name, statement in FINGERPRINTS.items()}


def produce(stage: Stage, commits: int, *, seed: int, count: int = 300) -> None:
    dice = random.Random(seed)
    for number in range(commits):
        start_ms = EPOCH_MS + number * 1_800_000
        message_commit(stage.production, number % PARTITIONS, count, dice=dice, start_ms=start_ms)


def expected(stage: Stage) -> dict[str, list[tuple[object, ...]]]:
    """The fingerprints of an undisturbed load, in another database of the same server."""
    parts = urlsplit(stage.database_url)
    name = f"{parts.path[1:]}_undisturbed"
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    other = Stage(stage.redis_url, parts._replace(path=f"/{name}").geturl(), stage.production)
    migrate_up(other.database_url)
    other.load()
    found = fingerprints(other)
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
    return found


@pytest.fixture
def untrimmed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave results in Redis, so that a second database can be loaded from the same."""
    from sinks.reader import ResultsStreams

    monkeypatch.setattr(ResultsStreams, "done", lambda _self, _offsets: None)


@pytest.mark.chaos
def test_sigkill_in_the_middle_of_loading_loses_and_repeats_nothing(stage: Stage) -> None:
    produce(stage, 64, seed=1)
    backup = {key: stage.production.client.dump(key) for key in stage.production.client.keys("*")}
    stage.options["sink_batch_events"] = 600
    dice = random.Random(2)
    kills = 0
    pause = threading.Event()
    while stage.loaded() < stage.committed():
        before = stage.loaded()
        process = stage.process()
        try:
            wait_until(lambda: stage.loaded() > before, deadline_seconds=20, what="some loading")  # noqa: B023
            pause.wait(dice.random() * 0.08)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        kills += 1
    assert kills >= 2
    stage.load()
    disturbed = fingerprints(stage)
    for key, value in backup.items():
        stage.production.client.restore(key, 0, value, replace=True)
    assert disturbed == expected(stage)
    assert disturbed["events"][0][0] == stage.committed()


@pytest.mark.chaos
def test_sigterm_ends_cleanly_with_everything_folded(stage: Stage) -> None:
    produce(stage, 8, seed=3)
    stage.options["refresh_seconds"] = 60
    process = stage.process()
    stage.wait_loaded()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    assert stage.query("SELECT count(*) FROM guildstream.activity_delta") == [(0,)]
    assert (
        stage.query("SELECT sum(messages) FROM guildstream.activity_daily")[0]
        == fingerprints(stage)["activity"][0][1:2]
    )


@pytest.mark.usefixtures("untrimmed")
def test_redelivered_results_change_nothing(stage: Stage) -> None:
    produce(stage, 20, seed=4)
    stage.load()
    once = fingerprints(stage)
    stage.load()
    assert fingerprints(stage) == once == expected(stage)


@pytest.mark.usefixtures("untrimmed")
def test_two_sinks_share_the_work_and_load_it_once(stage: Stage) -> None:
    stage.options["sink_batch_events"] = 500
    produce(stage, 60, seed=5, count=150)
    with stage.sink(), stage.sink():
        stage.wait_loaded()
    assert fingerprints(stage) == expected(stage)


def test_a_connection_cut_while_loading_is_made_again(stage: Stage) -> None:
    stage.options["sink_batch_events"] = 400
    produce(stage, 60, seed=6)
    cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'guildstream sink'"
    cuts = 0
    with stage.sink():
        while cuts < 3 and stage.loaded() < stage.committed():
            before = stage.loaded()
            cuts += stage.query(cut)[0][0]
            wait_until(lambda: stage.loaded() > before, what="more loading")  # noqa: B023
        stage.wait_loaded()
    assert cuts == 3
    assert stage.query("SELECT count(*), count(DISTINCT (partition, position)) FROM guildstream.events") == [
        (stage.committed(), stage.committed())
    ]


@pytest.mark.chaos
def test_postgres_and_redis_may_go_away_and_come_back(
    redis_server: PrivateServer, postgres_server: PrivateServer
) -> None:
    migrate_up(postgres_server.url)
    with connect_redis(redis_server.url) as client:
        stage = Stage(redis_server.url, postgres_server.url, Production(client, partitions=PARTITIONS))
        with stage.sink() as sink:
            produce(stage, 4, seed=7)
            stage.wait_loaded()
            postgres_server.kill()
            produce(stage, 4, seed=8)
            wait_until(lambda: not sink.ready, what="noticing that PostgreSQL is away")
            postgres_server.start()
            stage.wait_loaded()
            redis_server.kill()
            wait_until(lambda: not sink.ready, what="noticing that Redis is away")
            redis_server.start()
            produce(stage, 4, seed=9)
            stage.wait_loaded()
            assert not sink.stopped.reasons
    assert stage.query("SELECT count(*), count(DISTINCT (partition, position)) FROM guildstream.events") == [
        (stage.committed(), stage.committed())
    ]


DAMAGES: dict[str, Callable[[Results], Results]] = {
    "a commit again": lambda last: last,
    "a commit left out": lambda last: _next(last, commit=last.commit + 2),
    "events repeated": lambda last: _next(last, after_id="0-0"),
    "positions repeated": lambda last: _next(last, first_position=0),
    "another partition's": lambda last: _next(last, partition=2),
    "raw events missing": lambda last: _next(last, positions=5),
}


def _next(last: Results, **changes: object) -> Results:
    values = {
        "partition": last.partition,
        "commit": last.commit + 1,
        "after_id": last.last_id,
        "last_id": last.last_id,
        "first_position": last.first_position + last.positions,
        "positions": 0,
    }
    rows: dict[str, list[object]] = {"activity": [], "sessions": [], "awards": [], "totals": [], "commands": []}
    return Results(dropped=[], **{**values, **rows, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_results_stop_their_partition_and_no_other(stage: Stage, damage: str) -> None:
    produce(stage, 8, seed=10)
    dice = random.Random(11)
    last = message_commit(stage.production, 1, 10, dice=dice)
    with stage.sink() as sink:
        stage.wait_loaded()
        before = stage.query("SELECT * FROM guildstream.sink_offsets WHERE partition = 1")
        stage.production.write(1, DAMAGES[damage](last))
        wait_until(lambda: 1 in sink.stopped, what="the stop")
        assert not sink.ready
        assert "partition 1" in sink.stopped.reasons[1]
        loaded = stage.loaded()
        message_commit(stage.production, 0, 10, dice=dice)
        message_commit(stage.production, 3, 10, dice=dice)
        wait_until(lambda: stage.loaded() == loaded + 20, what="loading the other partitions")
    assert stage.query("SELECT * FROM guildstream.sink_offsets WHERE partition = 1") == before


def test_a_redis_that_lost_its_tail_is_refused_before_anything_is_read(stage: Stage) -> None:
    names = stage.production.keys.partition(2)
    produce(stage, 8, seed=12)
    stage.load()
    stage.production.client.hset(names.offset, "commit", 1)
    with stage.sink() as sink:
        wait_until(lambda: 2 in sink.stopped, what="the stop")
        assert set(sink.stopped.reasons) == {2}
        assert "lost its tail" in sink.stopped.reasons[2]


def test_trimmed_raw_events_stop_their_partition(stage: Stage) -> None:
    produce(stage, 8, seed=13)
    stage.production.client.xtrim(stage.production.keys.partition(3).events, maxlen=1, approximate=False)
    loaded = stage.production.position(0) + stage.production.position(1) + stage.production.position(2)
    with stage.sink() as sink:
        wait_until(lambda: 3 in sink.stopped and stage.loaded() == loaded, what="the stop, and the others' loading")
        assert "trimmed" in sink.stopped.reasons[3]


def test_a_new_deployment_under_a_running_sink_ends_it(stage: Stage) -> None:
    with pytest.raises(StreamDamaged, match="lost everything"), stage.sink() as sink:  # noqa: PT012 - raised by the thread
        wait_until(lambda: sink.ready, what="readiness")
        stage.production.client.flushall()
        wait_until(lambda: not sink.ready, what="the end")


def test_what_was_loaded_but_not_trimmed_is_trimmed_at_the_next_start(stage: Stage) -> None:
    produce(stage, 4, seed=14)
    names = stage.production.keys.partition(1)
    kept = stage.production.client.dump(names.results)
    stage.load()
    stage.production.client.restore(names.results, 0, kept, replace=True)
    stage.production.client.hdel(names.consumers, "sink")
    with stage.sink() as sink:
        wait_until(lambda: sink.ready, what="readiness")
        wait_until(lambda: stage.production.client.xlen(names.results) == 0, what="trimming")
        last_id = stage.production.client.hget(names.offset, "last_id")
        assert stage.production.client.hget(names.consumers, "sink") == last_id
