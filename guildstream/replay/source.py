"""Where a replay's bytes come from: a file, plain or compressed, or standard input."""

from __future__ import annotations

import gzip
import hashlib
import os
import select
import sys
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Final, Protocol

import zstandard

from guildstream.errors import ConfigError, GuildstreamError

__all__ = ["BLOCK_BYTES", "DamagedFile", "FileSource", "Source", "StreamSource", "open_source", "read_lines"]

BLOCK_BYTES: Final = 1024 * 1024
_COMPRESSED_BLOCK_BYTES: Final = 16 * 1024
#: How long a silent stream may keep its reader from other things.
_IDLE_SECONDS: Final = 0.25
_BOM: Final = b"\xef\xbb\xbf"


class DamagedFile(GuildstreamError):
    """A compressed file ends early or is not what its name says; the lines before that were read."""


class Source(Protocol):
    """One input of a replay.

    Attributes:
        name: for messages.
        total_bytes: the file's size as it lies on disk; None where nobody knows.
        read_bytes: how much of that was read.
        waits: whether the next bytes may be a long time coming, so that what is there must not wait.
    """

    name: str
    total_bytes: int | None
    read_bytes: int
    waits: bool

    def blocks(self) -> Iterator[bytes]:
        """The uncompressed bytes from the beginning, once."""
        ...

    def digest(self) -> str:
        """SHA-256 of all of the uncompressed bytes, in hexadecimal. May read all of the input."""
        ...


def open_source(name: str) -> Source:
    """The source of that name; ``-`` is standard input.

    Raises:
        ConfigError: there is no such file, or it can't be read.
    """
    if name == "-":
        return StreamSource(sys.stdin.buffer, "standard input")
    return FileSource(Path(name))


class FileSource:
    """A file; ``.gz`` and ``.zst`` are decompressed on the way."""

    def __init__(self, path: Path) -> None:
        self.name = str(path)
        self.waits = False
        self.read_bytes = 0
        self._path = path
        try:
            with path.open("rb"):
                self.total_bytes: int | None = path.stat().st_size
        except OSError as error:
            raise ConfigError(f"{path} can't be read: {error.strerror}") from error

    def blocks(self) -> Iterator[bytes]:
        """The uncompressed bytes, about a mebibyte at a time."""
        with self._path.open("rb") as raw:
            for block in self._uncompressed(raw):
                self.read_bytes = raw.tell()
                yield block

    def digest(self) -> str:
        """SHA-256 of the uncompressed content: the same lines are the same source in any wrapping."""
        digest = hashlib.sha256()
        with self._path.open("rb") as raw:
            for block in self._uncompressed(raw):
                digest.update(block)
        return digest.hexdigest()

    def _uncompressed(self, raw: IO[bytes]) -> Iterator[bytes]:
        try:
            if self._path.suffix == ".gz":
                yield from _whole_blocks(gzip.GzipFile(fileobj=raw))
            elif self._path.suffix == ".zst":
                yield from _zstd_blocks(raw)
            else:
                yield from _whole_blocks(raw)
        except (EOFError, gzip.BadGzipFile, zlib.error, zstandard.ZstdError) as error:
            raise DamagedFile(f"{self.name} is damaged or not what its name says: {error}") from error


class StreamSource:
    """A stream that can be read once. Its digest needs its end: what is left waits in a temporary file."""

    def __init__(self, stream: IO[bytes], name: str) -> None:
        self.name = name
        self.total_bytes: int | None = None
        self.waits = True
        self.read_bytes = 0
        self._stream = stream
        self._digest = hashlib.sha256()
        self._rest: IO[bytes] | None = None

    def blocks(self) -> Iterator[bytes]:
        """The bytes as they come, up to a mebibyte at a time; empty while nothing comes."""
        ready = select.poll()  # unlike select.select it takes descriptors above 1,023
        ready.register(self._stream, select.POLLIN)
        while self._rest is None:
            if not ready.poll(_IDLE_SECONDS * 1000):
                yield b""
            elif block := self._next():
                self.read_bytes += len(block)
                yield block
            else:
                return
        with self._rest as rest:
            for block in _whole_blocks(rest):
                self.read_bytes += len(block)
                yield block

    def digest(self) -> str:
        """SHA-256 of all of the stream; reads it to its end, on disk and not in memory."""
        if self._rest is None:
            rest = tempfile.TemporaryFile()  # noqa: SIM115 - closed by blocks(), which reads it
            while block := self._next():
                rest.write(block)
            rest.seek(0)
            self._rest = rest
        return self._digest.hexdigest()

    def _next(self) -> bytes:
        block = os.read(self._stream.fileno(), BLOCK_BYTES)
        self._digest.update(block)
        return block


def _whole_blocks(stream: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    while block := stream.read(BLOCK_BYTES):
        yield block


def _zstd_blocks(raw: IO[bytes]) -> Iterator[bytes]:
    """Frames one after the other. The one-shot object is used because it knows whether its frame ended."""
    frame = zstandard.ZstdDecompressor().decompressobj()
    begun = False
    while block := raw.read(_COMPRESSED_BLOCK_BYTES):
        while block:
            begun = True
            yield frame.decompress(block)
            block = b""
            if frame.eof:
                block, begun = frame.unused_data, False
                frame = zstandard.ZstdDecompressor().decompressobj()
    if begun:
        raise EOFError("the last zstd frame has no end")


def read_lines(source: Source, limit_bytes: int) -> Iterator[list[bytes]]:
    """The lines of a source without their newlines, some thousand at a time, empty ones included.

    A line beyond the limit comes cut off at it, and is never in memory as a whole. A byte order mark
    at the beginning is left out.
    """
    tail, skipping, first = b"", False, True
    for block in source.blocks():
        if first and block:
            first, block = False, block.removeprefix(_BOM)  # noqa: PLW2901 - the same block, trimmed
        if skipping:
            _, newline, block = block.partition(b"\n")  # noqa: PLW2901 - the same block, trimmed
            skipping = not newline
            if skipping:
                continue
        lines = (tail + block).split(b"\n")
        tail = lines.pop()
        if len(tail) > limit_bytes:
            lines.append(tail)
            tail, skipping = b"", True
        yield [line[:limit_bytes] for line in lines] if _any_beyond(lines, limit_bytes) else lines
    if tail:
        yield [tail]


def _any_beyond(lines: list[bytes], limit_bytes: int) -> bool:
    return bool(lines) and max(map(len, lines)) > limit_bytes
