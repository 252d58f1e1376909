"""Events on disk, in order, while Redis is away.

A spool is a folder of segment files. A record is a header (length and CRC-32 of the body) and a
body (partition, source, payload); a torn or rotten record ends its segment. Records are written
and flushed to the disk (``fsync``) a batch at a time before they count as spooled, so they survive
SIGKILL and a power cut. How far a segment was read is kept in memory only: after a crash, records
that Redis already has are sent again, and readers drop them as known duplicates.
"""

from __future__ import annotations

import fcntl
import logging
import os
import struct
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple

from guildstream.errors import ConfigError

__all__ = ["Record", "Spool", "SpoolFull"]

_log = logging.getLogger("guildstream.publisher.spool")

_HEADER = struct.Struct(">II")
_BODY = struct.Struct(">HH")
_SUFFIX: Final = ".spool"
_SEGMENT_BYTES: Final = 4 * 1024 * 1024


class SpoolFull(OSError):
    """The spool has reached its bound, or the disk refuses; nothing of the batch was kept."""


class Record(NamedTuple):
    """One event on its way.

    Attributes:
        partition: where it goes.
        source: its ``session``, UTF-8.
        payload: the event's JSON.
    """

    partition: int
    source: bytes
    payload: bytes


class Spool:
    """The records that wait, oldest first. Not thread-safe: one thread owns it.

    Args:
        folder: made if absent; one process at a time may have it.
        max_bytes: bound of all segments together.
        segment_bytes: a segment is closed when it reaches this size.

    Raises:
        ConfigError: the folder can't be used, or another process has it.
    """

    def __init__(self, folder: Path, *, max_bytes: int, segment_bytes: int = _SEGMENT_BYTES) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._segment_bytes = segment_bytes
        self._lock = _lock_folder(folder)
        self._sizes = {path: path.stat().st_size for path in sorted(folder.glob(f"*{_SUFFIX}"))}
        self._next_number = 1 + max((int(path.stem) for path in self._sizes), default=0)
        self._tail: int | None = None
        self._head: Iterator[Record] | None = None

    @property
    def bytes(self) -> int:
        """Bytes on disk, those already sent but not yet deleted included."""
        return sum(self._sizes.values())

    @property
    def empty(self) -> bool:
        """Whether nothing waits."""
        return not self._sizes

    def append(self, records: Sequence[Record]) -> None:
        """Write records after all others; on the disk when this returns. Blocks for the disk.

        Raises:
            SpoolFull: none of them was kept.
        """
        block = b"".join(map(_encode, records))
        if self.bytes + len(block) > self._max_bytes:
            raise SpoolFull(f"the spool in {self._folder} holds {self.bytes} bytes; {self._max_bytes} are allowed")
        try:
            path, descriptor = self._open_tail()
        except OSError as error:
            raise SpoolFull(f"the spool in {self._folder} can't be written: {error}") from error
        size = self._sizes[path]
        try:
            _write_all(descriptor, block)
            os.fsync(descriptor)
        except OSError as error:
            os.ftruncate(descriptor, size)
            raise SpoolFull(f"the spool in {self._folder} can't be written: {error}") from error
        self._sizes[path] = size + len(block)
        if self._sizes[path] >= self._segment_bytes:
            self._close_tail()

    def read(self, max_records: int) -> list[Record]:
        """The next records in order, empty when all were read. Reading on is what forgets them.

        A segment is deleted when something is read after its last record, so ask for more only when
        Redis has what was read before. One that is still written is closed first.
        """
        found: list[Record] = []
        while not found and self._sizes:
            if self._head is None:
                if len(self._sizes) == 1:
                    self._close_tail()
                self._head = _records(next(iter(self._sizes)))
            for record in self._head:
                found.append(record)
                if len(found) >= max_records:
                    return found
            if not found:
                self._drop_head()
        return found

    def close(self) -> None:
        """Close files and let go of the folder; what waits stays on disk."""
        self._close_tail()
        os.close(self._lock)

    def _open_tail(self) -> tuple[Path, int]:
        if self._tail is None:
            path = self._folder / f"{self._next_number:010d}{_SUFFIX}"
            self._tail = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
            self._next_number += 1
            self._sizes[path] = 0
            # The file's name must survive a power cut too, not only what is in it.
            _sync_folder(self._folder)
        return next(reversed(self._sizes)), self._tail

    def _close_tail(self) -> None:
        if self._tail is not None:
            os.close(self._tail)
            self._tail = None

    def _drop_head(self) -> None:
        path = next(iter(self._sizes))
        path.unlink(missing_ok=True)
        del self._sizes[path]
        self._head = None


def _encode(record: Record) -> bytes:
    body = _BODY.pack(record.partition, len(record.source)) + record.source + record.payload
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def _records(path: Path) -> Iterator[Record]:
    """The whole records of a segment, up to the first that is torn."""
    data = path.read_bytes()
    at = 0
    while at + _HEADER.size <= len(data):
        length, checksum = _HEADER.unpack_from(data, at)
        body = data[at + _HEADER.size : at + _HEADER.size + length]
        if len(body) < length or length < _BODY.size or zlib.crc32(body) != checksum:
            break
        at += _HEADER.size + length
        partition, source_bytes = _BODY.unpack_from(body)
        split = _BODY.size + source_bytes
        yield Record(partition, body[_BODY.size : split], body[split:])
    if at < len(data):
        _log.warning(
            "%s ends in %d bytes that are no whole record: written while the process or the machine went down",
            path,
            len(data) - at,
        )


def _write_all(descriptor: int, block: bytes) -> None:
    view = memoryview(block)
    while view:
        view = view[os.write(descriptor, view) :]


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _lock_folder(folder: Path) -> int:
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ConfigError(f"the spool folder {folder} can't be used: {error}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(descriptor)
        raise ConfigError(f"another process uses the spool folder {folder}; each publisher needs its own") from error
    return descriptor
