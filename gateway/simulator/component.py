"""The simulated Discord as a component."""

from __future__ import annotations

import asyncio
import logging
import signal

from gateway.simulator.server import SimulatedDiscord
from guildstream.errors import ConfigError
from guildstream.settings import Settings

__all__ = ["run"]

_log = logging.getLogger("guildstream.simulator")


def run(settings: Settings) -> int:
    """Serve until SIGTERM or SIGINT. Returns the exit code, 0 after a clean stop.

    ``/healthz`` and ``/readyz`` are answered on the simulator's own port.

    Raises:
        ConfigError: the port is taken.
    """
    asyncio.run(_serve(settings))
    return 0


async def _serve(settings: Settings) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    discord = SimulatedDiscord(
        seed=settings.simulator_seed,
        guilds=settings.simulator_guilds,
        rate=settings.simulator_rate,
        port=settings.simulator_port,
    )
    try:
        await discord.start()
    except OSError as error:
        port = settings.simulator_port
        raise ConfigError(f"the simulated Discord can't listen on port {port}: {error}; set SIMULATOR_PORT") from error
    _log.info("the simulated Discord is at %s", discord.rest_url, extra={"rate": settings.simulator_rate})
    await stop.wait()
    await discord.stop()
