"""The HTTP face of every component: ``/healthz``, ``/readyz`` and ``/metrics``."""

from __future__ import annotations

import logging
from collections.abc import Callable

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from guildstream import __version__, metrics
from guildstream.errors import ConfigError
from guildstream.settings import Settings

__all__ = ["HealthServer"]

_log = logging.getLogger("guildstream.http")


class HealthServer:
    """Serves health and metrics on the running event loop.

    ``/healthz`` answers as long as the loop turns (restart the process when it doesn't), ``/readyz``
    says 200 or 503 as ``ready`` does (send no work while it isn't), ``/metrics`` is Prometheus' text.

    Args:
        settings: ``http_host`` and ``http_port``; port 0 takes a free one.
        component: the component's name, shown in answers and in ``guildstream_build_info``.
        ready: whether the component does its work; called on the loop, must not block.
    """

    def __init__(self, settings: Settings, component: str, ready: Callable[[], bool]) -> None:
        self._host = settings.http_host
        self._port = settings.http_port
        self._component = component
        self._ready = ready
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it listens, ``http://host:port``, once it was started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    async def start(self) -> None:
        """Listen. Returns when requests are answered.

        Raises:
            ConfigError: the address can't be used.
        """
        app = web.Application()
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        app.router.add_get("/metrics", self._metrics)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, self._host, self._port).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(
                f"can't listen on {self._host}:{self._port} for /healthz and /metrics: {error}; "
                "set GUILDSTREAM_HTTP_HOST and GUILDSTREAM_HTTP_PORT, or port 0 for a free one"
            ) from error
        self._runner = runner
        self._port = runner.addresses[0][1]
        metrics.BUILD_INFO.labels(version=__version__, component=self._component).set(1)
        _log.info("health and metrics at %s", self.url)

    async def stop(self) -> None:
        """Stop listening. Safe to call twice, or without ``start``."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

    async def _healthz(self, _request: web.Request) -> web.Response:
        return web.json_response({"component": self._component, "alive": True})

    async def _readyz(self, _request: web.Request) -> web.Response:
        ready = self._ready()
        return web.json_response({"component": self._component, "ready": ready}, status=200 if ready else 503)

    async def _metrics(self, _request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})
