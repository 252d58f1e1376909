"""Decisions from the command line, in force when the command returns."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.processes import environment, run

GUILD = str(8 << 22)
ANN = "9000000101"


@pytest.fixture
def env(redis_url: str, database_url: str, tmp_path: Path) -> dict[str, str]:
    return environment(redis_url=redis_url, database_url=database_url, data_dir=str(tmp_path / "data"), partitions="2")


def test_settings_adjust_and_erase(env: dict[str, str], tmp_path: Path) -> None:
    options = {"env": env, "cwd": tmp_path}
    defaults = json.loads(run("settings", "show", GUILD, "--json", **options))
    assert defaults["xp"]["message"]["min"] == 15
    changes = ("xp.message.min=10", "timezone=Europe/Berlin")
    assert "version 1" in run("settings", "set", GUILD, *changes, **options)
    shown = json.loads(run("settings", "show", GUILD, "--json", **options))
    assert (shown["xp"]["message"]["min"], shown["timezone"]) == (10, "Europe/Berlin")
    run("settings", "set", GUILD, "xp.message.min=99", expect=2, **options)
    assert "version 2" in run("settings", "unset", GUILD, "xp.message", **options)
    history = json.loads(run("settings", "history", GUILD, "--json", **options))
    assert [its["patch"] for its in history] == [
        {"xp": {"message": {"min": 10}}, "timezone": "Europe/Berlin"},
        {"xp": {"message": None}},
    ]
    run("adjust", GUILD, ANN, "--xp", "300", "--reason", "prize", "--by", "5", **options)
    ledger = json.loads(run("sql", "select user_id, xp, note, given_by from xp_awards", "--json", **options))
    assert ledger == [{"user_id": int(ANN), "xp": 300, "note": "prize", "given_by": 5}]
    receipt = json.loads(run("erase", GUILD, ANN, "--yes", **options))
    assert receipt["action"] == "erase_member"
    assert receipt["detail"]["awards"] == 1
    assert ANN not in run("sql", "select * from xp_awards", "--json", **options)


def test_explain_and_simulate_run_the_rules_again(env: dict[str, str], tmp_path: Path) -> None:
    options = {"env": env, "cwd": tmp_path}
    start = 1_772_323_200_000
    common = {"v": 1, "guild_id": int(GUILD), "session": "s", "channel_id": 7}
    lines: list[dict[str, object]] = [
        {"type": "settings", "ts": start, "session": "t", "data": {"xp": {"message": {"min": 10, "max": 10}}}},
        {"type": "message_create", "ts": start, "user_id": 1, "data": {"message_id": 1}},
        {"type": "message_create", "ts": start + 20_000, "user_id": 1, "data": {"message_id": 2}},
        {"type": "voice_state", "ts": start + 60_000, "user_id": 1, "channel_id": 8, "data": {}},
        {"type": "voice_state", "ts": start + 60_000, "user_id": 2, "channel_id": 8, "data": {}},
        {"type": "voice_state", "ts": start + 240_000, "user_id": 2, "channel_id": None, "data": {}},
        {"type": "voice_state", "ts": start + 600_000, "user_id": 1, "channel_id": None, "data": {}},
    ]
    text = "\n".join(json.dumps({**common, "seq": seq, **line}) for seq, line in enumerate(lines))
    (tmp_path / "events.jsonl").write_text(text)
    run("replay", "events.jsonl", "--drain", "--json", **options)
    stored = json.loads(run("sql", "select user_id, xp from member_totals order by 1", "--json", **options))
    assert stored == [{"user_id": 1, "xp": 25}, {"user_id": 2, "xp": 15}]
    asked = ("--guild", GUILD, "--member", "1", "--at", "2026-03-01T00:00:30", "--json")
    found = json.loads(run("explain", *asked, **options))
    refused = [(its["what"], its["why"]) for its in found if not its["xp"]]
    assert refused[0] == ("message_create", "cooldown: 40 s more (xp.message.cooldown_seconds)")
    assert [("alone" in why, "not in voice" in why) for what, why in refused[1:]] == [(True, False), (False, True)]
    assert [(its["what"], its["xp"]) for its in found if its["xp"]] == [
        ("message", 10),
        ("voice", 10),
        ("voice", 5),
    ]
    (tmp_path / "other.json").write_text('{"xp": {"message": {"min": 1, "max": 1}, "voice": {"require": []}}}')
    compared = json.loads(run("simulate", "--guild", GUILD, "--settings", "other.json", "--json", **options))
    assert [(its["user_id"], its["xp"], its["simulated_xp"]) for its in compared] == [(1, 25, 46), (2, 15, 15)]
