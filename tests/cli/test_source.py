"""Reading lines out of files, compressed files and streams."""

from __future__ import annotations

import gzip
import hashlib
import os
import threading
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from guildstream.errors import ConfigError
from guildstream.replay.source import BLOCK_BYTES, DamagedFile, FileSource, StreamSource, open_source, read_lines

LIMIT = 1024 * 1024
CONTENT = b"".join(b'{"line":%d}\n' % number for number in range(200_000))


def lines_of(path: Path, limit: int = LIMIT) -> list[bytes]:
    return [line for lines in read_lines(FileSource(path), limit) for line in lines]


@pytest.fixture(params=["plain", "gz", "zst", "zst in two frames"])
def wrapped(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    half = CONTENT.index(b"\n", len(CONTENT) // 2)
    kind: str = request.param
    data = {
        "plain": CONTENT,
        "gz": gzip.compress(CONTENT),
        "zst": zstandard.compress(CONTENT),
        "zst in two frames": zstandard.compress(CONTENT[:half]) + zstandard.compress(CONTENT[half:]),
    }[kind]
    path = tmp_path / {"plain": "f.jsonl", "gz": "f.jsonl.gz"}.get(kind, "f.jsonl.zst")
    path.write_bytes(data)
    return path


def test_the_same_lines_and_the_same_digest_in_any_wrapping(wrapped: Path) -> None:
    assert lines_of(wrapped) == CONTENT.splitlines()
    assert FileSource(wrapped).digest() == hashlib.sha256(CONTENT).hexdigest()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(st.binary(max_size=200), st.integers(1, 20))
def test_lines_are_what_lies_between_newlines(tmp_path: Path, content: bytes, limit: int) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    expected = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert lines_of(path, limit) == [line[:limit] for line in expected]


def test_a_line_beyond_the_limit_is_cut_and_its_neighbours_are_whole(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"before\n" + b"x" * (4 * BLOCK_BYTES + 77) + b"\nafter")
    assert lines_of(path) == [b"before", b"x" * LIMIT, b"after"]


@pytest.mark.parametrize("name", ["f.gz", "f.zst"])
def test_a_damaged_file_says_so_after_the_lines_before_the_damage(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    data = gzip.compress(CONTENT) if name == "f.gz" else zstandard.compress(CONTENT)
    path.write_bytes(data[: len(data) - 10])
    seen: list[bytes] = []
    batches = read_lines(FileSource(path), LIMIT)
    with pytest.raises(DamagedFile, match=name):
        seen.extend(line for lines in batches for line in lines)
    assert seen


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nothing\.jsonl can't be read: No such file"):
        open_source(str(tmp_path / "nothing.jsonl"))


def test_the_digest_of_a_stream_waits_for_its_end_and_loses_nothing() -> None:
    read_end, write_end = os.pipe()

    def write() -> None:
        with os.fdopen(write_end, "wb") as sender:
            sender.write(CONTENT)

    writer = threading.Thread(target=write)
    with os.fdopen(read_end, "rb") as stream:
        writer.start()
        source = StreamSource(stream, "a pipe")
        found: list[bytes] = []
        digest = ""
        for lines in read_lines(source, LIMIT):
            found += lines
            digest = digest or source.digest()
        writer.join()
    assert found == CONTENT.splitlines()
    assert digest == hashlib.sha256(CONTENT).hexdigest()
    assert source.read_bytes == len(CONTENT)
