"""Commands against a real pipeline: real servers, real child processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest

from tests.cli.processes import descendants, environment, popen, run
from tests.servers import open_temp_dir, wait_until

START_MS = 1_700_000_000_000
GUILD = 8 << 22


def message(seq: int, **more: object) -> str:
    event = {
        "v": 1,
        "type": "message_create",
        "ts": START_MS + seq * 1_000,
        "guild_id": GUILD,
        "channel_id": 7,
        "user_id": 2**63 - 1 - seq % 3,
        "session": "s",
        "seq": seq,
        "data": {"message_id": seq + 1, "chars": seq},
    }
    return json.dumps(event | more)


def is_gone(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.fixture
def env(redis_url: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(redis_url=redis_url, database_url=database_url, data_dir=str(tmp_path / "data"))


def test_a_replay_from_bad_lines_to_a_leaderboard(env: dict[str, str], tmp_path: Path) -> None:
    good = [message(seq) for seq in range(120)]
    bad = ["not json", message(500, ts=4_102_444_800_000), message(501, user_id=2**63), message(502, type="weather")]
    (tmp_path / "f.jsonl").write_text("\n".join(good[:60] + bad + good[60:]))
    replay = ("replay", "f.jsonl", "--drain", "--json")

    first = json.loads(run(*replay, env=env, cwd=tmp_path, expect=3))
    assert (first["published"], first["accepted"], first["unknown"], first["duplicates"]) == (124, 120, 1, 0)
    assert first["reasons"] == {"not_json": 1, "time_in_the_future": 1, "id_out_of_range": 1}

    query = "select user_id, sum(messages), sum(chars), max(day) from member_daily group by 1 order by 1"
    rows = json.loads(run("sql", query, "--json", env=env, cwd=tmp_path))
    expected = [sum(seq for seq in range(120) if seq % 3 == rest) for rest in (2, 1, 0)]
    assert [(row["user_id"], row["sum"], row["sum_2"], row["max"]) for row in rows] == [
        (2**63 - 1 - rest, 40, chars, "2023-11-14") for rest, chars in zip((2, 1, 0), expected, strict=True)
    ]

    letters = json.loads(run("dead", "list", "--json", env=env, cwd=tmp_path))
    assert sorted(letter["reason"] for letter in letters) == sorted(first["reasons"])
    assert {letter["payload"] for letter in letters} == set(bad[:3])
    assert [letter["origin"].split()[0].endswith(":events") for letter in letters] == [True] * 3

    state = json.loads(run("status", "--json", env=env, cwd=tmp_path))
    assert state["totals"]["lag_entries"] == 0
    assert state["totals"]["counters"]["accepted"] == 120
    assert state["totals"]["positions"] == state["totals"]["loaded_positions"]

    board = json.loads(run("leaderboard", "--measure", "messages", "--json", env=env, cwd=tmp_path))
    assert [(row["rank"], row["value"]) for row in board] == [(1, 40)] * 3

    (tmp_path / "f.jsonl").write_text("\n".join(good))
    shown = run(*replay[:3], env=env, cwd=tmp_path)
    assert "changes nothing: every event is a known duplicate" in shown


def test_sql_is_read_only_one_statement_and_exact(env: dict[str, str], tmp_path: Path) -> None:
    query = """
        select 9223372036854775807 as id, 1.50::numeric as n, 12345678901234567890123::numeric as big, null as nothing,
               timestamptz '2026-03-01 02:00+02' as at, date '2026-03-01' as day, '\\x00ff'::bytea as raw,
               'f0000000-0000-8000-8000-00000000000f'::uuid as u, '{"a": [1]}'::jsonb as j, true as yes, 'ß' as text
    """
    out = run("sql", query, "--json", env=env, cwd=tmp_path)
    assert '"big":12345678901234567890123' in out
    assert '"n":1.50' in out
    (row,) = json.loads(out)
    assert row == {
        "id": 2**63 - 1,
        "n": 1.5,
        "big": 12345678901234567890123,
        "nothing": None,
        "at": "2026-03-01T00:00:00Z",
        "day": "2026-03-01",
        "raw": "\\x00ff",
        "u": "f0000000-0000-8000-8000-00000000000f",
        "j": {"a": [1]},
        "yes": True,
        "text": "ß",
    }
    csv = run("sql", "select 1 as a, null as b, 'x,y' as c", "--csv", env=env, cwd=tmp_path)
    assert csv == 'a,b,c\n1,,"x,y"\n'
    assert run("sql", "select 1 as a where false", "--json", env=env, cwd=tmp_path) == "[]\n"
    assert "(1 row)" in run("sql", "show timezone", env=env, cwd=tmp_path)
    for refused in ("create table t ()", "commit; drop schema analytics cascade", "select nothing_such"):
        run("sql", refused, env=env, cwd=tmp_path, expect=1)


def test_ctrl_c_stops_a_replay_with_130_and_all_its_processes(env: dict[str, str], tmp_path: Path) -> None:
    with popen("replay", "-", "--drain", env=env, cwd=tmp_path, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        process.stdin.write(message(1) + "\n")
        process.stdin.flush()
        wait_until(lambda: len(descendants(process.pid)) >= 2, deadline_seconds=20, what="the pipeline")
        below = descendants(process.pid)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "the same command again goes on" in err
    assert all(map(is_gone, below))


@pytest.mark.chaos
def test_up_takes_everything_down_with_it_even_when_it_is_killed(tmp_path: Path) -> None:
    with open_temp_dir() as data_dir:
        arguments = ("up", "--data-dir", str(data_dir))
        with popen(*arguments, env=environment(), cwd=tmp_path) as process:
            wait_until(lambda: _is_up(process.pid), deadline_seconds=40, what="the pipeline")
            below = descendants(process.pid)
            process.kill()
        wait_until(lambda: all(map(is_gone, below)), deadline_seconds=30, what="the end of all descendants")
        with popen(*arguments, env=environment(), cwd=tmp_path) as process:
            wait_until(lambda: _is_up(process.pid), deadline_seconds=40, what="the pipeline")
            below = descendants(process.pid)
            process.terminate()
            process.communicate(timeout=40)
        assert process.returncode == 0
        wait_until(lambda: all(map(is_gone, below)), what="the end of all descendants")


def _is_up(pid: int) -> bool:
    lines = descendants(pid).values()
    return all(any(line.endswith(name) for line in lines) for name in ("processor", "sink"))


@pytest.mark.chaos
def test_the_demo_shows_that_nothing_is_missing(tmp_path: Path) -> None:
    elsewhere = environment(redis_url="redis://127.0.0.1:1/0", database_url="postgresql://u:p@127.0.0.1:1/d")
    with open_temp_dir() as data_dir:
        out = run("demo", "--seconds", "3", "--data-dir", str(data_dir), env=elsewhere, cwd=tmp_path)
        assert "first row in PostgreSQL" in out
        assert "equal to the event" in out
        count = json.loads(
            run(
                "sql",
                "select count(*) as n from events",
                "--json",
                "--data-dir",
                str(data_dir),
                env=elsewhere,
                cwd=tmp_path,
            )
        )
    assert f"equal to the event: {count[0]['n']:,} events" in out


def test_services_start_stop_and_disappear(tmp_path: Path) -> None:
    with open_temp_dir() as data_dir:
        options = {"env": environment(), "cwd": tmp_path}
        where = ("--data-dir", str(data_dir))
        run("services", "url", "postgres", *where, expect=2, **options)
        first = run("services", "start", *where, **options)
        assert run("services", "start", *where, **options) == first
        assert run("services", "url", "redis", *where, **options).strip() in first
        assert "applied 0001_facts" in run("migrate", "up", *where, **options)
        assert "nothing to apply" in run("migrate", "up", *where, **options)
        assert "0001_facts" in run("migrate", "status", *where, **options)
        assert json.loads(run("sql", "table guild_daily", "--json", *where, **options)) == []
        assert "nothing was published" in run("status", *where, **options)
        run("migrate", "down", "--to", "0", *where, **options)
        run("services", "stop", *where, **options)
        run("services", "stop", *where, **options)
        run("services", "remove", "--yes", *where, **options)
        run("services", "url", "redis", *where, expect=2, **options)
        assert not (data_dir / "services").exists()
