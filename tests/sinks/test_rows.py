"""What is packed by hand is what PostgreSQL reads."""

# Statements are put together from names in this file only.
# ruff: noqa: S608

from __future__ import annotations

import json
import uuid
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildstream.event_ids import event_uuid
from guildstream.measures import MEASURES
from sinks.event_rows import EventRows, clean_json
from sinks.loader import Loader
from sinks.offsets import stream_id
from sinks.rows import COPY_HEADER, COPY_TRAILER, POSTGRES_EPOCH_MS, activity_row, award_row, clean_text, totals_row
from sinks.stored_events import StoredEvent
from sql import QueryName, query

IDS = st.integers(0, 2**63 - 1)
TIMES = st.integers(POSTGRES_EPOCH_MS, 4_102_444_800_000)
TIME_PAIRS = st.tuples(st.none() | TIMES, st.none() | TIMES)
DAYS = st.integers(10_000, 40_000)
VALUES = st.integers(-(2**63), 2**63 - 1)
MEASURE_LISTS = st.one_of(
    st.lists(VALUES, min_size=len(MEASURES), max_size=len(MEASURES)),
    st.tuples(VALUES, VALUES, VALUES, VALUES).map(lambda found: [*found[:3], *[0] * 19, found[3]]),
)
SETTINGS = settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)


def copied(dsn: str, name: QueryName, rows: list[bytes], read: str) -> list[tuple[Any, ...]]:
    """The rows as PostgreSQL has them after the COPY, which is rolled back."""
    with psycopg.connect(dsn) as connection:
        connection.execute(query("staging_create"))
        with connection.cursor().copy(query(name)) as copy:
            copy.write(b"".join((COPY_HEADER, *rows, COPY_TRAILER)))
        found = connection.execute(read).fetchall()
        connection.rollback()
    return found


def at(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC).replace(microsecond=ms % 1000 * 1000)


@SETTINGS
@given(st.lists(st.tuples(TIMES, DAYS, IDS, IDS, IDS, st.booleans(), MEASURE_LISTS), min_size=1, max_size=5))
def test_panes(database_url: str, rows: list[Any]) -> None:
    read = (
        "SELECT (extract(epoch FROM bucket) * 1000)::bigint, local_day - '1970-01-01', guild_id, channel_id, user_id, "
        f"bot, ARRAY[{', '.join(MEASURES)}] FROM guildstream.activity_delta ORDER BY ctid"
    )
    assert copied(database_url, "copy_delta", [activity_row(row) for row in rows], read) == rows


@SETTINGS
@given(st.tuples(IDS, IDS, st.booleans()), st.lists(VALUES, min_size=5, max_size=5), TIME_PAIRS)
def test_totals(
    database_url: str, key: tuple[Any, ...], values: list[int], ends: tuple[int | None, int | None]
) -> None:
    row = totals_row([*key, *values, *ends])
    found = copied(database_url, "stage_totals", [row], "SELECT * FROM staged_totals")
    times = [None if time is None else at(time) for time in ends]
    assert found == [(*key, *values, *times)]


@SETTINGS
@given(st.integers(-(10**12), 10**12), st.none() | st.binary(min_size=16, max_size=16), st.text(max_size=20))
def test_awards(database_url: str, thousandths: int, event_id: bytes | None, reason: str) -> None:
    time_ms = 1_700_000_000_123
    row = [bytes(16), time_ms, time_ms, 19_000, 1, 2, 3, reason, 4, 5, thousandths, 6, 7, event_id]
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SELECT guildstream.make_partitions('xp_awards', 'day', ARRAY['2023-11-14'::date])")
    read = "SELECT awarded_at, multiplier, event_id, reason FROM guildstream.xp_awards"
    assert copied(database_url, "copy_awards", [award_row(row)], read) == [
        (
            at(time_ms),
            Decimal(thousandths) / 1000,
            None if event_id is None else uuid.UUID(bytes=event_id),
            clean_text(reason),
        )
    ]


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=30))
def test_clean_text_is_storable_and_changes_nothing_else(text: str) -> None:
    cleaned = clean_text(text)
    assert "\0" not in cleaned
    assert cleaned.encode().decode() == cleaned
    assert len(cleaned) <= len(text)
    if "\0" not in text and not any(0xD800 <= ord(letter) <= 0xDFFF for letter in text):
        assert cleaned == text


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@SETTINGS
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_clean_json_is_what_jsonb_takes(database_url: str, data: bytes) -> None:
    cleaned = clean_json(data)
    with psycopg.connect(database_url) as connection:
        connection.execute("SELECT %s::jsonb", (cleaned.decode(),))
    assert clean_json(cleaned) == cleaned


@given(st.text(min_size=1, max_size=10), st.integers(0, 2**63 - 1), st.integers(0, 2**31 - 1))
def test_event_ids_are_those_of_the_contract(session: str, seq: int, part: int) -> None:
    rows = EventRows(careful=False)
    event = StoredEvent(type="message_create", ts=1_700_000_000_000, session=session, seq=seq, part=part, guild_id=5)
    rows.add(1, 0, [event], suspicious=False)
    assert event_uuid(session, seq, part) in rows.rows[0]


@given(st.tuples(IDS, IDS), st.tuples(IDS, IDS))
def test_stream_ids_compare_in_stream_order(first: tuple[int, int], second: tuple[int, int]) -> None:
    assert (stream_id(f"{first[0]}-{first[1]}") < stream_id(f"{second[0]}-{second[1]}")) == (first < second)


def test_a_loader_may_be_made_twice_on_a_connection(database_url: str) -> None:
    from guildstream.deployment import Deployment
    from sinks.offsets import OffsetTable

    with psycopg.connect(database_url, autocommit=True) as connection:
        for _ in range(2):
            Loader(connection, OffsetTable(Deployment("d", 0, 4, 0)))
