"""The same tests on another Redis: ``TRANSPORT_REDIS_URL=redis://127.0.0.1:7000 pytest tests/transport``.

That Redis is emptied.
"""

from __future__ import annotations

import os

import pytest

from guildstream.connections import connect_redis


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The named server if there is one, else the session's own; emptied for this test."""
    url = os.environ.get("TRANSPORT_REDIS_URL")
    if url is None:
        servers = request.getfixturevalue("servers")
        url = str(servers.redis)
    with connect_redis(url, name="tests") as client:
        client.flushall()
        client.script_flush()
    return url
