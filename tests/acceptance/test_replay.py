"""The main job: a file of events, replayed, gives what a plain loop over it gives; under kills too."""

from __future__ import annotations

import json
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.generate import events
from tests.acceptance.pipeline import command, expected, kill_component, loaded, query, run
from tests.acceptance.plain_loop import PlainLoop
from tests.servers import open_temp_dir, wait_until


@pytest.fixture(scope="module")
def history() -> list[dict[str, Any]]:
    """Three days of five guilds."""
    return list(events(30_000, guilds=5, members=400, hours=72, seed=7))


@pytest.fixture(scope="module")
def answer(history: list[dict[str, Any]]) -> dict[str, Any]:
    return expected(PlainLoop().run(history))


@pytest.fixture
def data_dir() -> Iterator[Path]:
    with open_temp_dir("gs-acceptance-") as directory:
        yield directory / "data"


def write(path: Path, lines: list[Any]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines))
    return path


def test_a_replay_equals_a_plain_loop_and_a_second_one_changes_nothing(
    data_dir: Path, tmp_path: Path, history: list[dict[str, Any]], answer: dict[str, Any]
) -> None:
    file = write(tmp_path / "events.jsonl", history)
    summary = json.loads(run(data_dir, "replay", str(file), "--drain", "--json"))
    assert summary["accepted"] == len(history)
    assert loaded(data_dir) == answer
    assert query(data_dir, "select count(*) as n from guildstream.events") == [{"n": len(history)}]

    again = json.loads(run(data_dir, "replay", str(file), "--drain", "--json"))
    assert (again["accepted"], again["duplicates"]) == (0, len(history))
    assert again["changes_nothing"]
    assert loaded(data_dir) == answer


@pytest.mark.chaos
def test_killing_worker_and_sink_ten_times_changes_nothing(
    data_dir: Path, tmp_path: Path, history: list[dict[str, Any]], answer: dict[str, Any]
) -> None:
    file = write(tmp_path / "events.jsonl", history)
    draw = random.Random(11)
    replay = subprocess.Popen(
        command(data_dir, "replay", "-", "--drain", "--json"), stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert replay.stdin is not None
    lines = file.read_bytes().splitlines(keepends=True)
    share = len(lines) // 11
    try:
        # The file is fed in shares, with a kill after each, so that kills fall into the work and not behind it.
        for number in range(10):
            replay.stdin.write(b"".join(lines[number * share : (number + 1) * share]))
            replay.stdin.flush()
            for name in draw.choice([["processor"], ["sink"], ["processor", "sink"]]):
                wait_until(lambda name=name: kill_component(replay.pid, name), deadline_seconds=60, what=f"a {name}")
        replay.stdin.write(b"".join(lines[10 * share :]))
        output, _ = replay.communicate(timeout=180)
    finally:
        replay.kill()
        replay.wait()
    assert replay.returncode == 0
    assert json.loads(output)["drained"]
    assert loaded(data_dir) == answer
    assert query(data_dir, "select count(*) as n from guildstream.events") == [{"n": len(history)}]


@pytest.mark.chaos
def test_ctrl_c_and_starting_again_changes_nothing(
    data_dir: Path, tmp_path: Path, history: list[dict[str, Any]], answer: dict[str, Any]
) -> None:
    file = write(tmp_path / "events.jsonl", history)
    first = subprocess.Popen(
        command(data_dir, "replay", "-", "--drain"), stdin=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert first.stdin is not None
    lines = file.read_bytes().splitlines(keepends=True)
    first.stdin.write(b"".join(lines[: len(lines) // 2]))
    first.stdin.flush()
    wait_until(lambda: kill_component(first.pid, "sink"), deadline_seconds=60, what="the pipeline at work")
    first.send_signal(signal.SIGINT)
    first.communicate(timeout=90)
    assert first.returncode == 130

    run(data_dir, "replay", str(file), "--drain", "--json")
    assert loaded(data_dir) == answer


def test_bad_lines_are_set_aside_and_good_ones_count(
    data_dir: Path, tmp_path: Path, history: list[dict[str, Any]]
) -> None:
    good = history[:200]
    sample = dict(good[0], seq=10_000)
    bad = {
        "not_json": "{this is no JSON",
        "missing_key": {key: value for key, value in sample.items() if key != "guild_id"},
        "id_out_of_range": dict(sample, user_id=2**64),
        "time_in_the_future": dict(sample, ts=4_000_000_000_000),
        "too_large": dict(sample, note="x" * 70_000),
    }
    lines: list[Any] = list(good)
    for number, line in enumerate(bad.values()):
        lines.insert(20 * (number + 1), line)
    lines.insert(150, dict(sample, seq=149, part=1, type="telepathy"))
    file = write(tmp_path / "events.jsonl", lines)
    summary = json.loads(run(data_dir, "replay", str(file), "--drain", "--json", expect=3))

    assert summary["accepted"] == len(good)
    assert (summary["dead_lettered"], summary["unknown"]) == (len(bad), 1)
    assert summary["reasons"] == dict.fromkeys(bad, 1)
    letters = json.loads(run(data_dir, "dead", "list", "--json"))
    assert sorted(letter["reason"] for letter in letters) == sorted(bad)
    assert all(letter["detail"] and letter["origin"] for letter in letters)
    assert query(data_dir, "select count(*) as n from guildstream.events") == [{"n": len(good)}]
