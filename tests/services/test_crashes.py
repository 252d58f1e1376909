"""What is left when processes are killed, and what comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from guildstream.connections import connect_redis
from guildstream.services import find_services, start_services, stop_services
from guildstream.services.identity import server_user
from guildstream.services.placement import find_place, services_dir
from tests.servers import wait_until
from tests.services.test_lifecycle import list_processes, look_at_processes, read_marks, write_mark

HOLD = """
import sys
from pathlib import Path
from guildstream.services import start_services
start_services(Path(sys.argv[1]), tied=sys.argv[2] == "tied", durable=False)
print("started", flush=True)
sys.stdin.read()
"""


@contextmanager
def starter(data_dir: Path, how: str) -> Iterator[subprocess.Popen[bytes]]:
    """A process that has started servers and waits, in a process group of its own as in a terminal."""
    command = [sys.executable, "-c", HOLD, str(data_dir), how]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, process_group=0, **pipes) as process:
        try:
            assert process.stdout.readline() == b"started\n"
            yield process
        finally:
            process.kill()


def kill_servers(data_dir: Path) -> None:
    for pid in list_processes(data_dir):
        with suppress(ProcessLookupError):  # a child of PostgreSQL's may end by itself
            os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not list_processes(data_dir), what="the end of the servers")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_tied_servers_stop_cleanly_with_the_process_that_started_them(data_dir: Path, number: signal.Signals) -> None:
    with starter(data_dir, "tied") as process:
        assert len(list_processes(data_dir)) >= 2
        os.killpg(process.pid, number)
        wait_until(lambda: not list_processes(data_dir), deadline_seconds=30, what="the servers' stop")
    log = (services_dir(data_dir) / "logs" / "postgres.log").read_text()
    assert "database system is shut down" in log
    assert not (services_dir(data_dir) / "postgres" / "postmaster.pid").exists()
    assert (services_dir(data_dir) / "logs" / "guardian.log").read_text() == ""


def test_servers_that_are_not_tied_outlive_a_kill_and_are_found(data_dir: Path) -> None:
    with starter(data_dir, "free") as process:
        os.killpg(process.pid, signal.SIGKILL)
    urls = find_services(data_dir)
    assert urls is not None
    assert start_services(data_dir) == urls


def test_a_guardian_leaves_later_runs_alone(data_dir: Path) -> None:
    with starter(data_dir, "tied") as process:
        guardian = only_child(process.pid)
        stop_services(data_dir)
        urls = start_services(data_dir, durable=False)
        process.kill()
        wait_until(lambda: not Path(f"/proc/{guardian}/cwd").is_dir(), what="the guardian's end")
        assert find_services(data_dir) == urls


def test_interrupting_the_terminal_does_not_reach_servers_or_guardian(data_dir: Path) -> None:
    with starter(data_dir, "tied") as process:
        sessions = look_at_processes(data_dir, os.getsid) | {os.getsid(only_child(process.pid))}
        assert os.getsid(process.pid) not in sessions


def test_killing_everything_loses_nothing_that_was_acknowledged(data_dir: Path) -> None:
    urls = start_services(data_dir)
    write_mark(urls, "acknowledged")
    kill_servers(data_dir)
    assert find_services(data_dir) is None
    again = start_services(data_dir)
    assert again == urls
    assert read_marks(again) == ("acknowledged", ["acknowledged"])


def test_a_stale_process_id_that_is_in_use_again_does_not_stop_a_start(data_dir: Path) -> None:
    urls = start_services(data_dir)
    write_mark(urls, "kept")
    kill_servers(data_dir)
    stranger = subprocess.Popen([shutil.which("sleep") or "sleep", "600"], cwd="/", **server_user().popen_arguments())
    try:
        for name in ("postgres/postmaster.pid", "redis/redis.pid"):
            pid_file = services_dir(data_dir) / name
            lines = pid_file.read_text().splitlines()
            pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
        assert find_services(data_dir) is None
        stop_services(data_dir)
        assert read_marks(start_services(data_dir)) == ("kept", ["kept"])
        stop_services(data_dir)
        assert stranger.poll() is None, "nobody else's process is signalled"
    finally:
        stranger.kill()
        stranger.wait()


def test_an_append_only_file_cut_off_in_its_last_command_is_read_up_to_there(data_dir: Path) -> None:
    urls = start_services(data_dir)
    write_mark(urls, "kept")
    with connect_redis(urls.redis) as client:
        client.set("last", "x" * 100)
    kill_servers(data_dir)
    log = services_dir(data_dir) / "redis" / "appendonly.aof"
    os.truncate(log, log.stat().st_size - 50)
    urls = start_services(data_dir)
    assert read_marks(urls) == ("kept", ["kept"])
    with connect_redis(urls.redis) as client:
        assert client.get("last") is None


def test_a_start_that_was_killed_half_way_is_begun_again(data_dir: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(data_dir), "free"]
    half = services_dir(data_dir) / "postgres.new"
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        wait_until(half.exists, what="the start's first half")
        process.kill()
    urls = start_services(data_dir, durable=False)
    write_mark(urls, "there")
    assert not half.exists()


def test_a_server_frozen_by_somebody_is_reported_not_doubled(data_dir: Path) -> None:
    start_services(data_dir, durable=False)
    place = find_place(data_dir)
    assert place is not None
    pid = int((place.server_dir("redis") / "redis.pid").read_text())
    os.kill(pid, signal.SIGSTOP)
    try:
        with pytest.raises(Exception, match=f"process {pid} still serve"):
            start_services(data_dir, deadline_seconds=0.5)
    finally:
        os.kill(pid, signal.SIGCONT)


def test_servers_whose_records_are_lost_can_still_be_stopped(data_dir: Path) -> None:
    start_services(data_dir, durable=False)
    for name in ("redis.json", "postgres.json"):
        (services_dir(data_dir) / name).unlink()
    stop_services(data_dir)
    assert not list_processes(data_dir)


def test_postgres_alone_killed_hard_leaves_no_old_session_behind(data_dir: Path) -> None:
    urls = start_services(data_dir)
    place = find_place(data_dir)
    assert place is not None
    pid = int((place.server_dir("postgres") / "postmaster.pid").read_text().split()[0])
    connection = psycopg.connect(urls.database, autocommit=True)
    connection.execute("SELECT 1")
    os.kill(pid, signal.SIGKILL)
    assert start_services(data_dir) == urls
    with pytest.raises(psycopg.OperationalError):
        connection.execute("SELECT 1")
    connection.close()


def only_child(pid: int) -> int:
    """The guardian among a starter's children: servers work in the data directory, it doesn't."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    found = [
        child for child in children if b"guildstream.services.watch" in Path(f"/proc/{child}/cmdline").read_bytes()
    ]
    assert len(found) == 1
    return int(found[0])
