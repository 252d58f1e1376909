"""Interactions and the audit log."""

from __future__ import annotations

from typing import Any, Final

from guildstream.discord.payloads import Event, Payload, event, optional_id, snowflake_ms

__all__ = ["command", "moderation"]

_KINDS: Final = {3: "component", 4: "autocomplete", 5: "modal"}
_COMMAND_KINDS: Final = {1: "slash", 2: "user", 3: "message"}
_COMMAND, _AUTOCOMPLETE = 2, 4
_SUBCOMMANDS: Final = (1, 2)
_MAX_NAME: Final = 64


def command(payload: Payload) -> list[Event]:
    """INTERACTION_CREATE in a guild; pings are none."""
    kind, data = payload["type"], payload.get("data") or {}
    if kind not in _KINDS and kind != _COMMAND:
        return []
    interaction_id = int(payload["id"])
    made: Event = {"interaction_id": interaction_id, "name": _name(kind, data)}
    made["kind"] = _COMMAND_KINDS.get(data.get("type", 1), "slash") if kind == _COMMAND else _KINDS[kind]
    if subcommand := " ".join(_subcommands(data)):
        made["subcommand"] = subcommand
    user = (payload.get("member") or payload).get("user") or {}
    return [
        event(
            "command",
            snowflake_ms(interaction_id),
            int(payload["guild_id"]),
            made,
            channel_id=optional_id(payload.get("channel_id")),
            user_id=optional_id(user.get("id")),
        )
    ]


def moderation(payload: Payload) -> list[Event]:
    """GUILD_AUDIT_LOG_ENTRY_CREATE: who did what to whom, and how long the reason was."""
    data: Event = {"action": payload["action_type"]}
    if target := optional_id(payload.get("target_id")):
        data["target_id"] = target
    if payload.get("reason"):
        data["reason"] = len(payload["reason"])
    ts = snowflake_ms(int(payload["id"]))
    user_id = optional_id(payload.get("user_id"))
    return [event("moderation", ts, int(payload["guild_id"]), data, user_id=user_id)]


def _name(kind: int, data: Payload) -> str:
    if kind in {_COMMAND, _AUTOCOMPLETE}:
        return str(data.get("name", ""))[:_MAX_NAME]
    # What a bot puts behind the first colon is often somebody's id or text: not ours to keep.
    return str(data.get("custom_id", "")).partition(":")[0][:_MAX_NAME]


def _subcommands(data: Any) -> list[str]:
    for option in data.get("options") or ():
        if isinstance(option, dict) and option.get("type") in _SUBCOMMANDS:
            return [str(option["name"]), *_subcommands(option)]
    return []
