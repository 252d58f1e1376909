"""A TCP proxy before Redis that takes a command and swallows its reply."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import Self
from urllib.parse import urlsplit


class CuttingProxy:
    """Forwards to a Redis; cuts a connection behind a command once ``cut`` was called.

    Args:
        url: the Redis behind.

    Attributes:
        url: how to reach it through the proxy.
        cuts: connections cut so far.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        self._target = (parts.hostname or "", parts.port or 0)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        self.url = url.replace(f":{parts.port}", f":{port}")
        self.cuts = 0
        self._wanted = threading.Event()
        self._late = threading.Event()
        self._delay = 0.0
        self._marker = b""
        self._threads: list[threading.Thread] = []
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._late.set()
        for open_socket in [self._listener, *self._sockets]:
            with contextlib.suppress(OSError):
                open_socket.shutdown(socket.SHUT_RDWR)
            open_socket.close()
        for thread in self._threads:
            thread.join(5)

    def spare(self) -> None:
        """Cut nothing after all."""
        self._wanted.clear()

    def cut(self, marker: bytes, *, delay_seconds: float = 0.0) -> None:
        """Cut the connection of the next command that holds ``marker``; it is forwarded after the delay."""
        self._marker, self._delay = marker, delay_seconds
        self._wanted.set()

    def _start(self, function: object, *args: object) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = self._listener.accept()
                try:
                    far = socket.create_connection(self._target)
                except OSError:
                    near.close()
                    continue
                self._sockets += [near, far]
                if self._late.is_set():
                    near.close()
                    far.close()
                    return
                self._start(self._forward, near, far)
                self._start(self._back, far, near)

    def _forward(self, near: socket.socket, far: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := near.recv(1 << 20):
                if self._wanted.is_set() and self._marker in data:
                    self._wanted.clear()
                    self.cuts += 1
                    near.shutdown(socket.SHUT_RDWR)
                    self._late.wait(self._delay)
                    far.sendall(data)
                    far.recv(1 << 20)
                    break
                far.sendall(data)
        with contextlib.suppress(OSError):
            far.shutdown(socket.SHUT_RDWR)

    @staticmethod
    def _back(far: socket.socket, near: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := far.recv(1 << 20):
                near.sendall(data)
        with contextlib.suppress(OSError):
            near.shutdown(socket.SHUT_RDWR)
