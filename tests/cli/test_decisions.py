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
