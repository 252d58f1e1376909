"""Data directories for the tests of the embedded servers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from guildstream.services import remove_services
from tests.servers import open_temp_dir


@pytest.fixture
def data_dir() -> Iterator[Path]:
    """A data directory that doesn't exist yet; whatever was started in it is gone afterwards."""
    with open_temp_dir() as parent:
        directory = parent / "data"
        yield directory
        if directory.exists():
            remove_services(directory)
