"""The supervisor with real processes: restarts, giving up, one deadline, and no orphans."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guildstream.settings import load_settings
from guildstream.supervisor import (
    MAX_FAILURES,
    MAX_KILLS,
    Child,
    Patience,
    Supervisor,
    child_environment,
    component_command,
)
from tests.servers import wait_until

_STAYS = "import signal; signal.pause()"
_STUBBORN = "import signal, sys; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"


def child(name: str, code: str, log_path: Path | None = None) -> Child:
    return Child(name, [sys.executable, "-c", code], dict(os.environ), log_path)


def is_alive(pid: int) -> bool:
    try:
        with Path(f"/proc/{pid}/stat").open() as stat:
            return stat.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.fixture
def started() -> Iterator[list[Supervisor]]:
    supervisors: list[Supervisor] = []
    yield supervisors
    for supervisor in supervisors:
        supervisor.stop()


def start(started: list[Supervisor], *children: Child, grace_seconds: float = 5.0) -> Supervisor:
    supervisor = Supervisor(children, grace_seconds=grace_seconds)
    started.append(supervisor)
    supervisor.start()
    wait_until(lambda: len(supervisor.pids()) == len(children) or supervisor.failure is not None)
    return supervisor


def test_a_killed_child_is_started_again_every_time(started: list[Supervisor]) -> None:
    supervisor = start(started, child("a", _STAYS))
    for _ in range(3):
        pid = supervisor.pids()["a"]
        os.kill(pid, signal.SIGKILL)
        wait_until(lambda pid=pid: supervisor.pids().get("a", pid) != pid, what="the restart")
    assert supervisor.restarts() == {"a": 3}
    assert supervisor.failure is None


def test_a_child_that_says_its_settings_are_wrong_is_not_tried_again(started: list[Supervisor], tmp_path: Path) -> None:
    log = tmp_path / "logs" / "a.log"
    supervisor = start(started, child("a", "import sys; sys.exit('no such thing') or 1", log))
    del supervisor
    supervisor = start(started, child("b", "import sys; print('the port is taken'); sys.exit(2)", log))
    assert supervisor.wait(5)
    assert "the port is taken" in str(supervisor.failure)
    assert "exit code 2" in str(supervisor.failure)


def test_a_program_that_is_not_there_is_a_failure(started: list[Supervisor]) -> None:
    supervisor = start(started, Child("a", ["/nowhere/at/all"], {}))
    assert supervisor.wait(5)
    assert "a can't be started" in str(supervisor.failure)


def test_stopping_ends_children_and_kills_those_that_do_not_listen(started: list[Supervisor], tmp_path: Path) -> None:
    log = tmp_path / "stubborn.log"
    supervisor = start(started, child("good", _STAYS), child("stubborn", _STUBBORN, log), grace_seconds=0.5)
    wait_until(lambda: log.read_text() == "up\n", what="the stubborn child")
    pids = supervisor.pids()
    supervisor.stop()
    assert not any(is_alive(pid) for pid in pids.values())
    assert supervisor.restarts() == {"good": 0, "stubborn": 0}


def test_children_are_in_sessions_of_their_own(started: list[Supervisor]) -> None:
    pid = start(started, child("a", _STAYS)).pids()["a"]
    assert os.getsid(pid) == pid


_FOLLOWER = """
import signal, sys
from guildstream.components import follow_lifeline
follow_lifeline(int(sys.argv[1]), 0.5)
if sys.argv[2] == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
signal.pause()
"""
_PARENT = """
import os, sys
from guildstream.supervisor import Child, Supervisor
names = ("good", "stubborn")
children = [Child(name, [sys.executable, "-c", sys.argv[1], "{lifeline}", name], dict(os.environ)) for name in names]
supervisor = Supervisor(children)
supervisor.start()
while len(supervisor.pids()) < 2:
    supervisor.wait(0.05)
print(*supervisor.pids().values(), flush=True)
supervisor.wait(600)
"""


def test_children_do_not_outlive_a_parent_that_was_killed() -> None:
    with subprocess.Popen([sys.executable, "-c", _PARENT, _FOLLOWER], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert all(map(is_alive, pids))
        parent.kill()
    wait_until(lambda: not any(map(is_alive, pids)), what="the end of the orphans")


@given(st.lists(st.tuples(st.sampled_from([1, 3, -11, -9, -15]), st.floats(0, 9.9)), max_size=30), st.integers())
def test_patience_ends_with_failures_in_a_row_and_not_with_kills(deaths: list[tuple[int, float]], seed: int) -> None:
    patience = Patience(random.Random(seed))
    failures = 0
    for code, ran in deaths:
        failures += code not in (-9, -15)
        delay = patience.delay(code, ran)
        assert (delay is None) == (failures >= MAX_FAILURES)
        if delay is None:
            return
        assert 0 < delay <= 8


def test_a_stable_run_is_forgiven_all_before_it() -> None:
    patience = Patience()
    for _ in range(3 * MAX_FAILURES):
        assert patience.delay(1, 60.0) is not None


def test_kills_without_end_are_given_up_in_the_end() -> None:
    patience = Patience()
    delays = [patience.delay(-9, 0.1) for _ in range(MAX_KILLS + 1)]
    assert None not in delays[:-1]
    assert delays[-1] is None
    assert max(delay for delay in delays[:10] if delay is not None) <= 1.0


def test_a_child_sees_exactly_the_settings_it_is_given() -> None:
    settings = load_settings({}, redis_url="redis://here:1/0", database_url="postgresql://u:p@h/d", partitions=8)
    base = {"PATH": "/bin", "GUILDSTREAM_DISCORD_TOKEN": "not for the child", "GUILDSTREAM_SERVICE_PORT": "1"}
    environment = child_environment(settings, base)
    assert "GUILDSTREAM_DISCORD_TOKEN" not in environment
    assert load_settings(environment) == settings
    assert not any("postgresql" in part or "redis://" in part for part in component_command("sink"))
