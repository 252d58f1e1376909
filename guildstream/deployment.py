"""What a deployment is: the facts in ``gs:meta`` that every component must agree on."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

import redis
import redis.asyncio

from guildstream.clock import SYSTEM_CLOCK
from guildstream.errors import ConfigError
from guildstream.events import CONTRACT_VERSION
from guildstream.keys import Keys

__all__ = ["Deployment", "ensure_deployment", "ensure_deployment_async"]


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment.

    Attributes:
        id: 16 hexadecimal digits, drawn when the deployment was created.
        generation: raised by a repartition.
        partitions: P.
        created_ms: when, milliseconds since the epoch.
    """

    id: str
    generation: int
    partitions: int
    created_ms: int


def ensure_deployment(client: redis.Redis, keys: Keys, partitions: int) -> Deployment:
    """Read the deployment, creating it where Redis holds none. Idempotent and safe to race.

    Raises:
        ConfigError: Redis holds a deployment with another partition count or contract version.
    """
    pipe = client.pipeline(transaction=True)
    for field, value in _initial(partitions).items():
        pipe.hsetnx(keys.meta, field, value)
    pipe.hgetall(keys.meta)
    return _read(pipe.execute()[-1], keys, partitions)


async def ensure_deployment_async(client: redis.asyncio.Redis, keys: Keys, partitions: int) -> Deployment:
    """``ensure_deployment`` for asyncio."""
    pipe = client.pipeline(transaction=True)
    for field, value in _initial(partitions).items():
        pipe.hsetnx(keys.meta, field, value)
    pipe.hgetall(keys.meta)
    return _read((await pipe.execute())[-1], keys, partitions)


def _initial(partitions: int) -> dict[str, str | int]:
    return {
        "partitions": partitions,
        "contract_version": CONTRACT_VERSION,
        "created": SYSTEM_CLOCK.now_ms(),
        "deployment": secrets.token_hex(8),
        "generation": 0,
    }


def _read(found: dict[bytes, bytes], keys: Keys, partitions: int) -> Deployment:
    version = int(found[b"contract_version"])
    if version != CONTRACT_VERSION:
        msg = f"{keys.meta} was created for contract version {version}, this release speaks {CONTRACT_VERSION}"
        raise ConfigError(msg)
    actual = int(found[b"partitions"])
    if actual != partitions:
        msg = (
            f"{keys.meta} says this deployment has {actual} partitions, the settings say {partitions}: set "
            f"GUILDSTREAM_PARTITIONS={actual}, or use another GUILDSTREAM_PREFIX for a new deployment"
        )
        raise ConfigError(msg)
    return Deployment(
        id=found[b"deployment"].decode(),
        generation=int(found[b"generation"]),
        partitions=actual,
        created_ms=int(found[b"created"]),
    )
