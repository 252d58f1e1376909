"""Gateway sessions: numbered dispatches in a bounded buffer, sent and sent again."""

from __future__ import annotations

import asyncio
import secrets
import zlib
from collections import deque
from typing import Any, Final

import orjson
from aiohttp import web

__all__ = ["Connection", "Session"]

_NORMAL_CLOSURES: Final = frozenset({1000, 1001})
#: Messages compressed before the event loop gets a turn.
_BURST: Final = 64


class Connection:
    """One WebSocket, compressed as asked for."""

    def __init__(self, socket: web.WebSocketResponse, *, compressed: bool) -> None:
        self.closed_by_us = False
        self._socket = socket
        self._deflate = zlib.compressobj(1) if compressed else None

    @property
    def closed(self) -> bool:
        """Whether it can't send any more."""
        return self._socket.closed

    async def send(self, opcode: int, data: Any = None) -> None:
        """Send something that is no dispatch."""
        await self.send_encoded(orjson.dumps({"op": opcode, "d": data, "s": None, "t": None}))

    async def send_encoded(self, payload: bytes) -> None:
        """Send a payload; waits while the other side doesn't read."""
        if self._deflate is None:
            await self._socket.send_str(payload.decode())
        else:
            await self._socket.send_bytes(self._deflate.compress(payload) + self._deflate.flush(zlib.Z_SYNC_FLUSH))

    async def close(self, code: int, message: str = "") -> None:
        """Close with a code of Discord's."""
        self.closed_by_us = True
        await self._socket.close(code=code, message=message.encode())

    def abort(self) -> None:
        """Cut the connection without a word."""
        transport = self._socket._req.transport if self._socket._req else None  # noqa: SLF001  # aiohttp offers no other way
        if transport is not None:
            transport.abort()


class Session:
    """One shard's session: what was dispatched to it, whoever is connected.

    Args:
        shard: its id.
        shard_count: shards of the bot.
        intents: what the bot asked for.
        buffer_dispatches: how many are kept for a RESUME.

    Attributes:
        id: the session id.
        seq: number of the last dispatch.
        resumes: how often it was resumed.
    """

    def __init__(self, shard: int, shard_count: int, intents: int, buffer_dispatches: int) -> None:
        self.id = secrets.token_hex(16)
        self.shard = shard
        self.shard_count = shard_count
        self.intents = intents
        self.seq = 0
        self.resumes = 0
        self.ended = False
        self._buffer: deque[tuple[int, bytes]] = deque(maxlen=buffer_dispatches)
        self._room = buffer_dispatches // 2
        self._sent = 0
        self._connection: Connection | None = None
        self._news = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether somebody is connected."""
        return self._connection is not None

    @property
    def has_room(self) -> bool:
        """Whether another dispatch would still leave everything unsent, and as much again, in the buffer."""
        return self.seq - self._sent < self._room

    @property
    def settled(self) -> bool:
        """Whether everything was sent to whoever is connected."""
        return self.connected and self._sent == self.seq

    def dispatch(self, name: str, payload: Any) -> None:
        """Number a dispatch and have it sent."""
        self.seq += 1
        self._buffer.append((self.seq, orjson.dumps({"op": 0, "t": name, "s": self.seq, "d": payload})))
        self._news.set()

    def can_resume(self, seq: int) -> bool:
        """Whether everything after ``seq`` is still here."""
        oldest = self._buffer[0][0] if self._buffer else self.seq + 1
        return not self.ended and oldest - 1 <= seq <= self.seq

    async def attach(self, connection: Connection, after_seq: int) -> None:
        """Send to this connection from now on, beginning after ``after_seq``; cuts the one before."""
        if self._connection is not None:
            self._connection.abort()
        self._connection = connection
        self._sent = after_seq

    def detach(self, connection: Connection, close_code: int | None) -> None:
        """The connection is gone; 1000 and 1001 from the client end the session, as with Discord."""
        if self._connection is connection:
            self._connection = None
            self._news.set()
        if close_code in _NORMAL_CLOSURES and not connection.closed_by_us:
            self.ended = True

    async def pump(self, connection: Connection) -> None:
        """Send dispatches in order for as long as the connection is this session's."""
        while self._connection is connection and not connection.closed:
            self._news.clear()
            for seq, payload in self._unsent():
                await connection.send_encoded(payload)
                if self._connection is not connection:
                    return
                self._sent = seq
            if self._sent == self.seq:
                await self._news.wait()

    def _unsent(self) -> list[tuple[int, bytes]]:
        first = self._buffer[0][0] if self._buffer else self.seq + 1
        start = max(0, self._sent + 1 - first)
        stop = min(len(self._buffer), start + _BURST)
        return [self._buffer[at] for at in range(start, stop)]

    async def cut(self, code: int | None = None) -> None:
        """End the connection, with a close code or without a word; the session stays."""
        if self._connection is None:
            return
        if code is None:
            self._connection.abort()
        else:
            await self._connection.close(code)
