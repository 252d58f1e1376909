"""Where a shard's session waits for the next process: a hash in Redis, and the lease that guards it."""

from __future__ import annotations

import os
import secrets
import socket
from pathlib import Path
from typing import Final, cast

import redis.asyncio

from gateway.resumption import ShardSession
from guildstream.publisher.wire import Command

__all__ = ["SessionStore", "ShardLease", "lease_key", "process_name", "session_key"]

#: KEYS: lease, session. ARGV: lease owner, then fields and values. Stores only for the lease's owner.
_STORE: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
return 1
"""
#: KEYS: lease. ARGV: owner, milliseconds, an owner that is known to be dead or an empty string.
_ACQUIRE: Final = """
local held = redis.call('GET', KEYS[1])
if held and held ~= ARGV[1] and held ~= ARGV[3] then return held end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return ARGV[1]
"""
_RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"


def session_key(prefix: str, shard: int) -> str:
    """Hash: what the next process needs to resume a shard's session."""
    return f"{prefix}:session:{shard}"


def lease_key(prefix: str, shard: int) -> str:
    """String: which process has the session. The hash tag puts it beside the session in a Cluster."""
    return f"{{{session_key(prefix, shard)}}}:lease"


def process_name() -> str:
    """This process for other processes: machine, process namespace, pid, start time, and a random part."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_started(pid)}/{secrets.token_hex(4)}"


def is_dead(name: str) -> bool:
    """Whether a process of this machine is surely gone. False for other machines, and where /proc is missing."""
    machine, pid, started, _ = name.split("/") if name.count("/") == 3 else ("", "0", "", "")
    return bool(started) and machine == _machine() and _started(int(pid)) != started


def _machine() -> str:
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        namespace = Path("/proc/self/ns/pid").readlink()
    except OSError:
        return socket.gethostname()
    return f"{socket.gethostname()}|{boot}|{namespace}"


def _started(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return "" if not Path("/proc/self/stat").exists() else "gone"


class ShardLease:
    """One process at a time may have a shard's session; two would take it from each other forever.

    Args:
        client: Redis.
        prefix: first part of keys.
        shard: shard id.
        owner: ``process_name()``.
        lease_seconds: how long it outlives a process that can't be seen to be dead.
    """

    def __init__(
        self, client: redis.asyncio.Redis, prefix: str, shard: int, *, owner: str, lease_seconds: float
    ) -> None:
        self.owner = owner
        self.key = lease_key(prefix, shard)
        self._client = client
        self._lease_ms = int(lease_seconds * 1000)

    async def acquire(self) -> str | None:
        """Take or renew the lease. Idempotent.

        Returns:
            None when it is ours, else who has it.
        """
        holder = await self._acquire("")
        if holder != self.owner and is_dead(holder):
            holder = await self._acquire(holder)
        return None if holder == self.owner else holder

    async def release(self) -> None:
        """Let go of it, if it is ours."""
        await self._client.eval(_RELEASE, 1, self.key, self.owner)

    async def _acquire(self, dead: str) -> str:
        answer = await self._client.eval(_ACQUIRE, 1, self.key, self.owner, str(self._lease_ms), dead)
        return bytes(answer).decode()


class SessionStore:
    """Reads stored sessions, and makes the command that stores one.

    Args:
        client: Redis.
        prefix: first part of keys.
        identity: what a session was identified with (shard count, intents); one with another is not
            resumed, since Discord would go on with the old.
    """

    def __init__(self, client: redis.asyncio.Redis, prefix: str, *, identity: str) -> None:
        self._client = client
        self._prefix = prefix
        self._identity = identity

    async def load(self, shard: int) -> tuple[ShardSession | None, int | None]:
        """A session that can be resumed, if any, and when the shard was last heard of, if ever."""
        found = cast("dict[bytes, bytes]", await self._client.hgetall(session_key(self._prefix, shard)))
        stored = {key.decode(): value.decode() for key, value in found.items()}
        if not stored:
            return None, None
        at_ms = int(stored["at_ms"])
        if stored["identity"] != self._identity:
            return None, at_ms
        session = ShardSession(
            stored["session_id"], int(stored["seq"]), stored["resume_gateway_url"], int(stored["user_id"]), at_ms
        )
        return session, at_ms

    def store_command(self, shard: int, session: ShardSession, lease: ShardLease) -> Command:
        """What stores a session, for as long as the lease is held."""
        fields = {
            "session_id": session.session_id,
            "seq": session.seq,
            "resume_gateway_url": session.resume_gateway_url,
            "user_id": session.user_id,
            "at_ms": session.at_ms,
            "identity": self._identity,
        }
        flat = [str(item) for pair in fields.items() for item in pair]
        words = ["EVAL", _STORE, "2", lease.key, session_key(self._prefix, shard), lease.owner, *flat]
        return tuple(word.encode() for word in words)
