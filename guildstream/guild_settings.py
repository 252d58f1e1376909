"""A guild's own settings (DESIGN §5.4): what counts, what it is worth, when the guild's day begins.

They travel in the event stream as JSON merge patches (RFC 7386), so that a replay sees every change
in its place: an object changes the keys it names, ``null`` puts a key back to its default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import Annotated, Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec
from msgspec import Meta, Struct, field

from guildstream.errors import ConfigError

__all__ = [
    "DEFAULT_GUILD_SETTINGS",
    "Coefficients",
    "GuildSettings",
    "LevelTable",
    "change_settings",
    "curve_of",
    "parse_settings",
    "read_settings",
    "thousandths",
]

Points = Annotated[int, Meta(ge=0, le=1_000_000)]
Multiplier = Annotated[int, Meta(ge=0, le=1000)] | Annotated[float, Meta(ge=0, le=1000)]
SnowflakeKey = Annotated[str, Meta(pattern=r"^[1-9][0-9]{0,18}$")]
SnowflakeValue = Annotated[int, Meta(ge=1, le=2**63 - 1)] | SnowflakeKey
Requirement = Literal["not_afk", "not_deaf", "not_mute", "not_alone", "not_audience"]

#: Longest cooldown: a year. Longer is "once", which a cooldown can't promise.
_MAX_COOLDOWN_SECONDS: Final = 366 * 86_400


class _Strict(Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the settings; a misspelt key is an error, never ignored."""


class MessageXp(_Strict, frozen=True):
    """XP of a message: ``min`` to ``max``, at most once per cooldown."""

    min: Points = 15
    max: Points = 25
    cooldown_seconds: Annotated[int, Meta(ge=0, le=_MAX_COOLDOWN_SECONDS)] = 60


class VoiceXp(_Strict, frozen=True):
    """XP of each full minute in voice, and what must hold for time to count as active."""

    per_minute: Points = 5
    require: tuple[Requirement, ...] = ("not_afk", "not_deaf", "not_alone")


class ReactionXp(_Strict, frozen=True):
    """XP of a reaction, to who gave it and to whose message it was."""

    given: Points = 0
    received: Points = 0


class Multipliers(_Strict, frozen=True):
    """Factors by role and channel id, decimals of at most three places, and how several combine."""

    roles: dict[SnowflakeKey, Multiplier] = field(default_factory=dict)
    channels: dict[SnowflakeKey, Multiplier] = field(default_factory=dict)
    stacking: Literal["highest", "add", "multiply"] = "highest"


class Ignore(_Strict, frozen=True):
    """Where and by whom no XP is earned. Facts are kept all the same."""

    channels: tuple[SnowflakeValue, ...] = ()
    roles: tuple[SnowflakeValue, ...] = ()
    users: tuple[SnowflakeValue, ...] = ()
    bots: bool = True


class Xp(_Strict, frozen=True):
    """How points are earned."""

    message: MessageXp = MessageXp()
    voice: VoiceXp = VoiceXp()
    reaction: ReactionXp = ReactionXp()
    command: Points = 0
    daily_cap: Annotated[int, Meta(ge=0, le=2**53)] | None = None
    multipliers: Multipliers = Multipliers()
    ignore: Ignore = Ignore()


class Coefficients(_Strict, frozen=True):
    """From level L to L+1 it takes ``a·L² + b·L + c``."""

    coefficients: tuple[Points, Points, Annotated[int, Meta(ge=1, le=1_000_000)]]


class LevelTable(_Strict, frozen=True):
    """The total XP of level 1, 2, …; the last is the highest level there is."""

    table: Annotated[tuple[Annotated[int, Meta(ge=1, le=2**53)], ...], Meta(min_length=1, max_length=10_000)]


class Levels(_Strict, frozen=True):
    """The curve from XP to levels: ``mee6``, ``{"coefficients": [a, b, c]}`` or ``{"table": […]}``."""

    curve: Any = "mee6"


class Reward(_Strict, frozen=True):
    """A role that a level brings."""

    level: Annotated[int, Meta(ge=1, le=100_000)]
    role_id: SnowflakeValue


