"""Questions to a server over its socket: does it take commands yet. No driver is needed for them."""

from __future__ import annotations

import socket
import struct
from typing import Final

__all__ = ["LOOPBACK", "free_port", "port_is_free", "postgres_answers", "redis_answers"]

LOOPBACK: Final = "127.0.0.1"
_TIMEOUT_SECONDS: Final = 3.0
#: Protocol 3.0, and the byte that begins a request for authentication.
_PROTOCOL: Final = 196_608
_AUTHENTICATION: Final = b"R"


def free_port() -> int:
    """A loopback port that nobody listens on at this moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((LOOPBACK, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Whether a server could listen on this loopback port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
    return True


def redis_answers(port: int, password: str) -> bool:
    """Whether a redis-server with this password serves commands: it listens and has loaded its data."""
    return _ask(port, f"AUTH {password}\r\nPING\r\n".encode(), b"+OK\r\n+PONG\r\n")


def postgres_answers(port: int) -> bool:
    """Whether PostgreSQL accepts connections: it listens and isn't starting up or shutting down."""
    parameters = b"user\0guildstream\0database\0guildstream\0\0"
    return _ask(port, struct.pack("!ii", len(parameters) + 8, _PROTOCOL) + parameters, _AUTHENTICATION)


def _ask(port: int, question: bytes, answer: bytes) -> bool:
    heard = b""
    try:
        with socket.create_connection((LOOPBACK, port), timeout=_TIMEOUT_SECONDS) as connection:
            connection.sendall(question)
            while len(heard) < len(answer):
                piece = connection.recv(len(answer) - len(heard))
                if not piece:
                    break
                heard += piece
    except OSError:
        return False
    return heard == answer
