"""The fixtures that all other tests stand on."""

import psycopg
import pytest

from guildstream.connections import connect_redis
from tests.servers import Databases, PrivateServer


@pytest.mark.parametrize("round_number", [1, 2])
def test_redis_is_empty_at_the_start_of_every_test(redis_url: str, round_number: int) -> None:
    with connect_redis(redis_url) as client:
        assert client.dbsize() == 0
        client.set("left", round_number)


@pytest.mark.parametrize("round_number", [1, 2])
def test_every_test_has_a_database_of_its_own(empty_database_url: str, round_number: int) -> None:
    with psycopg.connect(empty_database_url) as connection:
        connection.execute("CREATE TABLE left_over ()")


def test_a_database_is_dropped_while_somebody_is_still_connected(databases: Databases) -> None:
    with databases.empty() as dsn:
        forgotten = psycopg.connect(dsn)
    with pytest.raises(psycopg.errors.AdminShutdown):
        forgotten.execute("SELECT 1")
    forgotten.close()


def test_a_killed_redis_comes_back_at_the_same_url_with_its_data(redis_server: PrivateServer) -> None:
    with connect_redis(redis_server.url) as client:
        client.set("kept", "yes")
        redis_server.kill()
        redis_server.start()
        assert client.get("kept") == b"yes"


def test_a_killed_postgres_comes_back_at_the_same_url_with_its_data(postgres_server: PrivateServer) -> None:
    with psycopg.connect(postgres_server.url, autocommit=True) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS number")
        postgres_server.kill()
    postgres_server.start()
    with psycopg.connect(postgres_server.url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (1,)
