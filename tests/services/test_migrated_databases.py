"""The fixture with all migrations, as others use it."""

import psycopg
import pytest

from guildstream.migrations import migration_status


@pytest.mark.parametrize("round_number", [1, 2])
def test_every_test_has_a_migrated_database_of_its_own(database_url: str, round_number: int) -> None:
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE left_over ()")
        assert connection.execute("SELECT count(*) FROM guildstream.sink_offsets").fetchone() == (0,)
    assert migration_status(database_url)
