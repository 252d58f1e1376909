"""The Redis that these tests run on.

Those of the modules below run on the embedded server, on a three-master Cluster, and on a newer Redis or a Valkey
where the machine has one. ``TRANSPORT_REDIS_URL=redis://127.0.0.1:7000 pytest tests/transport`` names another server
instead of all these; it is emptied.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from guildstream.connections import connect_redis
from tests.transport.cluster import Cluster, CuttingProxies, free_port, running_cluster
from tests.transport.proxy import CuttingProxy
from tests.transport.redis_process import newer_program, redis_processes

EVERYWHERE = {"test_commit", "test_ownership", "test_damage", "test_plain_agents"}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    named = metafunc.module.__name__.rpartition(".")[2]
    if named in EVERYWHERE and "redis_kind" in metafunc.fixturenames and "TRANSPORT_REDIS_URL" not in os.environ:
        metafunc.parametrize("redis_kind", ["embedded", "cluster", "newer"], indirect=True)


@pytest.fixture
def redis_kind(request: pytest.FixtureRequest) -> str:
    """Which of the three."""
    return str(getattr(request, "param", "embedded"))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A Cluster for tests that leave it whole, with a proxy before each master."""
    with running_cluster(proxied=True) as found:
        yield found


@pytest.fixture(scope="session")
def newer_redis_url() -> Iterator[str]:
    """Redis 7 or later, or a Valkey, of this machine."""
    program = newer_program()
    if program is None:
        pytest.skip("this machine has no redis-server of version 7 or later, and no valkey-server, on its PATH")
    port = free_port()
    url = f"redis://127.0.0.1:{port}/0"
    with redis_processes() as processes:
        processes.start(url, f"port {port}", "bind 127.0.0.1", program=program)
        yield url


@pytest.fixture
def redis_url(request: pytest.FixtureRequest, redis_kind: str) -> str:
    """A server of that kind, emptied for this test."""
    if "TRANSPORT_REDIS_URL" in os.environ:
        url = os.environ["TRANSPORT_REDIS_URL"]
    elif redis_kind == "cluster":
        url = request.getfixturevalue("cluster").url
    else:
        url = request.getfixturevalue("newer_redis_url") if redis_kind == "newer" else _embedded(request)
    with connect_redis(url, name="tests") as client:
        client.flushall()
        client.script_flush()
    return url


def _embedded(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue("servers").redis)


@pytest.fixture
def proxy(request: pytest.FixtureRequest, redis_url: str) -> Iterator[CuttingProxy | CuttingProxies]:
    """What cuts connections to that server."""
    if redis_url.startswith("redis+cluster"):
        proxies = CuttingProxies(request.getfixturevalue("cluster"))
        yield proxies
        proxies.spare()
    else:
        with CuttingProxy(redis_url) as found:
            yield found
