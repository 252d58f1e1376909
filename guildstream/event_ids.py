"""The identity of an event as a UUID: made from ``(session, seq, part)``, the same on every machine."""

from __future__ import annotations

from hashlib import blake2b

__all__ = ["event_uuid", "session_digest", "uuid_from"]


def session_digest(session: str) -> bytes:
    """Eight bytes that stand for a session in event ids."""
    return blake2b(session.encode(), digest_size=8).digest()


def event_uuid(session: str, seq: int, part: int) -> bytes:
    """The event's id: 16 bytes of a UUID version 8 (RFC 9562), the same on every machine.

    60 bits of the session's BLAKE2b digest, 46 of ``seq`` and 16 of ``part``; where either does not
    fit, all of it is digested instead.
    """
    return uuid_from(session_digest(session), seq, part)


def uuid_from(digest: bytes, seq: int, part: int) -> bytes:
    """``event_uuid`` with the session's digest at hand, for loops over one session's events."""
    if seq >> 46 or part >> 16:
        digest = blake2b(digest + seq.to_bytes(8, "big") + part.to_bytes(4, "big"), digest_size=16).digest()
        high, low = int.from_bytes(digest[:8], "big"), int.from_bytes(digest[8:], "big")
    else:
        seed = int.from_bytes(digest, "big")
        high = (seed & 0xFFFF_FFFF_FFFF_0000) | (seed >> 4 & 0xFFF)
        low = seq << 16 | part
    high = (high & ~0xF000) | 0x8000
    low = (low & 0x3FFF_FFFF_FFFF_FFFF) | 0x8000_0000_0000_0000
    return high.to_bytes(8, "big") + low.to_bytes(8, "big")
