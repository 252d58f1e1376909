"""The spool: what was appended comes back, in order, whatever the crash tore."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guildstream.errors import ConfigError
from guildstream.publisher import Record, Spool, SpoolFull

RECORDS = st.lists(
    st.builds(
        Record,
        st.integers(0, 1023),
        st.binary(min_size=1, max_size=20),
        st.binary(max_size=200),
    ),
    max_size=12,
)


def read_all(spool: Spool, step: int = 3) -> list[Record]:
    found: list[Record] = []
    while records := spool.read(step):
        found += records
    return found


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(RECORDS, max_size=6), step=st.integers(1, 7), segment_bytes=st.sampled_from([1, 300, 10_000]))
def test_what_goes_in_comes_out_in_order(tmp_path_factory, batches, step, segment_bytes) -> None:
    spool = Spool(tmp_path_factory.mktemp("spool"), max_bytes=10**6, segment_bytes=segment_bytes)
    for batch in batches:
        spool.append(batch)
    assert read_all(spool, step) == [record for batch in batches for record in batch]
    assert spool.empty
    assert spool.bytes == 0
    spool.close()


@settings(max_examples=60, deadline=None)
@given(batches=st.lists(RECORDS.filter(bool), min_size=1, max_size=5), torn=st.data())
def test_a_crash_keeps_everything_that_was_appended(tmp_path_factory, batches, torn) -> None:
    """The process dies in the middle of one more append: any prefix of it may be on the disk."""
    folder = tmp_path_factory.mktemp("spool")
    spool = Spool(folder, max_bytes=10**6)
    for batch in batches:
        spool.append(batch)
    (segment,) = folder.glob("*.spool")
    whole = segment.stat().st_size
    unfinished = torn.draw(RECORDS.filter(bool))
    spool.append(unfinished)
    cut = torn.draw(st.integers(whole, segment.stat().st_size))
    spool.close()
    with segment.open("r+b") as file:
        file.truncate(cut)
    appended = [record for batch in batches for record in batch]
    again = Spool(folder, max_bytes=10**6)
    again.append([Record(1, b"later", b"{}")])
    found = read_all(again)
    assert found[: len(appended)] == appended
    survivors = found[len(appended) : -1]
    assert survivors == unfinished[: len(survivors)]
    assert found[-1].source == b"later"
    again.close()


def test_reading_and_writing_may_alternate(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=10**6)
    found: list[Record] = []
    for number in range(50):
        spool.append([Record(0, b"s", b"%d" % number), Record(0, b"s", b"%d again" % number)])
        found += spool.read(1)
    found += read_all(spool)
    assert [record.payload for record in found[::2]] == [b"%d" % number for number in range(50)]
    spool.close()


def test_what_was_not_confirmed_is_there_again(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=10**6)
    spool.append([Record(0, b"s", b"%d" % number) for number in range(4)])
    assert len(spool.read(4)) == 4
    spool.close()
    again = Spool(tmp_path, max_bytes=10**6)
    assert len(read_all(again)) == 4
    again.close()


def test_a_bound_is_kept_and_nothing_is_half_taken(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=1000)
    spool.append([Record(0, b"s", b"x" * 500)])
    with pytest.raises(SpoolFull):
        spool.append([Record(0, b"s", b"x" * 300), Record(0, b"s", b"x" * 300)])
    assert len(read_all(spool)) == 1
    spool.append([Record(0, b"s", b"x" * 500)])
    spool.close()


def test_one_process_at_a_time(tmp_path: Path) -> None:
    spool = Spool(tmp_path, max_bytes=1000)
    with pytest.raises(ConfigError, match="another process"):
        Spool(tmp_path, max_bytes=1000)
    spool.close()
    Spool(tmp_path, max_bytes=1000).close()


def test_rot_in_an_old_segment_costs_no_other(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    spool = Spool(tmp_path, max_bytes=10**6, segment_bytes=1)
    for number in range(3):
        spool.append([Record(0, b"s", b"payload %d" % number)])
    spool.close()
    second = sorted(tmp_path.glob("*.spool"))[1]
    second.write_bytes(second.read_bytes()[:-1] + b"?")
    again = Spool(tmp_path, max_bytes=10**6)
    assert [record.payload for record in read_all(again)] == [b"payload 0", b"payload 2"]
    assert "no whole record" in caplog.text
    again.close()
