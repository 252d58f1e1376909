"""Ways to reach Redis: unix socket, password, ACL user, TLS with an own authority, Sentinels."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from guildstream.cluster import ClusterRedis
from guildstream.connections import connect_redis, connect_redis_async, fails_over
from guildstream.errors import ConfigError
from tests.servers import wait_until
from tests.transport.apps import started, until
from tests.transport.cluster import free_port
from tests.transport.counting import create_app
from tests.transport.redis_process import RedisProcesses, newer_program, redis_processes
from tests.transport.test_cluster_chaos import PATIENCE_SECONDS, Witness, caught_up, finish, seen
from tests.transport.workers import Load, committed, running

QUICK = {"lease_seconds": 1, "commit_interval_seconds": 0.02, "trim_seconds": 0.2}
TRANSPORT_DOC = Path(__file__).parents[2] / "docs" / "transport.md"


@pytest.fixture
def processes() -> Iterator[RedisProcesses]:
    with redis_processes() as found:
        yield found


async def works(url: str, *, admin_url: str | None = None) -> None:
    """A worker does its work over this URL."""
    client = connect_redis(admin_url or url)
    load = Load(client, seed=30)
    app = create_app(url, **QUICK)
    async with started(app):
        load.publish(500)
        await until(lambda: committed(client) == load.total, what="the commit of all")
        assert not app.crashed
        assert app.consumer.healthy
    client.close()


async def test_a_unix_socket(processes: RedisProcesses) -> None:
    path = processes.directory / "redis.sock"
    url = f"unix://{path}"
    processes.start(url, "port 0", f"unixsocket {path}", "unixsocketperm 700")
    await works(url)


async def test_a_password_with_signs_in_it(processes: RedisProcesses) -> None:
    port = free_port()
    url = f"redis://:p%40ss%2Fword@127.0.0.1:{port}/3"
    processes.start(url, f"port {port}", "bind 127.0.0.1", "requirepass p@ss/word")
    await works(url)
    with connect_redis(url) as client:
        assert client.exists("{ct:0}:offset")


async def test_a_user_that_may_do_what_the_documentation_says(processes: RedisProcesses) -> None:
    """The rule in docs/transport.md is enough for a worker, and for the scripts that it runs."""
    rule = re.search(r"ACL SETUSER (\S+) (.*)", TRANSPORT_DOC.read_text())
    assert rule is not None
    words = rule[2].replace("<password>", "secret").replace("<prefix>", "ct").split()
    port = free_port()
    admin = f"redis://127.0.0.1:{port}/0"
    processes.start(admin, f"port {port}", "bind 127.0.0.1")
    with connect_redis(admin) as client:
        client.execute_command("ACL", "SETUSER", rule[1], *words)
        await works(f"redis://{rule[1]}:secret@127.0.0.1:{port}/0", admin_url=admin)
        denied = [entry for entry in client.acl_log() if entry["username"] == rule[1] and entry["object"] != "client"]
    # The client's library says what it is, which an older server neither knows nor allows.
    assert [entry["object"] for entry in denied if "setinfo" not in str(entry)] == []


async def test_tls_with_an_authority_of_our_own(processes: RedisProcesses) -> None:
    program, openssl = newer_program(), shutil.which("openssl")
    if program is None or openssl is None or not has_tls(program):
        pytest.skip("needs a redis-server with TLS, which the embedded one has not, and openssl to make certificates")
    authority, key, certificate = make_certificates(processes.directory, openssl)
    port = free_port()
    query = f"ssl_ca_certs={authority}"
    url = f"rediss://:secret@localhost:{port}/0?{query}"
    lines = [f"tls-cert-file {certificate}", f"tls-key-file {key}", f"tls-ca-cert-file {authority}"]
    processes.start(
        url,
        f"tls-port {port}",
        "port 0",
        "bind 127.0.0.1",
        "requirepass secret",
        "tls-auth-clients no",
        *lines,
        program=program,
    )
    with connect_redis(url) as client:
        load = Load(client, seed=31)
        app = create_app(f"rediss://:secret@localhost:{port}/0", ssl_ca_certs=authority, **QUICK)
        async with started(app):
            load.publish(500)
            await until(lambda: committed(client) == load.total, what="the commit of all")
    with connect_redis(f"rediss://:secret@localhost:{port}/0") as stranger, pytest.raises(redis.ConnectionError):
        stranger.ping()


def has_tls(program: Path) -> bool:
    """Whether the server was built with TLS: it then minds that it has no certificate."""
    said = subprocess.run([program, "--port", "0", "--tls-port", "1"], capture_output=True, text=True, check=False)
    return "Bad directive" not in said.stdout + said.stderr


def make_certificates(directory: Path, openssl: str) -> tuple[Path, Path, Path]:
    """An authority, and a key and certificate for localhost that it has signed."""

    def run(*words: object) -> None:
        subprocess.run([openssl, *map(str, words)], check=True, capture_output=True)

    authority, key, certificate = directory / "ca.pem", directory / "key.pem", directory / "certificate.pem"
    signing, wish, extensions = directory / "ca-key.pem", directory / "wish.pem", directory / "extensions"
    extensions.write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
    new = ("req", "-newkey", "rsa:2048", "-nodes")
    run(*new, "-x509", "-days", 2, "-subj", "/CN=An authority", "-keyout", signing, "-out", authority)
    run(*new, "-subj", "/CN=localhost", "-keyout", key, "-out", wish)
    signed = ("-CA", authority, "-CAkey", signing, "-CAcreateserial", "-extfile", extensions)
    run("x509", "-req", "-days", 2, "-in", wish, *signed, "-out", certificate)
    return authority, key, certificate


def test_sentinels_name_the_master_and_its_successor(processes: RedisProcesses, tmp_path: Path) -> None:
    ports = [free_port()]
    first = processes.start(f"redis://127.0.0.1:{ports[0]}", f"port {ports[0]}", "appendonly yes")
    ports.append(free_port())
    lines = (f"replicaof 127.0.0.1 {ports[0]}", "appendonly yes", "repl-diskless-sync-delay 0")
    second = processes.start(f"redis://127.0.0.1:{ports[1]}", f"port {ports[1]}", *lines)
    with connect_redis(second.url) as replica:
        wait_until(lambda: replica.info("replication")["master_link_status"] == "up", what="a replica in step")
    guard = free_port()
    watching = ("port " + str(guard), f"sentinel monitor shop 127.0.0.1 {ports[0]} 1")
    timing = ("sentinel down-after-milliseconds shop 1000", "sentinel failover-timeout shop 5000")
    sentinel = processes.start(f"redis://127.0.0.1:{guard}", *watching, *timing, arguments=("--sentinel",))
    with connect_redis(sentinel.url) as asked:
        wait_until(
            lambda: asked.execute_command("SENTINEL", "REPLICAS", "shop"), deadline_seconds=60, what="a known replica"
        )
    url = f"redis+sentinel://127.0.0.1:{guard}/shop/0"
    client = connect_redis(url)
    load = Witness(connect_redis(url), seed=32)
    with running(url, tmp_path, lease_seconds=1, trim_seconds=0.5) as workers:
        workers.start()
        workers.start()
        load.publish(1_000)
        caught_up(client, load)
        with load.running():
            first.kill()
            before = load.total
            wait_until(lambda: seen(client) > before, deadline_seconds=PATIENCE_SECONDS, what="work after the failover")
        finish(load, client, workers, echoes=False)
        assert client.info("server")["tcp_port"] == ports[1]
    client.close()


def test_what_a_url_can_not_mean_is_refused() -> None:
    for url, words in [
        ("http://localhost", "expected redis://"),
        ("redis+cluster://", "names no host"),
        ("redis+cluster://localhost:7000/4", "only database 0"),
        ("redis+cluster://localhost:port", "can't be used"),
        ("redis+sentinel://localhost:26379", "service"),
        ("redis+sentinel://localhost:26379/shop/many", "service"),
    ]:
        with pytest.raises(ConfigError, match=words):
            connect_redis(url)
    with pytest.raises(ConfigError, match="redis\\+cluster"):
        create_app("redis://localhost:1;localhost:2/0").transport  # noqa: B018 - made when it is asked for


def test_who_may_fail_over() -> None:
    assert not fails_over("redis://localhost")
    assert not fails_over("unix:///run/redis.sock")
    assert fails_over("redis+cluster://localhost:7000")
    assert fails_over("rediss+sentinel://localhost/shop")


async def test_a_server_that_is_no_cluster_says_so(redis_url: str) -> None:
    if redis_url.startswith("redis+"):
        pytest.skip("this one is a Cluster")
    url = redis_url.replace("redis://", "redis+cluster://")
    with connect_redis(url) as client, pytest.raises(ConfigError, match="use redis:// for a single server"):
        client.ping()
    assert isinstance(client, ClusterRedis)
    asking = connect_redis_async(url)
    with pytest.raises(ConfigError, match="use redis:// for a single server"):
        await asking.get("key")
    await asking.aclose()
