"""What every component answers over HTTP."""

from __future__ import annotations

import aiohttp
import pytest

from guildstream import __version__, metrics
from guildstream.errors import ConfigError
from guildstream.http import HealthServer
from guildstream.settings import load_settings


async def test_health_readiness_and_metrics() -> None:
    ready = False
    server = HealthServer(load_settings({}), "sink", lambda: ready)
    await server.start()
    metrics.SINK_BATCHES.inc()
    async with aiohttp.ClientSession(server.url) as client:
        async with client.get("/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"component": "sink", "alive": True})
        async with client.get("/readyz") as answer:
            assert answer.status == 503
        ready = True
        async with client.get("/readyz") as answer:
            assert (answer.status, await answer.json()) == (200, {"component": "sink", "ready": True})
        async with client.get("/metrics") as answer:
            text = await answer.text()
    assert f'guildstream_build_info{{component="sink",version="{__version__}"}} 1.0' in text
    assert "guildstream_sink_batches_total" in text
    await server.stop()
    await server.stop()


async def test_a_port_that_is_taken_is_named() -> None:
    first = HealthServer(load_settings({}), "sink", lambda: True)
    await first.start()
    port = int(first.url.rpartition(":")[2])
    second = HealthServer(load_settings({}, http_port=port), "sink", lambda: True)
    with pytest.raises(ConfigError, match=rf"127\.0\.0\.1:{port}.*GUILDSTREAM_HTTP_PORT"):
        await second.start()
    await first.stop()
