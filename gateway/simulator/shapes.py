"""What Discord's objects carry besides what matters here; a client that reads all of it must find it."""

from __future__ import annotations

from typing import Any, Final

__all__ = ["GUILD", "INTERACTION", "ROLE", "attachment", "channel"]

Payload = dict[str, Any]

GUILD: Final[Payload] = {
    "afk_timeout": 300,
    "application_id": None,
    "banner": None,
    "default_message_notifications": 0,
    "description": None,
    "emojis": [],
    "explicit_content_filter": 0,
    "features": [],
    "icon": None,
    "mfa_level": 0,
    "nsfw_level": 0,
    "preferred_locale": "en-US",
    "premium_tier": 0,
    "public_updates_channel_id": None,
    "rules_channel_id": None,
    "splash": None,
    "stickers": [],
    "system_channel_flags": 0,
    "system_channel_id": None,
    "vanity_url_code": None,
    "verification_level": 1,
}
ROLE: Final[Payload] = {
    "color": 0,
    "hoist": False,
    "managed": False,
    "mentionable": False,
    "permissions": "104324673",
}
INTERACTION: Final[Payload] = {
    "version": 1,
    "token": "simulated",
    "locale": "en-US",
    "guild_locale": "en-US",
    "app_permissions": "0",
    "authorizing_integration_owners": {},
    "context": 0,
    "attachment_size_limit": 10_485_760,
    "entitlements": [],
}
_CHANNEL: Final[Payload] = {"permission_overwrites": [], "parent_id": None, "nsfw": False, "topic": None}
_VOICE: Final[Payload] = {"bitrate": 64_000, "user_limit": 0, "rtc_region": None}
_TEXT: Final = 0


def channel(channel_id: int, kind: int, name: str, position: int) -> Payload:
    """A channel object."""
    made = {"id": str(channel_id), "type": kind, "name": name, "position": position, **_CHANNEL}
    return made if kind == _TEXT else made | _VOICE


def attachment(attachment_id: int) -> Payload:
    """An attachment object."""
    url = f"https://cdn.example/{attachment_id}/clip.png"
    return {"id": str(attachment_id), "filename": "clip.png", "size": 1024, "url": url, "proxy_url": url}
