"""One redis-server of a test's own, configured line by line; ended by its process id."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import redis

from guildstream.connections import connect_redis
from guildstream.services.programs import find_programs
from tests.servers import wait_until


def embedded_program() -> Path:
    return find_programs().redis_bin / "redis-server"


def newer_program() -> Path | None:
    """A redis-server of version 7 or later, or a valkey-server, on the PATH."""
    for folder in os.get_exec_path():
        for name in ("redis-server", "valkey-server"):
            program = Path(folder, name)
            if program.is_file() and os.access(program, os.X_OK):
                said = subprocess.run([program, "--version"], capture_output=True, text=True, check=False).stdout
                if (found := re.search(r"v=(\d+)", said)) and int(found[1]) >= 7:
                    return program
    return None


class RedisProcess:
    """A server; ``url`` is asked whether it answers.

    Args:
        directory: its own; made here.
        url: how a test reaches it.
        lines: of its configuration.
        program: the server's program.
        arguments: behind the name of the configuration's file.
    """

    def __init__(
        self,
        directory: Path,
        url: str,
        lines: list[str],
        *,
        program: Path | None = None,
        arguments: tuple[str, ...] = (),
    ) -> None:
        directory.mkdir()
        self.url = url
        self._log = directory / "log"
        configuration = directory / "redis.conf"
        configuration.write_text("\n".join([f'dir "{directory}"', 'save ""', "daemonize no", *lines, ""]))
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                [program or embedded_program(), configuration, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        wait_until(self._answers, deadline_seconds=60, what=f"an answer of {url}")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def _answers(self) -> bool:
        assert self.process.poll() is None, self._log.read_text(errors="replace")
        try:
            with connect_redis(self.url, name="tests") as client:
                client.execute_command("PING")
        except (redis.ConnectionError, redis.TimeoutError):
            return False
        except redis.ResponseError as error:
            return "NOPERM" in str(error)
        return True


class RedisProcesses:
    """Servers below one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._started: list[RedisProcess] = []

    def start(
        self, url: str, *lines: str, program: Path | None = None, arguments: tuple[str, ...] = ()
    ) -> RedisProcess:
        directory = self.directory / f"server-{len(self._started)}"
        found = RedisProcess(directory, url, list(lines), program=program, arguments=arguments)
        self._started.append(found)
        return found

    def stop(self) -> None:
        for found in self._started:
            if found.process.poll() is None:
                found.kill()


@contextlib.contextmanager
def redis_processes() -> Iterator[RedisProcesses]:
    with tempfile.TemporaryDirectory(prefix="gs-", ignore_cleanup_errors=True) as name:
        processes = RedisProcesses(Path(name))
        try:
            yield processes
        finally:
            processes.stop()
