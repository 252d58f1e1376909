from __future__ import annotations

import msgspec
import pytest

from guildstream.errors import ConfigError
from guildstream.guild_settings import (
    DEFAULT_GUILD_SETTINGS,
    Coefficients,
    LevelTable,
    change_settings,
    curve_of,
    parse_settings,
    read_settings,
    thousandths,
)

DOCUMENTED = {
    "timezone": "UTC",
    "xp": {
        "message": {"min": 15, "max": 25, "cooldown_seconds": 60},
        "voice": {"per_minute": 5, "require": ["not_afk", "not_deaf", "not_alone"]},
        "reaction": {"given": 0, "received": 0},
        "command": 0,
        "daily_cap": None,
        "multipliers": {"roles": {}, "channels": {}, "stacking": "highest"},
        "ignore": {"channels": [], "roles": [], "users": [], "bots": True},
    },
    "levels": {"curve": "mee6"},
    "rewards": [],
    "rewards_stack": True,
    "voice": {"outage": "clip"},
}


def test_the_defaults_are_those_of_the_design() -> None:
    assert parse_settings(DOCUMENTED) == parse_settings({}) == DEFAULT_GUILD_SETTINGS
    assert (
        msgspec.to_builtins(DEFAULT_GUILD_SETTINGS, str_keys=True)
        == msgspec.json.decode(msgspec.json.encode(DOCUMENTED))
        or msgspec.json.decode(msgspec.json.encode(DEFAULT_GUILD_SETTINGS)) == DOCUMENTED
    )


@pytest.mark.parametrize(
    ("document", "named"),
    [
        ({"time_zone": "UTC"}, "time_zone"),
        ({"timezone": "Mars/Olympus"}, "timezone"),
        ({"timezone": "../etc/passwd"}, "timezone"),
        ({"xp": {"message": {"min": 30}}}, "xp.message"),
        ({"xp": {"message": {"min": -1}}}, "xp.message.min"),
        ({"xp": {"message": {"min": "15"}}}, "xp.message.min"),
        ({"xp": {"voice": {"require": ["not_asleep"]}}}, "xp.voice.require"),
        ({"xp": {"multipliers": {"roles": {"12": 1.2345}}}}, "xp.multipliers.roles.12"),
        ({"xp": {"multipliers": {"channels": {"x": 1}}}}, "xp.multipliers.channels"),
        ({"xp": {"ignore": {"users": ["abc"]}}}, "xp.ignore.users"),
        ({"xp": {"daily_cap": -5}}, "xp.daily_cap"),
        ({"levels": {"curve": "arcane"}}, "levels.curve"),
        ({"levels": {"curve": {"coefficients": [0, 0, 0]}}}, "levels.curve"),
        ({"levels": {"curve": {"table": [10, 10]}}}, "levels.curve"),
        ({"voice": {"outage": "guess"}}, "voice.outage"),
    ],
)
def test_an_error_names_the_field(document: dict[str, object], named: str) -> None:
    with pytest.raises(ConfigError, match=named.replace(".", r"\.")):
        parse_settings(document)


def test_changes_merge_and_null_puts_back_the_default() -> None:
    stored = change_settings(b"", {"xp": {"message": {"min": 1}, "command": 3}, "timezone": "Asia/Tokyo"})
    stored = change_settings(stored, {"xp": {"message": {"max": 40}, "command": None}})
    settings = read_settings(stored)
    assert (settings.xp.message.min, settings.xp.message.max, settings.xp.command) == (1, 40, 0)
    assert settings.timezone == "Asia/Tokyo"
    assert read_settings(change_settings(stored, {"xp": None, "timezone": None})) == DEFAULT_GUILD_SETTINGS


def test_a_change_that_breaks_the_whole_is_refused() -> None:
    stored = change_settings(b"", {"xp": {"message": {"max": 20}}})
    with pytest.raises(ConfigError, match="min 21 is above max 20"):
        change_settings(stored, {"xp": {"message": {"min": 21}}})


def test_curves() -> None:
    assert curve_of("mee6") == Coefficients((5, 50, 100))
    assert curve_of({"coefficients": [1, 2, 3]}) == Coefficients((1, 2, 3))
    assert curve_of({"table": [10, 30]}) == LevelTable((10, 30))


def test_thousandths_are_exact() -> None:
    assert [thousandths(factor) for factor in (0, 1, 0.001, 1.1, 2.675)] == [0, 1000, 1, 1100, 2675]
    with pytest.raises(ConfigError, match="three decimal places"):
        thousandths(0.0005)
