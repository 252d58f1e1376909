"""The REST calls that a bot makes before it listens, and the token that they ask for."""

from __future__ import annotations

import base64
from typing import Final

from aiohttp import web

from gateway.simulator.world import BOT_USER_ID

__all__ = ["BOT", "answer", "demo_token"]

BOT: Final = {
    "id": str(BOT_USER_ID),
    "username": "guildstream",
    "global_name": None,
    "discriminator": "0",
    "avatar": None,
    "bot": True,
    "flags": 0,
    "public_flags": 0,
    "mfa_enabled": False,
    "verified": True,
}
_MAX_CONCURRENCY: Final = 16


def demo_token() -> str:
    """The token that the simulated Discord takes."""
    user = base64.urlsafe_b64encode(str(BOT_USER_ID).encode()).decode().rstrip("=")
    return f"{user}.simulated.discord"


def answer(request: web.Request, *, gateway_url: str, shards: int) -> web.Response:
    """The answer to a REST call: the gateway's address, the bot's user, no commands; 404 for the rest."""
    path = request.match_info["path"]
    if request.headers.get("Authorization") != f"Bot {demo_token()}":
        return web.json_response({"message": "401: Unauthorized", "code": 0}, status=401)
    if path == "gateway/bot":
        limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": _MAX_CONCURRENCY}
        return web.json_response({"url": gateway_url, "shards": shards, "session_start_limit": limit})
    if path in {"users/@me", "applications/@me", "oauth2/applications/@me"}:
        return web.json_response(BOT)
    if path.endswith("/commands"):
        return web.json_response([])
    return web.json_response({"message": "404: Not Found", "code": 0}, status=404)
