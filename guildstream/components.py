"""Stages of the pipeline, found by name through entry points and never imported by this package.

The group ``guildstream.components`` names functions ``run(settings) -> exit code`` that block until
SIGTERM or SIGINT and shut down within one deadline.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Final, cast

import redis

from guildstream.errors import ConfigError, GuildstreamError
from guildstream.logs import configure_logging
from guildstream.settings import Settings

__all__ = ["GROUP", "component_names", "find_component", "follow_lifeline", "run_component"]

GROUP: Final = "guildstream.components"
EXIT_OK: Final = 0
EXIT_FAILURE: Final = 1
EXIT_CONFIG: Final = 2

_log = logging.getLogger("guildstream.components")


def component_names() -> list[str]:
    """Names of the installed components, sorted."""
    return sorted({point.name for point in entry_points(group=GROUP)})


def find_component(name: str) -> Callable[[Settings], int]:
    """Load a component.

    Raises:
        ConfigError: there is none of that name, or what it needs is not installed.
    """
    points = list(entry_points(group=GROUP, name=name))
    if not points:
        raise ConfigError(f"no component is named {name!r}; installed are: {', '.join(component_names()) or 'none'}")
    try:
        return cast("Callable[[Settings], int]", points[0].load())
    except ModuleNotFoundError as error:
        extra = "gateway" if name == "simulator" else name
        raise ConfigError(
            f"component {name} needs {error.name!r}, which is not installed: pip install 'guildstream[{extra}]'"
        ) from error


def run_component(name: str, settings: Settings) -> int:
    """Run a component in this process until it is told to stop.

    Returns:
        0 after a clean stop, 1 after a failure, 2 when a setting or a server is not what it must be.
    """
    configure_logging(settings, name)
    run = find_component(name)
    try:
        return run(settings)
    except ConfigError as error:
        # The message is for the operator; a traceback would be for nobody.
        _log.error("%s", error)
        return EXIT_CONFIG
    except GuildstreamError:
        _log.exception("%s stops", name)
        return EXIT_FAILURE
    except (redis.ConnectionError, redis.TimeoutError) as error:
        _log.error("%s stops: Redis can't be reached: %s", name, error)
        return EXIT_FAILURE


def follow_lifeline(descriptor: int, grace_seconds: float = 15.0) -> None:
    """Stop this process when the other end of a pipe closes, that is when its parent is gone.

    The kernel closes a dead process's descriptors whatever killed it, on every platform, so a child
    can't outlive a parent killed by SIGKILL. First comes SIGTERM, after ``grace_seconds`` SIGKILL.

    Raises:
        ConfigError: ``descriptor`` is not open.
    """
    try:
        os.fstat(descriptor)
    except OSError as error:
        raise ConfigError(f"--lifeline {descriptor} is no open file descriptor; only a supervisor passes it") from error

    def wait() -> None:
        while os.read(descriptor, 64):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        threading.Event().wait(grace_seconds)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=wait, name="lifeline", daemon=True).start()
