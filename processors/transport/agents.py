"""What happens when an agent raises, or a message can't be decoded: its chunk is rolled back.

Faust acknowledges the event of an agent that raised and starts the agent anew. The hooks here run in
between, so that unmodified agents get the rollback of DESIGN §5.1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

from faust.types import Message

from guildstream.errors import ConfigError
from processors.transport.delivery import Delivery
from processors.transport.streams import current_messages

__all__ = ["check_app", "watch_agents"]

#: Faust ends the program when an agent is started anew more than a hundred times a second.
_RESTART_SECONDS: Final = 0.02
#: A supervisor misses the call to wake up while it starts another actor, and then sleeps for five seconds:
#: it is called again this long after a failure.
_WAKEUP_SECONDS: Final = (0.05, 0.2, 1.0)


def check_app(app: Any) -> None:
    """Refuse what this transport can't do.

    Raises:
        ConfigError: the app uses Faust's tables, isolated partitions or transactions; the message says
            what to use instead.
    """
    if len(app.tables):
        msg = (
            f"Faust's tables are not supported by this transport ({', '.join(sorted(app.tables))}): declare a "
            "KeyedState, register it with app.transport.keep(), and use current_partition().table(...)"
        )
        raise ConfigError(msg)
    if app.in_transaction:
        msg = "leave processing_guarantee at its default: this transport commits state, sends and offset in one step"
        raise ConfigError(msg)
    for agent in app.agents.values():
        if agent.isolated_partitions:
            msg = f"agent {agent.name}: isolated_partitions is not supported; partitions are processed apart anyway"
            raise ConfigError(msg)


def watch_agents(app: Any, delivery: Delivery) -> None:
    """Have agents and topics tell of their failures. May be repeated."""
    for agent in app.agents.values():
        if not isinstance(agent._on_error, _OnError):  # noqa: SLF001 - Faust has no other place for it
            agent._on_error = _OnError(agent._on_error, delivery)  # noqa: SLF001
            agent.ask = _refuse_ask
    for channel in app.topics:
        channel.on_key_decode_error = _OnDecodeError(delivery)
        channel.on_value_decode_error = _OnDecodeError(delivery)


class _OnError:
    """Fails the chunk of the messages that an agent was working on, then does what the agent asked for."""

    def __init__(self, asked: Callable[[Any, BaseException], Awaitable[None]] | None, delivery: Delivery) -> None:
        self._asked = asked
        self._delivery = delivery

    async def __call__(self, agent: Any, error: BaseException) -> None:
        for message in current_messages():
            self._delivery.fail(message, error)
        for actor in list(agent._actors):  # noqa: SLF001 - the only way to this actor's stream
            if actor.actor_task is asyncio.current_task():
                await actor.stream.close_iterators()
        if self._asked is not None:
            await self._asked(agent, error)
        for seconds in _WAKEUP_SECONDS:
            asyncio.get_running_loop().call_later(seconds, _wake_supervisor, agent)
        await asyncio.sleep(_RESTART_SECONDS * agent.concurrency)


def _wake_supervisor(agent: Any) -> None:
    if agent.supervisor is not None:
        agent.supervisor.wakeup()


class _OnDecodeError:
    """A message that can't be decoded is one that every agent raises on."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    async def __call__(self, error: Exception, message: Message) -> None:
        self._delivery.fail(message, error)


async def _refuse_ask(*_args: Any, **_kwargs: Any) -> Any:
    """Stands for ``agent.ask``."""
    msg = (
        "agent.ask is not supported: the reply would have to come while this partition waits for it. Use cast, "
        "and have the agent send its answer to a topic"
    )
    raise ConfigError(msg)
