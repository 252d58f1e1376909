"""What PostgreSQL refuses stops as little as possible, and says so."""

from __future__ import annotations

import random
import threading

import psycopg
import pytest

from guildstream.errors import ConfigError
from guildstream.settings import load_settings
from sinks.sink import Sink
from tests.servers import wait_until
from tests.sinks.conftest import PARTITIONS, Stage
from tests.sinks.production import DAY_MS, EPOCH_MS, guild_of, message_commit

DAY = EPOCH_MS // DAY_MS


def test_rows_that_are_refused_twice_stop_their_partition_alone(stage: Stage) -> None:
    dice = random.Random(1)
    with psycopg.connect(stage.database_url) as connection:
        connection.execute("ALTER TABLE guildstream.xp_awards ALTER COLUMN reason TYPE varchar(7)")
    for partition in range(PARTITIONS):
        message_commit(stage.production, partition, 20, dice=dice)
    for partition in (1, 2):
        reason = "message" if partition == 2 else "a long story"
        award = [bytes(16), EPOCH_MS, EPOCH_MS, DAY, guild_of(partition), 7, 8, reason, 1, 5, 1000, 5, 1, None]
        stage.production.commit(partition, [], entries=[{b"x": b""}], positions=1, dropped=[(0, 1)], awards=[award])
    for partition in range(PARTITIONS):
        message_commit(stage.production, partition, 20, dice=dice)
    with stage.sink() as sink:
        wait_until(lambda: stage.loaded() == 3 * 40 + 1 + 20, what="everything but what follows the refused row")
        assert set(sink.stopped.reasons) == {1}
        assert "character varying(7)" in sink.stopped.reasons[1]
        assert not sink.ready


def test_an_older_schema_is_refused_in_words(redis_url: str, empty_database_url: str) -> None:
    settings = load_settings({}, redis_url=redis_url, database_url=empty_database_url, partitions=PARTITIONS)
    with pytest.raises(ConfigError, match="guildstream migrate up"):
        Sink(settings).run(threading.Event())


def test_a_missing_url_is_refused_in_words() -> None:
    with pytest.raises(ConfigError, match="GUILDSTREAM_DATABASE_URL"):
        Sink(load_settings({}, redis_url="redis://127.0.0.1:1"))


def test_other_partition_counts_are_refused_in_words(stage: Stage) -> None:
    settings = load_settings({}, redis_url=stage.redis_url, database_url=stage.database_url, partitions=PARTITIONS + 1)
    with pytest.raises(ConfigError, match="GUILDSTREAM_PARTITIONS=4"):
        Sink(settings).run(threading.Event())


def test_a_sink_whose_partitions_are_all_stopped_rests_and_ends_when_asked(stage: Stage) -> None:
    for partition in range(PARTITIONS):
        message_commit(stage.production, partition, 20, dice=random.Random(1))
    stage.load()
    for partition in range(PARTITIONS):
        stage.production.client.hset(stage.production.keys.partition(partition).offset, "commit", 0)
    with stage.sink() as sink:
        wait_until(lambda: len(sink.stopped.reasons) == PARTITIONS, what="the stops")


def test_the_writer_role_is_enough_to_load(stage: Stage) -> None:
    with psycopg.connect(stage.database_url, autocommit=True) as connection:
        name = connection.info.dbname
        connection.execute(f"CREATE ROLE writer_of_{name} LOGIN PASSWORD 'w' IN ROLE guildstream_writer")
        connection.execute(f"GRANT TEMPORARY ON DATABASE {name} TO writer_of_{name}")
        host, port = connection.info.host, connection.info.port
    message_commit(stage.production, 1, 20, dice=random.Random(1))
    writer = Stage(
        stage.redis_url, f"postgresql://writer_of_{name}:w@{host}:{port}/{name}", stage.production, stage.options
    )
    writer.load()
    assert stage.query("SELECT count(*) FROM guildstream.events") == [(20,)]
