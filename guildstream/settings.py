"""Settings of a deployment: environment variables ``GUILDSTREAM_*``, documented in one table.

``docs/settings.md`` is generated from the fields below; a per-guild setting is another thing
(``guildstream.guild_settings``) and travels in the stream.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from guildstream.errors import ConfigError
from guildstream.keys import DEFAULT_PARTITIONS, DEFAULT_PREFIX

__all__ = ["Settings", "default_data_dir", "load_settings"]

_ENV_PREFIX: Final = "GUILDSTREAM_"
#: What orchestrators inject for a service named guildstream.
_INJECTED = re.compile(r"^GUILDSTREAM_(?:.*_)?(?:SERVICE|PORT)(?:_.*)?$")


class Settings(BaseSettings):
    """Everything that an operator may set for the whole deployment."""

    model_config = SettingsConfigDict(env_prefix=_ENV_PREFIX, frozen=True, extra="ignore")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """``load_settings`` decides what of the environment counts; pydantic reads none of it by itself."""
        del settings_cls, env_settings, dotenv_settings, file_secret_settings
        return (init_settings,)

    redis_url: str | None = Field(
        None, description="Redis, as redis://, unix://, redis+cluster:// or redis+sentinel://; embedded where absent."
    )
    database_url: SecretStr | None = Field(None, description="PostgreSQL, as postgresql://; embedded where absent.")
    discord_token: SecretStr | None = Field(None, description="The bot's token; only the gateway needs it.")
    discord_rest_url: str = Field(
        "https://discord.com/api/v10", description="Discord's REST API, or a stand-in for it."
    )
    intents: str = Field(
        "",
        pattern=r"^\s*(?:(?:members|message_content)\s*(?:,\s*|$))*$",
        description="Privileged intents to ask for, comma-separated: members, message_content.",
    )
    shard_count: int | None = Field(None, ge=1, description="Shards of the whole bot; Discord's advice where absent.")
    shard_ids: str = Field(
        "",
        pattern=r"^(?:\d+(?:-\d+)?(?:,|$))*$",
        description="Shards of this gateway, such as 0-3 or 0,2; all where absent. Needs shard_count.",
    )
    simulator_port: int = Field(0, ge=0, le=65535, description="Port of the simulated Discord; 0 takes a free one.")
    simulator_guilds: int = Field(20, ge=1, le=2_500, description="Guilds of the simulated Discord.")
    simulator_rate: float = Field(200.0, ge=0, description="Events a second of the simulated Discord.")
    simulator_seed: int = Field(1, description="Seed of the simulated Discord: the same seed, the same people.")
    data_dir: Path | None = Field(None, description="Where embedded servers, spools and logs live.")
    prefix: str = Field(DEFAULT_PREFIX, pattern=r"^[A-Za-z0-9_.-]{1,40}$", description="First part of every Redis key.")
    partitions: int = Field(
        DEFAULT_PARTITIONS, ge=1, le=1024, description="Number of partitions; fixed when a deployment is created."
    )
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field(
        "text", pattern="^(text|json)$", description="Log lines for people (text) or machines (json)."
    )
    http_host: str = Field("127.0.0.1", description="Address of /healthz, /readyz and /metrics.")
    http_port: int = Field(0, ge=0, le=65535, description="Port of the same; 0 takes a free one, named in the log.")
    window_seconds: int = Field(60, description="Length of a window; divides 15 minutes.")
    grace_seconds: float = Field(
        5.0, ge=0, description="How far an event's own time holds its source's watermark back."
    )
    early_pane_seconds: float = Field(
        5.0, ge=0, description="How often an open window shows what it has; 0: at every commit."
    )
    reaction_memory_days: int = Field(
        7, ge=1, le=366, description="How long a reaction can be taken back, in days of event time."
    )
    purge_days: int = Field(
        30, ge=0, le=3660, description="A guild is erased so long after the bot was removed from it, in days; 0: never."
    )
    erasure_key: SecretStr = Field(
        SecretStr(""), description="Keys the hashes that remain of erased members; set it once, before the first."
    )
    commit_interval_ms: int = Field(250, ge=1, description="A commit is due after this time.")
    commit_events: int = Field(10_000, ge=1, description="A commit is due after this many events.")
    commit_bytes: int = Field(4 * 1024 * 1024, ge=65_536, description="A commit is due after this many bytes of input.")
    chunk_events: int = Field(4_000, ge=1, description="The most events that an agent is handed at once.")
    chunk_bytes: int = Field(1024 * 1024, ge=1024, description="The most bytes of the same.")
    lease_seconds: float = Field(5.0, ge=1, description="A crashed worker's partitions move after this time.")
    state_cache_mib: int = Field(256, ge=16, description="Memory for cached keyed state in one processor, MiB.")
    keep_events_seconds: float = Field(
        0, ge=0, description="Events stay in Redis so much longer than the slowest consumer needs them, to be replayed."
    )
    retain_days: float = Field(7, gt=0, description="How long dead letters and notices stay in Redis, in days.")
    store_events: bool = Field(True, description="Keep every accepted event in guildstream.events.")
    sink_batch_events: int = Field(40_000, ge=1, description="The most events that the sink loads in one transaction.")
    refresh_seconds: float = Field(5.0, gt=0, description="How often the delta log is folded into the aggregates.")
    memory_slow: float = Field(
        0.75, gt=0, le=1, description="Publishers slow down above this part of Redis' maxmemory, if that is set."
    )
    memory_stop: float = Field(0.9, gt=0, le=1, description="And stop, or spool to disk, above this part.")
    spool_mib: int = Field(512, ge=1, description="Disk for events while Redis is away, MiB.")


def default_data_dir() -> Path:
    """``~/.local/share/guildstream``, or ``/var/lib/guildstream`` for root."""
    if os.geteuid() == 0:
        return Path("/var/lib/guildstream")
    return Path.home() / ".local" / "share" / "guildstream"


def load_settings(environ: Mapping[str, str] | None = None, **overrides: object) -> Settings:
    """Read and check the settings.

    Args:
        environ: the environment; the process's own if absent.
        overrides: fields that win over the environment.

    Raises:
        ConfigError: a variable is unknown or its value is out of range; the message names it.
    """
    environ = os.environ if environ is None else environ
    known = {f"{_ENV_PREFIX}{name.upper()}": name for name in Settings.model_fields}
    values: dict[str, object] = {}
    for variable, value in environ.items():
        if not variable.startswith(_ENV_PREFIX):
            continue
        if variable not in known:
            if _INJECTED.match(variable):
                continue
            msg = f"{variable} is not a setting; see docs/settings.md for those that are"
            raise ConfigError(msg)
        values[known[variable]] = value
    values.update({name: value for name, value in overrides.items() if value is not None})
    try:
        settings = Settings.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(
            f"{_ENV_PREFIX}{str(item['loc'][0]).upper()}: {item['msg']} (it is {item['input']!r})"
            if "token" not in str(item["loc"]) and "database" not in str(item["loc"])
            else f"{_ENV_PREFIX}{str(item['loc'][0]).upper()}: {item['msg']}"
            for item in error.errors()
        )
        raise ConfigError(problems) from error
    if (15 * 60) % settings.window_seconds:
        msg = f"{_ENV_PREFIX}WINDOW_SECONDS is {settings.window_seconds}: it must divide 900 (15 minutes)"
        raise ConfigError(msg)
    return settings
