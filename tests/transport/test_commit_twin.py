"""The commit script on fakeredis: a quick twin of what ``test_commit.py`` shows on real servers.

fakeredis runs Lua through ``lupa``. It stands in for semantics of single commands only: no memory limit, no
script cache that is flushed, no connection that breaks. What needs those runs on real servers alone.
"""

from __future__ import annotations

from typing import Any

import pytest
from redis.exceptions import ResponseError

from processors.transport.scripts import COMMIT
from tests.transport.test_commit import GOOD, TAG, operation, request

pytest.importorskip("lupa", reason="fakeredis needs lupa to run Lua")
fakeredis = pytest.importorskip("fakeredis")


def apply(client: Any, *operations: Any, **more: Any) -> Any:
    command = request(*operations, **more).command()
    return client.eval(COMMIT.source, *command[2:])


@pytest.fixture
def client() -> Any:
    client = fakeredis.FakeRedis(version=(6, 2))
    client.hset(f"{TAG}:owner", mapping={"owner": "me", "epoch": 1})
    client.set(f"{TAG}:string", "not a hash")
    return client


def test_it_writes_everything(client: Any) -> None:
    apply(client, *GOOD)
    apply(client, *GOOD, operation("HDEL", "state:a", "key"), follows=1)
    assert client.hgetall(f"{TAG}:state:a") == {}
    assert client.hget(f"{TAG}:counters", "seen") == b"6"
    assert client.hget(f"{TAG}:offset", "commit") == b"2"
    assert client.xlen(f"{TAG}:results") == 2


@pytest.mark.parametrize(
    ("operations", "more"),
    [
        (GOOD, {"owner": b"other"}),
        (GOOD, {"epoch": 2}),
        (GOOD, {"follows": 1}),
        ([*GOOD, operation("HSET", "string", "f", "v")], {}),
        ([*GOOD, operation("EXPECT", "results", "1-1")], {}),
        ([*GOOD, operation("FLUSHALL", "board")], {}),
    ],
)
def test_what_is_refused_writes_nothing(client: Any, operations: list[Any], more: dict[str, Any]) -> None:
    before = sorted(client.keys())
    with pytest.raises(ResponseError):
        apply(client, *operations, **more)
    assert sorted(client.keys()) == before
