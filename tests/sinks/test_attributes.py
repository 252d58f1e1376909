"""Names and the like: the newest by event time wins, whatever the batches."""

# Statements are put together from names in this file only.
# ruff: noqa: S608

from __future__ import annotations

import itertools
from datetime import UTC, datetime
from typing import Any

import msgspec
import psycopg
import pytest

from sinks.attributes import Attributes
from sinks.stored_events import StoredEvent
from tests.sinks.conftest import Stage
from tests.sinks.production import EPOCH_MS, guild_of

GUILD = guild_of(1)
TABLES = ("guilds", "channels", "roles", "users", "members")


def event(type_name: str, minute: int, data: dict[str, Any] | None = None, **values: Any) -> StoredEvent:
    return StoredEvent(
        type=type_name,
        ts=EPOCH_MS + minute * 60_000,
        session="s",
        seq=minute,
        guild_id=GUILD,
        data=msgspec.Raw(msgspec.json.encode(data or {})),
        **values,
    )


def at(minute: int) -> datetime:
    return datetime.fromtimestamp(EPOCH_MS / 1000 + minute * 60, UTC)


EVENTS = [
    event("guild_update", 1, {"name": "Old", "owner_id": "77", "member_count": 5}),
    event("guild_update", 3, {"name": "New", "channels": [{"channel_id": 5, "name": "talk", "kind": 2}]}),
    event("channel_update", 4, {"name": "talks", "parent": 9}, channel_id=5),
    event("channel_delete", 6, {}, channel_id="5"),
    event("role_update", 2, {"role_id": 40, "name": "Mod", "position": 3}),
    event("role_delete", 7, {"role_id": 40}),
]
MEMBERS = [
    event("member_join", 1, {"username": "ada", "roles": ["1", 2]}, user_id=8),
    event("member_update", 3, {"nick": "Ada", "display_name": "Ada L", "bot": False}, user_id=8),
    event("member_leave", 5, user_id=8),
    event("member_update", 2, {"nick": "older", "joined_at": "2025-01-02T03:04:05+00:00"}, user_id=8),
]


def written(dsn: str, batches: list[list[StoredEvent]]) -> dict[str, list[tuple[Any, ...]]]:
    """All attribute tables after these batches, which are rolled back."""
    with psycopg.connect(dsn) as connection:
        for batch in batches:
            attributes = Attributes()
            attributes.add_all(batch)
            attributes.write(connection)
        found = {
            name: connection.execute(f"SELECT * FROM guildstream.{name} ORDER BY 1, 2").fetchall() for name in TABLES
        }
        connection.rollback()
    return found


@pytest.mark.parametrize("events", [EVENTS, MEMBERS])
def test_any_batches_end_the_same(database_url: str, events: list[StoredEvent]) -> None:
    events = sorted(events, key=lambda event: event.ts)
    expected = written(database_url, [events])
    for cut in range(len(events)):
        assert written(database_url, [events[:cut], events[cut:]]) == expected
    assert written(database_url, [[single] for single in events]) == expected


def test_two_events_end_the_same_in_either_order(database_url: str) -> None:
    for first, second in itertools.combinations([*EVENTS, *MEMBERS], 2):
        expected = written(database_url, [[first, second]])
        assert written(database_url, [[second, first]]) == expected
        assert written(database_url, [[second], [first]]) == expected


def test_the_newest_wins_column_by_column(database_url: str) -> None:
    found = written(database_url, [EVENTS, MEMBERS])
    assert found["guilds"] == [(GUILD, "New", 77, None, 5, None, at(3))]
    assert found["channels"] == [(GUILD, 5, "talks", "2", 9, None, at(6), at(6))]
    assert found["roles"] == [(GUILD, 40, "Mod", 3, at(7), at(7))]
    assert found["users"] == [(8, "ada", "Ada L", False, at(5))]
    assert found["members"] == [(GUILD, 8, "Ada", [1, 2], at(1), at(5), at(5))]


def test_a_join_after_a_leave_brings_the_member_back(database_url: str) -> None:
    found = written(database_url, [[*MEMBERS, event("member_join", 9, user_id=8)]])
    assert found["members"] == [(GUILD, 8, "Ada", [1, 2], at(9), None, at(9))]


def test_a_removed_guild_is_marked_until_it_is_seen_again(database_url: str) -> None:
    removed = event("guild_remove", 8)
    assert written(database_url, [EVENTS, [removed]])["guilds"][0][5] == at(8)
    assert written(database_url, [EVENTS, [removed], [event("guild_update", 9)]])["guilds"][0][5] is None


def test_nonsense_changes_nothing(database_url: str) -> None:
    odd = [
        event("channel_update", 1, {"name": "no id"}),
        event("member_update", 1, {"nick": "nobody"}),
        event("member_update", 1, {"joined_at": "yesterday"}, user_id=3),
        event("role_update", 1, {"role_id": 1, "name": "a\0b", "position": 2**40}),
        StoredEvent(type="guild_update", ts=EPOCH_MS, session="s", guild_id=GUILD, data=msgspec.Raw(b"[1]")),
    ]
    found = written(database_url, [odd])
    assert found["channels"] == []
    assert found["roles"] == [(GUILD, 1, "a\ufffdb", None, None, at(1))]
    assert found["members"][0][4] is None


def test_deleting_a_guild_deletes_what_belongs_to_it(stage: Stage) -> None:
    raw = {"v": 1, "ts": EPOCH_MS, "guild_id": GUILD, "session": "s"}
    stage.production.commit(
        1,
        [
            {**raw, "type": "member_join", "seq": 1, "user_id": 8, "data": {"username": "ada"}},
            {**raw, "type": "channel_update", "seq": 2, "channel_id": 5, "data": {"name": "talk"}},
        ],
    )
    stage.load()
    assert stage.query("SELECT name, updated_at < '2000-01-01' FROM guildstream.guilds") == [(None, True)]
    with psycopg.connect(stage.database_url) as connection:
        connection.execute("DELETE FROM guildstream.guilds")
    assert stage.query("SELECT count(*) FROM guildstream.members") == [(0,)]
    assert stage.query("SELECT count(*) FROM guildstream.channels") == [(0,)]
