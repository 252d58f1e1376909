"""What the two embedded servers have in common: a record, a lock, a start in two halves, a stop."""

from __future__ import annotations

import os
import secrets
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import ClassVar

from guildstream.errors import ConfigError
from guildstream.services.locks import is_locked, take_lock
from guildstream.services.placement import Place, read_json, write_json
from guildstream.services.probes import free_port, port_is_free
from guildstream.services.processes import forget_children, launch, send_signal, wait_until, works_in

__all__ = ["Command", "Record", "Server"]

_ATTEMPTS = 5
_LOG_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Record:
    """What is written down about a running server.

    Attributes:
        pid: its process id, 0 from just before its start until it is known.
        port: its loopback port.
        token: names this run of it, so that a guardian stops no later one.
    """

    pid: int
    port: int
    token: str


@dataclass(frozen=True, slots=True)
class Command:
    """How to start a server.

    Attributes:
        arguments: program and arguments.
        configuration: for its standard input.
        environment: added to the clean environment.
    """

    arguments: tuple[str | Path, ...]
    configuration: bytes = b""
    environment: dict[str, str] | None = None


class Server(ABC):
    """One embedded server of one place.

    Every method that changes something expects its caller to hold the data directory's lock.
    """

    name: ClassVar[str]
    #: The signals of a clean stop, and of one that leaves the rest to recovery at the next start.
    stop_signal: ClassVar[signal.Signals]
    hard_stop_signal: ClassVar[signal.Signals]

    def __init__(self, place: Place) -> None:
        self.place = place
        self.directory = place.server_dir(self.name)
        self.log = place.logs / f"{self.name}.log"
        self._log_start = 0

    @abstractmethod
    def url(self, port: int) -> str:
        """How a client reaches it."""

    @abstractmethod
    def answers(self, record: Record) -> bool:
        """Whether this run is ready for clients."""

    @abstractmethod
    def prepare(self, lock: int) -> None:
        """Set up its data where there is none. Blocks; safe to repeat after a kill at any point."""

    @abstractmethod
    def command(self, port: int) -> Command:
        """How to start it on this port."""

    @abstractmethod
    def pid_file(self) -> Path:
        """Where the server itself writes its process id."""

    def record(self) -> Record | None:
        """What was written down last; the server may be gone since."""
        found = read_json(self._record_file)
        return None if found is None else Record(**found)

    def is_alive(self) -> bool:
        """Whether any of its processes lives, of whichever run."""
        forget_children()
        return is_locked(self.place.lock_file(self.name))

    def pid(self, record: Record) -> int | None:
        """The living server's process id."""
        if not self.is_alive():
            return None
        for pid in (record.pid, self._written_pid()):
            if pid and works_in(pid, self.directory, uid=self.place.user.uid) is not False:
                return pid
        return None

    def find(self) -> Record | None:
        """The record of the server if it runs and answers."""
        record = self.record()
        return record if record is not None and self.is_alive() and self.answers(record) else None

    def begin(self, announce: Callable[[str], None], *, deadline_seconds: float) -> Record:
        """Start it unless it runs already. Returns before it is ready: ``finish`` waits for that.

        Args:
            announce: called with the token of a run that this call is about to start.
            deadline_seconds: how long to wait for the last processes of an earlier run.

        Raises:
            ConfigError: it can't be started.
        """
        lock = self._take_lock_or_find(deadline_seconds)
        if isinstance(lock, Record):
            return lock
        try:
            self.prepare(lock)
            self._rotate_log()
            before = self.record()
            port = before.port if before and port_is_free(before.port) else free_port()
            record = Record(0, port, secrets.token_hex(8))
            announce(record.token)
            return self._launch(record, lock)
        finally:
            os.close(lock)

    def finish(self, record: Record, *, deadline_seconds: float) -> Record:
        """Wait until it is ready, on another port if somebody took the chosen one. Blocks.

        Raises:
            ConfigError: it ended or isn't ready in time; the message has the end of its log.
        """
        for _ in range(_ATTEMPTS):
            self._wait_settled(record, deadline_seconds)
            if self.is_alive():
                if self.answers(record):
                    return record
                raise ConfigError(f"{self.name} is not ready after {deadline_seconds:.0f} s: {self._said()}")
            if port_is_free(record.port):
                break
            lock = self._take_lock_or_find(deadline_seconds)
            if isinstance(lock, Record):
                return lock
            try:
                record = self._launch(replace(record, pid=0, port=free_port()), lock)
            finally:
                os.close(lock)
        raise ConfigError(f"{self.name} ended at its start: {self._said()}")

    def stop(self, token: str | None = None, *, deadline_seconds: float = 60.0) -> None:
        """Stop it cleanly and wait until all of its processes are gone. Idempotent. Blocks.

        Args:
            token: stop only this run.
            deadline_seconds: after this it is stopped the hard way, and recovers at its next start.

        Raises:
            ConfigError: it doesn't end.
        """
        record = self.record() or Record(0, 0, "")  # a lost record is no reason to leave a server behind
        if token is not None and record.token != token:
            return
        for number in (self.stop_signal, self.hard_stop_signal):
            if self._end_with(number, record, deadline_seconds):
                return
        raise ConfigError(f"{self.name} of {self.place.home} does not end; its log: {self._said()}")

    def _end_with(self, number: signal.Signals, record: Record, deadline_seconds: float) -> bool:
        """Send one signal, as soon as the server can be told from a stranger, and wait for its end."""
        sent = False

        def ended() -> bool:
            nonlocal sent
            # One that has only just begun is not in its directory yet.
            if not sent and (pid := self.pid(record)) is not None:
                send_signal(pid, number)
                sent = True
            return not self.is_alive()

        return wait_until(ended, deadline_seconds=deadline_seconds)

    @property
    def _record_file(self) -> Path:
        return self.place.home / f"{self.name}.json"

    def _launch(self, record: Record, lock: int) -> Record:
        command = self.command(record.port)
        # Written down before it starts, so that a kill between the two lines leaves its port known.
        write_json(self._record_file, asdict(record))
        pid = launch(
            command.arguments,
            user=self.place.user,
            log=self.log,
            lock=lock,
            configuration=command.configuration,
            environment=command.environment,
        )
        record = replace(record, pid=pid)
        write_json(self._record_file, asdict(record))
        return record

    def _take_lock_or_find(self, deadline_seconds: float) -> int | Record:
        found: list[int | Record] = []

        def settled() -> bool:
            lock = take_lock(self.place.lock_file(self.name))
            outcome = lock if lock is not None else self.find()
            if outcome is not None:
                found.append(outcome)
            return bool(found)

        if not wait_until(settled, deadline_seconds=deadline_seconds):
            record = self.record()
            pid = None if record is None else self.pid(record)
            who = "processes of an earlier run" if pid is None else f"process {pid}"
            raise ConfigError(f"{who} still serve {self.directory} but don't answer: {self._said()}")
        return found[0]

    def _wait_settled(self, record: Record, deadline_seconds: float) -> None:
        wait_until(lambda: self.answers(record) or not self.is_alive(), deadline_seconds=deadline_seconds)

    def _written_pid(self) -> int | None:
        try:
            return int(self.pid_file().read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _rotate_log(self) -> None:
        if self.log.exists():
            self._log_start = self.log.stat().st_size
            if self._log_start > _LOG_BYTES:
                self.log.replace(self.log.with_suffix(".log.old"))
                self._log_start = 0

    def _said(self) -> str:
        try:
            with self.log.open("rb") as log:
                log.seek(self._log_start)
                said = log.read().decode(errors="replace").strip()[-1500:]
        except OSError:
            said = ""
        return f"{said or 'it said nothing'} (log: {self.log})"
