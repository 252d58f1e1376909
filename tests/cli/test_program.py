"""The program as a person meets it: exit codes, errors that name what is wrong, options in either place."""

from __future__ import annotations

import json
import logging
from importlib.metadata import entry_points
from pathlib import Path

import orjson
import pytest

from gateway.simulator import demo_token
from guildstream import __version__
from guildstream.cli import demo, main
from guildstream.cli.settings_page import render
from guildstream.components import GROUP, component_names, find_component
from guildstream.errors import ConfigError
from guildstream.logs import configure_logging
from guildstream.settings import load_settings

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(autouse=True)
def _no_urls(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_URL", "DATABASE_URL", "DATA_DIR", "DISCORD_TOKEN"):
        monkeypatch.delenv(f"GUILDSTREAM_{name}", raising=False)


def test_version_and_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert __version__ in capsys.readouterr().out
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("demo", "up", "replay", "services", "migrate", "dead", "sql", "status", "leaderboard"):
        assert f"\n  {command} " in shown


@pytest.mark.parametrize(
    "command",
    [
        ["demo"],
        ["up"],
        ["gateway"],
        ["processor"],
        ["sink"],
        ["simulator"],
        ["services", "url"],
        ["migrate", "down"],
        ["replay"],
        ["dead", "list"],
        ["sql"],
        ["status"],
        ["leaderboard"],
    ],
)
def test_every_command_explains_itself_and_takes_a_data_dir(
    command: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*command, "--help"]) == 0
    assert "--data-dir" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["replay"], "Missing argument 'FILE...'"),
        (["replay", "no-such-file.jsonl"], "no-such-file.jsonl can't be read"),
        (["migrate", "down"], "--to"),
        (["leaderboard", "0"], "GUILD_ID"),
        (["sql", "select 1", "--json", "--csv"], "exclude each other"),
    ],
)
def test_a_wrong_command_line_is_2(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    assert main(["--data-dir", str(tmp_path), *arguments]) == 2
    assert complaint in capsys.readouterr().err


@pytest.mark.parametrize("where", ["before", "after"])
def test_a_data_dir_that_holds_nothing_is_2_in_either_place(
    where: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    option, command = ["--data-dir", str(tmp_path / "new")], ["status"]
    assert main(option + command if where == "before" else command + option) == 2
    assert f"nothing is at {tmp_path / 'new'}" in capsys.readouterr().err


def test_a_component_starts_no_servers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["processor", "--data-dir", str(tmp_path)]) == 2
    assert "no servers run under" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("variable", "value", "complaint"),
    [
        ("GUILDSTREAM_REDDIS_URL", "redis://x", "GUILDSTREAM_REDDIS_URL is not a setting"),
        ("GUILDSTREAM_PARTITIONS", "many", "GUILDSTREAM_PARTITIONS"),
        ("GUILDSTREAM_WINDOW_SECONDS", "7", "must divide 900"),
    ],
)
def test_a_wrong_setting_is_2_and_named(
    variable: str,
    value: str,
    complaint: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv(variable, value)
    assert main(["status"]) == 2
    assert complaint in capsys.readouterr().err


def test_one_url_without_the_other_is_2(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("GUILDSTREAM_REDIS_URL", "redis://127.0.0.1:1/0")
    assert main(["status"]) == 2
    assert "set both, or neither" in capsys.readouterr().err


def test_servers_that_are_away_are_1_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GUILDSTREAM_REDIS_URL", "redis://127.0.0.1:1/0")
    monkeypatch.setenv("GUILDSTREAM_DATABASE_URL", "postgresql://u:secret@127.0.0.1:1/d")
    for command in (["status"], ["sql", "select 1"], ["dead", "list"], ["migrate", "status"]):
        assert main(command) == 1
        shown = capsys.readouterr().err
        assert "can't be reached" in shown or "away" in shown
        assert "secret" not in shown
        assert "Traceback" not in shown


def test_the_settings_page_is_up_to_date() -> None:
    assert (ROOT / "docs/settings.md").read_text() == render()


def test_components_are_found_by_name() -> None:
    assert component_names() == ["gateway", "processor", "simulator", "sink"]
    assert all(callable(point.load()) for point in entry_points(group=GROUP))
    with pytest.raises(ConfigError, match=r"no component is named 'toaster'; installed are: gateway"):
        find_component("toaster")


@pytest.fixture
def _root_logger() -> object:
    root, ours = logging.getLogger(), logging.getLogger("guildstream")
    before = (root.handlers[:], root.level, ours.level)
    yield
    root.handlers[:], root.level, ours.level = before


@pytest.mark.usefixtures("_root_logger")
def test_logs_are_lines_for_people_or_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    configure_logging(load_settings({}), "sink")
    logging.getLogger("guildstream.sink").info("loaded %d rows", 3, extra={"partition": 5})
    line = capsys.readouterr().err
    assert line.endswith("INFO sink sink: loaded 3 rows  partition=5\n")
    configure_logging(load_settings({}, log_format="json", log_level="warning"), "sink")
    logging.getLogger("guildstream.sink").info("not shown")
    try:
        orjson.loads(b"{")
    except orjson.JSONDecodeError:
        logging.getLogger("guildstream.sink").exception("bad", extra={"path": ROOT})
    entry = json.loads(capsys.readouterr().err)
    assert (entry["level"], entry["component"], entry["message"]) == ("ERROR", "sink", "bad")
    assert entry["path"] == str(ROOT)
    assert "JSONDecodeError" in entry["exception"]


def test_an_unknown_log_level_is_named() -> None:
    with pytest.raises(ConfigError, match="'loud': it must be one of DEBUG"):
        configure_logging(load_settings({}, log_level="loud"), "sink")


def test_only_the_environment_that_is_passed_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GUILDSTREAM_REDIS_URL", "redis://elsewhere:1/0")
    assert load_settings({}).redis_url is None


def test_what_orchestrators_inject_is_no_setting_but_our_ports_are() -> None:
    injected = {"GUILDSTREAM_SERVICE_HOST": "10.0.0.1", "GUILDSTREAM_PORT_8080_TCP_ADDR": "10.0.0.1"}
    assert load_settings(injected | {"GUILDSTREAM_HTTP_PORT": "8123"}).http_port == 8123


def test_the_demo_knows_the_token_of_its_simulated_discord() -> None:
    assert demo_token() == demo._TOKEN
