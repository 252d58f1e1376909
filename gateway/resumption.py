"""How to make hikari resume a session that another process began: the only place that touches its insides.

hikari resumes within a process only. A shard whose four private attributes are set before it starts
sends RESUME instead of IDENTIFY; ``check_hikari`` makes a release of hikari without them an error at
start rather than a silent IDENTIFY.
"""

# ruff: noqa: SLF001  # the purpose of this module; a test sees that the names exist
from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import hikari
from hikari.impl import shard as hikari_shard

from guildstream.errors import ConfigError

__all__ = ["SHARD_ATTRIBUTES", "ShardSession", "check_hikari", "prime", "session_of"]

#: Private attributes of ``hikari.impl.shard.GatewayShardImpl`` that this release of ours relies on.
SHARD_ATTRIBUTES: Final = ("_session_id", "_seq", "_resume_gateway_url", "_user_id", "_ws")


@dataclass(frozen=True, slots=True)
class ShardSession:
    """What it takes to resume.

    Attributes:
        session_id: Discord's session id.
        seq: number of the last dispatch whose events are safe.
        resume_gateway_url: where to connect.
        user_id: the bot's user.
        at_ms: when Discord was last heard of.
    """

    session_id: str
    seq: int
    resume_gateway_url: str
    user_id: int
    at_ms: int


def check_hikari() -> None:
    """See that this hikari has what resuming needs.

    Raises:
        ConfigError: it hasn't; names the version.
    """
    missing = [name for name in SHARD_ATTRIBUTES if name not in hikari_shard.GatewayShardImpl.__slots__]
    if missing:
        raise ConfigError(
            f"hikari {hikari.__version__} has no {', '.join(missing)} in its shards, which resuming across restarts "
            "needs: install a release of guildstream that knows it, or an older hikari"
        )


def prime(shard: Any, session: ShardSession) -> None:
    """Make a shard that was not started yet resume a session when it is."""
    shard._session_id = session.session_id
    shard._seq = session.seq
    shard._resume_gateway_url = session.resume_gateway_url
    shard._user_id = hikari.Snowflake(session.user_id)


def session_of(shard: Any, session_id: str, seq: int, at_ms: int) -> ShardSession | None:
    """What to store of a running shard, or None while it has no session, or another than ``session_id``."""
    if shard._session_id != session_id or not shard._resume_gateway_url or not shard._user_id:
        return None
    return ShardSession(session_id, seq, shard._resume_gateway_url, int(shard._user_id), at_ms)
