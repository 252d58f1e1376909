"""hikari's shard with a gate before its socket, and a close that keeps the session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final

import hikari
from hikari.impl import shard as hikari_shard

__all__ = ["GatedShard"]

_GATE_SECONDS: Final = 0.02
#: Any code but 1000 and 1001 leaves the session resumable; this is hikari's own for reconnecting.
_KEEP_SESSION: Final = 3000


class _GatedTransport:
    """A transport that isn't read while the gate is shut, so that TCP holds Discord back."""

    __slots__ = ("_inner", "_shut")

    def __init__(self, inner: Any, shut: Callable[[], bool]) -> None:
        self._inner = inner
        self._shut = shut

    async def receive_json(self) -> Any:
        while self._shut():  # noqa: ASYNC110  # another thread opens the gate, seldom
            await asyncio.sleep(_GATE_SECONDS)
        return await self._inner.receive_json()

    async def send_json(self, data: Any) -> None:
        await self._inner.send_json(data)

    async def send_close(self, *, code: int, message: bytes) -> None:
        if code == hikari.ShardCloseCode.GOING_AWAY:
            code = _KEEP_SESSION
        await self._inner.send_close(code=code, message=message)


class GatedShard(hikari_shard.GatewayShardImpl):
    """A shard that reads only while there is room, closes resumably, and says when its connection ends.

    A gate shut for longer than Discord's heartbeat ends in a reconnect and a RESUME, without loss.

    Args:
        shut: whether not to read just now.
        disconnected: called when the connection ends.
        settings: what ``GatewayShardImpl`` takes.
    """

    def __init__(self, *, shut: Callable[[], bool], disconnected: Callable[[], None], **settings: Any) -> None:
        self._shut = shut
        self._disconnected = disconnected
        self._transport: _GatedTransport | None = None
        super().__init__(**settings)

    # hikari keeps the transport in a slot of this name; a property in its place sees it come and go.
    @property
    def _ws(self) -> Any:
        return self._transport

    @_ws.setter
    def _ws(self, transport: Any) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        if transport is None:
            if self._transport is not None:
                self._disconnected()
            self._transport = None
        else:
            self._transport = _GatedTransport(transport, self._shut)
