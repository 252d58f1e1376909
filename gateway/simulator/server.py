"""The simulated Discord: REST, the gateway's WebSocket, and a door for whoever watches."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import Any, Final

import aiohttp
import orjson
from aiohttp import web

from gateway.simulator.ledger import Ledger
from gateway.simulator.rest import BOT, answer, demo_token
from gateway.simulator.sessions import Connection, Session
from gateway.simulator.traffic import Dispatch, Traffic, guild_create
from gateway.simulator.world import BOT_USER_ID, Guild, make_world
from guildstream.clock import SYSTEM_CLOCK, Clock

__all__ = ["SimulatedDiscord"]

_log = logging.getLogger("guildstream.simulator")

_TICK_SECONDS: Final = 0.02
_MESSAGE_CONTENT: Final = 1 << 15
_HEARTBEAT, _IDENTIFY, _RESUME, _INVALID_SESSION, _HELLO, _ACK = 1, 2, 6, 9, 10, 11
_AUTHENTICATION_FAILED: Final = 4004


class SimulatedDiscord:
    """Discord's gateway as far as a bot that listens needs it, with people from a seed.

    Every dispatch is counted when it is given to a session, so ``counts`` is what a gateway that
    loses nothing must have published. While a session's unsent dispatches fill half of its buffer,
    its guilds fall silent: a gateway that comes back can always resume.

    Args:
        seed: of the world and of what happens in it.
        guilds: how many.
        rate: dispatches a second.
        shards: what ``/gateway/bot`` advises.
        host: address to listen on.
        port: 0 takes a free one.
        buffer_dispatches: how many a session keeps for RESUME.
        heartbeat_interval_ms: what HELLO asks for.
        clock: the time of everything.
    """

    def __init__(
        self,
        *,
        seed: int = 1,
        guilds: int = 20,
        rate: float = 200.0,
        shards: int = 1,
        host: str = "127.0.0.1",
        port: int = 0,
        buffer_dispatches: int = 40_000,
        heartbeat_interval_ms: int = 41_250,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        self.rate = rate
        self._guilds = make_world(seed, guilds, clock.now_ms())
        self._traffic = Traffic(self._guilds, seed)
        self._ledger = Ledger()
        self._shards = shards
        self._host = host
        self._port = port
        self._buffer_dispatches = buffer_dispatches
        self._heartbeat_interval_ms = heartbeat_interval_ms
        self._clock = clock
        self._sessions: dict[str, Session] = {}
        self._current: dict[int, Session] = {}
        self._identifies = 0
        self._running = asyncio.Event()
        self._running.set()
        self._runner: web.AppRunner | None = None
        self._ticker: asyncio.Task[None] | None = None

    @property
    def rest_url(self) -> str:
        """What to give hikari as ``rest_url``, once started."""
        return f"http://{self._host}:{self._port}/api/v10"

    @property
    def url(self) -> str:
        """Where ``/simulator/counts`` and its like are, once started."""
        return f"http://{self._host}:{self._port}"

    async def start(self) -> None:
        """Listen, and let things happen once a bot identifies."""
        app = web.Application()
        app.router.add_get("/", self._gateway)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._healthz)
        app.router.add_get("/simulator/counts", self._get_counts)
        app.router.add_post("/simulator/{action:pause|resume|disconnect|forget}", self._act)
        app.router.add_route("*", "/api/v10/{path:.*}", self._rest)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = self._runner.addresses[0][1]
        self._ticker = asyncio.create_task(self._tick(), name="simulated traffic")

    async def stop(self) -> None:
        """Cut everybody off and stop listening."""
        if self._ticker is not None:
            self._ticker.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._ticker
        await self.disconnect()
        if self._runner is not None:
            await self._runner.cleanup()

    def pause(self) -> None:
        """Nothing happens from now on; what was dispatched is still sent."""
        self._running.clear()

    def resume(self) -> None:
        """Things happen again."""
        self._running.set()

    async def disconnect(self, code: int | None = None) -> None:
        """End all connections, with a close code or without a word; the sessions can be resumed."""
        for session in self._sessions.values():
            await session.cut(code)

    async def forget(self) -> None:
        """End all sessions and cut their connections: what comes back must identify."""
        for session in self._sessions.values():
            session.ended = True
        await self.disconnect()

    def emit(self, dispatch: Dispatch) -> bool:
        """Give a dispatch to the session of its guild's shard; whether there was one that wants it."""
        session = self._session_of(dispatch.guild_id)
        if session is None or (dispatch.intent and not session.intents & dispatch.intent):
            return False
        payload = dispatch.payload
        if "content" in payload and not session.intents & _MESSAGE_CONTENT:
            payload = payload | {"content": "", "attachments": [], "embeds": []}
        self._ledger.record(dispatch)
        session.dispatch(dispatch.name, payload)
        return True

    def counts(self) -> dict[str, Any]:
        """Exact counts, and how the sessions stand.

        ``settled``: traffic is paused, or not, but everything dispatched so far was sent to somebody.
        """
        return self._ledger.counts() | {
            "identifies": self._identifies,
            "resumes": sum(session.resumes for session in self._sessions.values()),
            "settled": bool(self._current) and all(session.settled for session in self._current.values()),
            "paused": not self._running.is_set(),
            "sessions": [
                {"id": each.id, "shard": each.shard, "seq": each.seq, "connected": each.connected}
                for each in self._sessions.values()
            ],
        }

    def _session_of(self, guild_id: int) -> Session | None:
        for session in self._current.values():
            if (guild_id >> 22) % session.shard_count == session.shard:
                return session if session.has_room and not session.ended else None
        return None

    async def _tick(self) -> None:
        """Let as much happen as the rate allows, a few times a frame."""
        owed, last = 0.0, self._clock.monotonic()
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            now = self._clock.monotonic()
            # After a stall nothing is made up for beyond a second.
            owed, last = min(owed + self.rate * (now - last), max(self.rate, 1.0)), now
            if not self._running.is_set() or not self._current:
                owed = 0.0
                continue
            while owed >= 1:
                owed -= 1
                self.emit(self._traffic.next(self._clock.now_ms()))

    async def _gateway(self, request: web.Request) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=65_536, compress=False)
        await socket.prepare(request)
        connection = Connection(socket, compressed=request.query.get("compress") == "zlib-stream")
        await connection.send(_HELLO, {"heartbeat_interval": self._heartbeat_interval_ms})
        session: Session | None = None
        pump: asyncio.Task[None] | None = None
        try:
            async for message in socket:
                if message.type not in {aiohttp.WSMsgType.TEXT, aiohttp.WSMsgType.BINARY}:
                    break
                request_payload = orjson.loads(message.data)
                opcode, data = request_payload["op"], request_payload.get("d")
                if opcode == _HEARTBEAT:
                    await connection.send(_ACK)
                elif opcode in {_IDENTIFY, _RESUME}:
                    session = await self._begin(connection, opcode, data)
                    if session is not None:
                        pump = asyncio.create_task(self._pump(session, connection), name="gateway pump")
        except ConnectionError:
            _log.debug("a connection was reset")
        finally:
            if session is not None:
                session.detach(connection, socket.close_code)
            if pump is not None:
                pump.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await pump
        return socket

    async def _pump(self, session: Session, connection: Connection) -> None:
        with contextlib.suppress(ConnectionError):
            await session.pump(connection)

    async def _begin(self, connection: Connection, opcode: int, data: dict[str, Any]) -> Session | None:
        if data["token"].removeprefix("Bot ") != demo_token():
            await connection.close(_AUTHENTICATION_FAILED, "Authentication failed.")
            return None
        if opcode == _IDENTIFY:
            return await self._identify(connection, data)
        session = self._sessions.get(data["session_id"])
        if session is None or not session.can_resume(data["seq"]):
            await connection.send(_INVALID_SESSION, False)
            return None
        session.resumes += 1
        self._current[session.shard] = session
        await session.attach(connection, data["seq"])
        session.dispatch("RESUMED", {"_trace": ["simulated"]})
        return session

    async def _identify(self, connection: Connection, data: dict[str, Any]) -> Session:
        shard, shard_count = data.get("shard") or (0, 1)
        self._identifies += 1
        session = Session(shard, shard_count, int(data["intents"]), self._buffer_dispatches)
        self._sessions[session.id] = session
        self._current = {key: each for key, each in self._current.items() if each.shard_count == shard_count}
        self._current[shard] = session
        guilds = [guild for guild in self._guilds if (guild.id >> 22) % shard_count == shard]
        session.dispatch("READY", self._ready(session, guilds))
        for guild in guilds:
            self.emit(guild_create(guild, len(guild.members)))
        await session.attach(connection, 0)
        return session

    def _ready(self, session: Session, guilds: list[Guild]) -> dict[str, Any]:
        return {
            "v": 10,
            "user": BOT,
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": f"ws://{self._host}:{self._port}",
            "shard": [session.shard, session.shard_count],
            "application": {"id": str(BOT_USER_ID), "flags": 0},
            "private_channels": [],
        }

    async def _rest(self, request: web.Request) -> web.Response:
        return answer(request, gateway_url=f"ws://{self._host}:{self._port}", shards=self._shards)

    async def _get_counts(self, _request: web.Request) -> web.Response:
        return web.json_response(self.counts())

    async def _act(self, request: web.Request) -> web.Response:
        action = request.match_info["action"]
        if action == "pause":
            self.pause()
        elif action == "resume":
            self.resume()
        elif action == "forget":
            await self.forget()
        else:
            await self.disconnect(int(request.query["code"]) if "code" in request.query else None)
        return web.json_response(self.counts())

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"component": "simulator", "ready": True})
