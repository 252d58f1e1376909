"""The app in the documentation is one that runs, under Faust's own command."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
from pathlib import Path

from guildstream.connections import connect_redis
from tests.servers import wait_until
from tests.transport.workers import ROOT


def test_the_ten_lines_run(redis_url: str, tmp_path: Path) -> None:
    found = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "transport.md").read_text(), re.DOTALL)
    assert found is not None
    (tmp_path / "shop.py").write_text(found[1].replace("redis://localhost:6379/0", redis_url))
    client = connect_redis(redis_url)
    for number in range(20):
        client.xadd("{shop:3}:orders", {"e": f'{{"product": "tea{number % 2}", "cents": {number}}}'})
    command = [
        sys.executable,
        "-m",
        "faust",
        "-A",
        "shop",
        "--datadir",
        "data",
        "worker",
        "--without-web",
        "-l",
        "info",
    ]
    with (tmp_path / "log").open("wb") as log:
        worker = subprocess.Popen(command, cwd=tmp_path, stdout=log, stderr=log)
    try:
        wait_until(
            lambda: client.hget("{shop:3}:offset", "positions:orders") == b"20", deadline_seconds=20, what="the sums"
        )
        worker.send_signal(signal.SIGTERM)
        # Faust ends itself by the signal it was sent.
        assert worker.wait(15) in {0, -signal.SIGTERM}
    except AssertionError as error:
        msg = f"{error}\n{(tmp_path / 'log').read_text()[-3000:]}"
        raise AssertionError(msg) from error
    finally:
        worker.kill()
        worker.wait()
    assert client.hgetall("{shop:3}:state:sales") == {b"tea0": b"90", b"tea1": b"100"}
    assert client.hget("{shop:3}:owner", "owner") == b"", "the lease was not given back"