class VoicePolicy(_Strict, frozen=True):
    """What becomes of time in which nobody watched the guild's voice."""

    outage: Literal["clip", "credit", "drop"] = "clip"


class GuildSettings(_Strict, frozen=True):
    """All settings of a guild, defaults filled in."""

    timezone: str = "UTC"
    xp: Xp = Xp()
    levels: Levels = Levels()
    rewards: tuple[Reward, ...] = ()
    rewards_stack: bool = True
    voice: VoicePolicy = VoicePolicy()


DEFAULT_GUILD_SETTINGS: Final = GuildSettings()

_PATH = re.compile(r" - at `\$\.?([^`]*)`")


def parse_settings(document: Mapping[str, Any]) -> GuildSettings:
    """Check a whole settings document and fill in the defaults.

    Raises:
        ConfigError: a field is unknown or its value is not allowed; the message names the field.
    """
    try:
        settings = msgspec.convert(document, GuildSettings)
    except msgspec.ValidationError as error:
        text = str(error)
        where = found[1] if (found := _PATH.search(text)) else "the document"
        raise ConfigError(f"guild settings, {where}: {_PATH.sub('', text)}") from error
    _check(settings)
    return settings


def change_settings(stored: bytes, patch: Mapping[str, Any]) -> bytes:
    """The stored settings after a change, checked.

    Args:
        stored: what this function returned before; empty at first.
        patch: a JSON merge patch.

    Returns:
        JSON of what differs from the defaults.

    Raises:
        ConfigError: the outcome is not valid; the message names the field.
    """
    document = msgspec.json.decode(stored) if stored else {}
    changed = _merge(document, patch)
    parse_settings(changed)
    return msgspec.json.encode(changed, order="deterministic")


@lru_cache(maxsize=4096)
def read_settings(stored: bytes) -> GuildSettings:
    """Settings from what ``change_settings`` returned; empty bytes are the defaults."""
    return parse_settings(msgspec.json.decode(stored)) if stored else DEFAULT_GUILD_SETTINGS


def thousandths(multiplier: float) -> int:
    """A multiplier of at most three decimal places as a whole number of thousandths.

    Raises:
        ConfigError: it has more than three decimal places.
    """
    scaled = Decimal(str(multiplier)) * 1000
    if scaled != scaled.to_integral_value():
        raise ConfigError(f"a multiplier has at most three decimal places, not {multiplier}")
    return int(scaled)


def _merge(target: Any, patch: Mapping[str, Any]) -> dict[str, Any]:
    merged: dict[str, Any] = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merge(merged.get(name), value) if isinstance(value, dict) else value
    return merged


def _check(settings: GuildSettings) -> None:
    """What types can't say."""
    try:
        ZoneInfo(settings.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ConfigError(f"guild settings, timezone: {settings.timezone!r} is no IANA time zone") from error
    message = settings.xp.message
    if message.min > message.max:
        raise ConfigError(f"guild settings, xp.message: min {message.min} is above max {message.max}")
    for name in ("roles", "channels"):
        for key, value in getattr(settings.xp.multipliers, name).items():
            try:
                thousandths(value)
            except ConfigError as error:
                raise ConfigError(f"guild settings, xp.multipliers.{name}.{key}: {error}") from error
    curve_of(settings.levels.curve)


def curve_of(curve: Any) -> Coefficients | LevelTable:
    """The level curve that a ``levels.curve`` value describes.

    Raises:
        ConfigError: it is none of the three forms.
    """
    if curve == "mee6":
        return Coefficients((5, 50, 100))
    kind: type[Coefficients | LevelTable]
    kind = LevelTable if isinstance(curve, dict) and "table" in curve else Coefficients
    try:
        parsed: Coefficients | LevelTable = msgspec.convert(curve, kind)
    except msgspec.ValidationError as error:
        raise ConfigError(
            "guild settings, levels.curve: "
            f'"mee6", {{"coefficients": [a, b, c]}} or {{"table": [...]}} is expected: {error}'
        ) from error
    if isinstance(parsed, LevelTable) and any(b <= a for a, b in zip(parsed.table, parsed.table[1:], strict=False)):
        raise ConfigError("guild settings, levels.curve: each total of a table must be above the one before")
    return parsed
