"""Runs components as child processes, restarts what dies, and takes them all down with itself.

Each child is in a session of its own, so that Ctrl-C reaches only the supervisor, and holds the read
end of a pipe (``components.follow_lifeline``), so that it can't outlive the supervisor.
"""

from __future__ import annotations

import logging
import os
import random
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Final

from pydantic import SecretStr

from guildstream.clock import SYSTEM_CLOCK, Clock
from guildstream.components import EXIT_CONFIG
from guildstream.errors import GuildstreamError
from guildstream.settings import Settings

__all__ = ["Child", "ComponentFailed", "Patience", "Supervisor", "child_environment", "component_command"]

_log = logging.getLogger("guildstream.supervisor")

#: A child that ran this long has proven itself: its earlier failures are forgotten.
STABLE_SECONDS: Final = 10.0
#: Failures of its own in a row, none after a stable run, until the supervisor gives up.
MAX_FAILURES: Final = 6
#: Deaths by a signal from outside (kill -9, the kernel out of memory) in a row, the same.
MAX_KILLS: Final = 40
_LOG_TAIL_BYTES: Final = 2_000


class ComponentFailed(GuildstreamError):
    """A component kept failing and the supervisor gave up; the message holds the end of its log."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process to keep running.

    Attributes:
        name: shown in messages.
        command: program and arguments; ``--lifeline FD`` is added where ``lifeline_index`` says.
        environment: all of its environment.
        log_path: file that takes its stderr and stdout; the supervisor's own stderr if None.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log_path: Path | None = None


def component_command(name: str) -> list[str]:
    """The command line that runs a component under a supervisor; the pipe's number is filled in later."""
    # -P: a folder named like one of our libraries in the working directory must not be imported.
    return [sys.executable, "-P", "-m", "guildstream", "--lifeline", "{lifeline}", name]


