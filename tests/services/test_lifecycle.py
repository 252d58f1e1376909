"""Starting, finding, stopping and removing a pair of servers."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from guildstream.connections import connect_redis
from guildstream.errors import ConfigError
from guildstream.services import ServiceUrls, find_services, remove_services, start_services, stop_services
from guildstream.services.placement import services_dir

T = TypeVar("T")


def write_mark(urls: ServiceUrls, mark: str) -> None:
    with connect_redis(urls.redis) as client, psycopg.connect(urls.database) as connection:
        client.set("mark", mark)
        connection.execute("CREATE TABLE IF NOT EXISTS marks (mark text)")
        connection.execute("INSERT INTO marks VALUES (%s)", [mark])


def read_marks(urls: ServiceUrls) -> tuple[str, list[str]]:
    with connect_redis(urls.redis) as client, psycopg.connect(urls.database) as connection:
        rows = connection.execute("SELECT mark FROM marks").fetchall()
        return client.get("mark").decode(), [mark for (mark,) in rows]


def test_one_pair_from_its_first_start_to_its_removal(data_dir: Path) -> None:
    assert find_services(data_dir) is None
    urls = start_services(data_dir)
    assert start_services(data_dir) == find_services(data_dir) == urls
    write_mark(urls, "first")

    stop_services(data_dir)
    assert find_services(data_dir) is None
    stop_services(data_dir)

    assert start_services(data_dir) == urls, "ports and passwords stay over a restart"
    assert read_marks(urls) == ("first", ["first"])

    (data_dir / "notes.txt").write_text("not ours")
    remove_services(data_dir)
    remove_services(data_dir)
    assert [path.name for path in data_dir.iterdir()] == ["notes.txt"]


def test_durability_and_access_are_as_promised(data_dir: Path) -> None:
    urls = start_services(data_dir)
    wanted = {
        "appendonly": "yes",
        "appendfsync": "always",
        "aof-load-truncated": "yes",
        "save": "",
        "maxmemory-policy": "noeviction",
        "bind": "127.0.0.1",
    }
    with redis.Redis.from_url(urls.redis, decode_responses=True) as client:
        settings = client.config_get("*")
    assert {name: settings[name] for name in wanted} == wanted

    wanted = {
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "data_checksums": "on",
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "password_encryption": "scram-sha-256",
        "server_encoding": "UTF8",
        "lc_messages": "C",
        "jit": "off",
        "TimeZone": "UTC",
    }
    with psycopg.connect(urls.database) as connection:
        rows = connection.execute("SELECT name, setting FROM pg_settings WHERE name = ANY (%s)", [list(wanted)])
        assert dict(rows.fetchall()) == wanted
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb, pg_encoding_to_char(encoding), datcollate, pg_get_userbyid(datdba)"
            " FROM pg_roles, pg_database WHERE rolname = current_user AND datname = current_database()"
        ).fetchone()
    assert row == (False, True, "UTF8", "C", "guildstream")


def test_nobody_comes_in_without_the_password(data_dir: Path) -> None:
    urls = start_services(data_dir)
    address = urlsplit(urls.database)
    for user in ("guildstream", "postgres"):
        for password in ("", "wrong"):
            with pytest.raises(psycopg.OperationalError, match="password"):
                psycopg.connect(f"postgresql://{user}:{password}@127.0.0.1:{address.port}/guildstream")
    with socket.create_connection(("127.0.0.1", urlsplit(urls.redis).port)) as connection:
        connection.sendall(b"PING\r\n")
        assert connection.recv(100).startswith(b"-NOAUTH")
    for path in services_dir(data_dir).rglob("*"):
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.name not in {"postgres.conf", "postgres_hba.conf"} and path.suffix != ".log":
            assert not mode & 0o077, f"{path} is open to others"


@pytest.mark.parametrize(
    "name",
    ["spaces, quotes ' and \" and \\, Straße/日本", "/".join(["very-long-" + "x" * 60] * 5)],
    ids=["strange", "long"],
)
def test_any_path_will_do(data_dir: Path, name: str) -> None:
    directory = data_dir / name
    try:
        write_mark(start_services(directory, durable=False), "there")
        stop_services(directory)
        assert read_marks(start_services(directory, durable=False)) == ("there", ["there"])
    finally:
        remove_services(directory)


def test_the_environment_of_the_caller_does_not_reach_the_servers(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {
        "PGDATA": "/nowhere",
        "PGPORT": "1",
        "PGUSER": "x",
        "LC_ALL": "xx_XX",
        "TZ": "Asia/Tokyo",
    }.items():
        monkeypatch.setenv(name, value)
    urls = start_services(data_dir, durable=False)
    write_mark(urls, "there")


def test_racing_starts_give_the_same_servers(data_dir: Path) -> None:
    program = "import sys; from pathlib import Path; from guildstream.services import start_services; "
    program += "print(start_services(Path(sys.argv[1]), durable=False))"
    command = [sys.executable, "-c", program, str(data_dir)]
    racers = [subprocess.Popen(command, stdout=subprocess.PIPE) for _ in range(4)]
    said = {racer.communicate(timeout=60)[0] for racer in racers}
    assert [racer.returncode for racer in racers] == [0] * 4
    assert said == {f"{find_services(data_dir)}\n".encode()}


def test_a_port_taken_by_somebody_else_is_chosen_again(data_dir: Path) -> None:
    urls = start_services(data_dir)
    write_mark(urls, "kept")
    stop_services(data_dir)
    taken = urlsplit(urls.redis).port, urlsplit(urls.database).port
    squatters = [socket.create_server(("127.0.0.1", port)) for port in taken]
    try:
        moved = start_services(data_dir)
        assert not {urlsplit(moved.redis).port, urlsplit(moved.database).port} & set(taken)
        assert read_marks(moved) == ("kept", ["kept"])
    finally:
        for squatter in squatters:
            squatter.close()


def test_a_server_that_was_lost_is_started_beside_the_other(data_dir: Path) -> None:
    urls = start_services(data_dir, durable=False)
    with connect_redis(urls.redis) as client:
        client.shutdown(nosave=True)
    with psycopg.connect(urls.database) as connection:
        assert start_services(data_dir, durable=False) == urls
        assert connection.execute("SELECT 1").fetchone() == (1,), "PostgreSQL was left alone"


def test_a_server_that_does_not_start_is_explained_and_its_partner_stopped(data_dir: Path) -> None:
    start_services(data_dir)
    stop_services(data_dir)
    version = services_dir(data_dir) / "postgres" / "PG_VERSION"
    version.write_text("9\n")
    with pytest.raises(ConfigError, match=r"(?s)postgres ended at its start: .*version 9.*postgres\.log"):
        start_services(data_dir)
    assert not list_processes(data_dir)
    version.write_text("18\n")


def test_passwords_that_are_gone_are_missed(data_dir: Path) -> None:
    start_services(data_dir, durable=False)
    stop_services(data_dir)
    passwords = services_dir(data_dir) / "passwords.json"
    kept = passwords.read_bytes()
    passwords.unlink()
    with pytest.raises(ConfigError, match=r"passwords\.json.* missing"):
        start_services(data_dir)
    passwords.write_bytes(kept)
    passwords.chmod(0o600)


def test_a_path_that_no_configuration_file_can_hold_is_refused(data_dir: Path) -> None:
    with pytest.raises(ConfigError, match="line break"):
        start_services(data_dir / "two\nlines")
    assert not data_dir.exists()


def test_a_file_in_the_way_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    with pytest.raises(ConfigError, match="data"):
        start_services(tmp_path / "data")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_somebody_elses_directory_is_refused(data_dir: Path) -> None:
    data_dir.mkdir()
    os.chown(data_dir, 65534, 65534)
    with pytest.raises(ConfigError, match="belongs to nobody: run as that user"):
        start_services(data_dir)
    assert not list(data_dir.iterdir())


def list_processes(directory: Path) -> list[int]:
    """Every process that works below a directory; for tests on Linux."""
    return [
        int(process.name)
        for process in Path("/proc").iterdir()
        if process.name.isdigit() and _works_below(process, directory.resolve())
    ]


def look_at_processes(directory: Path, look: Callable[[int], T]) -> set[T]:
    """What ``look`` says of every process below a directory; those that end meanwhile are left out."""
    found = set()
    for pid in list_processes(directory):
        with suppress(OSError):
            found.add(look(pid))
    return found


def _works_below(process: Path, directory: Path) -> bool:
    try:
        return (process / "cwd").readlink().is_relative_to(directory)
    except OSError:
        return False
