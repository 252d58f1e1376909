"""What we rely on inside hikari."""

from __future__ import annotations

import pytest
from hikari.impl import shard as hikari_shard

from gateway import resumption
from gateway.resumption import SHARD_ATTRIBUTES, ShardSession, check_hikari, prime, session_of
from gateway.sessions import is_dead, process_name
from guildstream.errors import ConfigError


def test_this_hikari_has_the_attributes() -> None:
    check_hikari()
    for name in SHARD_ATTRIBUTES:
        assert name in hikari_shard.GatewayShardImpl.__slots__


def test_a_hikari_without_them_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resumption, "SHARD_ATTRIBUTES", ("_session_id", "_gone"))
    with pytest.raises(ConfigError, match="_gone"):
        check_hikari()


def test_a_primed_shard_says_what_it_was_primed_with() -> None:
    class Shard:
        _session_id = _seq = _resume_gateway_url = _user_id = None

    shard = Shard()
    session = ShardSession("abc", 17, "wss://gateway.example", 5, 1_700_000_000_000)
    assert session_of(shard, "abc", 17, 1_700_000_000_000) is None
    prime(shard, session)
    assert session_of(shard, "abc", 17, 1_700_000_000_000) == session
    assert session_of(shard, "another", 17, 1_700_000_000_000) is None


def test_this_process_is_alive_and_a_recycled_pid_is_dead() -> None:
    name = process_name()
    assert not is_dead(name)
    machine, pid, started, nonce = name.split("/")
    assert is_dead(f"{machine}/{pid}/{int(started) - 1}/{nonce}")
    assert is_dead(f"{machine}/999999999/{started}/{nonce}")
    assert not is_dead(f"elsewhere/{pid}/{int(started) - 1}/{nonce}")
    assert not is_dead("nonsense")