def child_environment(settings: Settings, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that gives a child exactly these settings. URLs travel here, never in arguments.

    Args:
        settings: what the child is to see.
        base: the environment to start from; this process's own if absent.
    """
    known = {f"GUILDSTREAM_{name.upper()}" for name in Settings.model_fields}
    base = os.environ if base is None else base
    environment = {name: value for name, value in base.items() if name not in known}
    for name in Settings.model_fields:
        value = getattr(settings, name)
        if isinstance(value, SecretStr):
            value = value.get_secret_value()
        if value is not None:
            environment[f"GUILDSTREAM_{name.upper()}"] = str(value)
    return environment


@dataclass(slots=True)
class Patience:
    """Decides after each death how long to wait before the next start, or to give up.

    A death by a signal that the supervisor didn't send is somebody else's doing: it is answered
    quickly and forgiven often. An exit of its own is answered ever more slowly, and soon not at all.
    """

    random: random.Random = field(default_factory=random.Random)
    failures: int = 0
    kills: int = 0

    def delay(self, code: int, ran_seconds: float) -> float | None:
        """Seconds to wait, jittered; None to give up.

        Args:
            code: exit code, negative for a signal, as ``subprocess`` reports it.
            ran_seconds: how long the process had been running.
        """
        if ran_seconds >= STABLE_SECONDS:
            self.failures = self.kills = 0
        if code in (-signal.SIGKILL, -signal.SIGTERM):
            self.kills += 1
            ceiling = min(0.2 * self.kills, 1.0)
            given_up = self.kills > MAX_KILLS
        else:
            self.failures += 1
            ceiling = min(0.5 * 2 ** (self.failures - 1), 8.0)
            given_up = self.failures >= MAX_FAILURES or code == EXIT_CONFIG
        return None if given_up else self.random.uniform(ceiling / 2, ceiling)


class Supervisor:
    """Keeps children running until ``stop``.

    Args:
        children: what to run, started in this order.
        grace_seconds: the one deadline of ``stop``: SIGTERM to all, and SIGKILL to those left after it.
        on_change: told one sentence at each start, death and restart, on a thread of the supervisor.
        clock: time.
    """

    def __init__(
        self,
        children: Sequence[Child],
        *,
        grace_seconds: float = 25.0,
        on_change: Callable[[str], None] | None = None,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self._children = tuple(children)
        self._grace_seconds = grace_seconds
        self._on_change = on_change or _log.info
        self._clock = clock
        self._stopping = threading.Event()
        self._ended = threading.Event()
        self._lock = threading.Lock()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._threads: list[threading.Thread] = []
        self._restarts: dict[str, int] = {child.name: 0 for child in self._children}
        self._lifeline_read, self._lifeline_write = os.pipe()
        self.failure: ComponentFailed | None = None

    def start(self) -> None:
        """Start every child; returns at once, not when they are ready."""
        for child in self._children:
            thread = threading.Thread(target=self._keep_running, args=(child,), name=f"keep {child.name}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def wait(self, timeout_seconds: float) -> bool:
        """Block until a child has failed for good or the time is over.

        Returns:
            Whether one has failed: ``failure`` says which and why.
        """
        return self._ended.wait(timeout_seconds)

    def check(self) -> None:
        """Raise ``ComponentFailed`` if a child has failed for good."""
        if self.failure is not None:
            raise self.failure

    def pids(self) -> dict[str, int]:
        """The running children's process ids by name."""
        with self._lock:
            return {name: process.pid for name, process in self._processes.items() if process.poll() is None}

    def restarts(self) -> dict[str, int]:
        """How often each child was started again."""
        return dict(self._restarts)

    def stop(self) -> None:
        """Stop every child: SIGTERM, up to the grace, SIGKILL. Safe to call twice.

        Blocks at most for the grace and a moment; afterwards no child is left.
        """
        deadline = self._clock.monotonic() + self._grace_seconds
        with self._lock:
            self._stopping.set()
            for process in self._processes.values():
                _signal(process, signal.SIGTERM)
        for thread in self._threads:
            thread.join(max(0.0, deadline - self._clock.monotonic()))
        with self._lock:
            for name, process in self._processes.items():
                if process.poll() is None:
                    _log.warning("%s did not stop within %.0f s and is killed", name, self._grace_seconds)
                    _kill_group(process)
        for thread in self._threads:
            thread.join(5.0)
        for descriptor in (self._lifeline_read, self._lifeline_write):
            if descriptor >= 0:
                os.close(descriptor)
        self._lifeline_read = self._lifeline_write = -1

    def _keep_running(self, child: Child) -> None:
        patience = Patience()
        while True:
            started = self._clock.monotonic()
            try:
                process = self._spawn(child)
            except OSError as error:
                self._fail(f"{child.name} can't be started: {error}")
                return
            if process is None:
                return
            code = process.wait()
            if self._stopping.is_set():
                return
            delay = patience.delay(code, self._clock.monotonic() - started)
            if delay is None:
                self._give_up(child, code)
                return
            self._restarts[child.name] += 1
            self._on_change(f"{child.name} {_describe(code)}; it starts again in {delay:.1f} s")
            if self._stopping.wait(delay):
                return

    def _spawn(self, child: Child) -> subprocess.Popen[bytes] | None:
        with self._lock:
            if self._stopping.is_set():
                return None
            command = [part.replace("{lifeline}", str(self._lifeline_read)) for part in child.command]
            log = _open_log(child.log_path)
            try:
                process = subprocess.Popen(
                    command,
                    env=dict(child.environment),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    pass_fds=(self._lifeline_read,),
                )
            finally:
                if log is not None:
                    log.close()
            self._processes[child.name] = process
            return process

    def _give_up(self, child: Child, code: int) -> None:
        tail = _log_tail(child.log_path)
        self._fail(
            f"{child.name} {_describe(code)} and is not started again"
            + (f"; the end of {child.log_path}:\n{tail}" if tail else "; its log above says why")
        )

    def _fail(self, message: str) -> None:
        self.failure = ComponentFailed(message)
        self._ended.set()


def _describe(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"


def _signal(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    if process.poll() is None:
        process.send_signal(number)


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        _log.debug("process %d was gone already", process.pid)


def _open_log(path: Path | None) -> IO[bytes] | None:
    if path is None:
        return None
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.open("ab")


def _log_tail(path: Path | None) -> str:
    if path is None or not path.exists():
        return ""
    with path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - _LOG_TAIL_BYTES))
        return log.read().decode(errors="replace").strip()
