"""Workers share partitions: evenly, with quick hand-over, and never two at one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest

from guildstream.connections import connect_redis
from processors.transport import TransportOptions
from processors.transport.ownership import LeaseKeeper, LeaseListener
from tests.servers import wait_until

PARTITIONS = 24


@dataclass
class Member:
    """A worker that has nothing to finish: it gives up at once what it is asked for."""

    url: str
    lease_seconds: float = 1.0
    held: dict[int, int] = field(default_factory=dict)
    given_up: list[int] = field(default_factory=list)
    lost: list[int] = field(default_factory=list)
    damaged: list[Exception] = field(default_factory=list)

    def __post_init__(self) -> None:
        options = TransportOptions(self.url, "own", partitions=PARTITIONS, lease_seconds=self.lease_seconds)
        listener = LeaseListener(
            gained=self.held.__setitem__, lost=self._lose, unwanted=self._give_up, damaged=self.damaged.append
        )
        self.keeper = LeaseKeeper(options, listener)
        self.keeper.start()

    def _lose(self, partition: int) -> None:
        self.lost.append(partition)
        del self.held[partition]

    def _give_up(self, partition: int) -> None:
        self.given_up.append(partition)
        del self.held[partition]
        threading.Thread(target=self.keeper.release, args=(partition,)).start()

    def die(self) -> None:
        """As a process that is killed: nothing is given back."""
        self.keeper._stopping.set()
        self.keeper._thread.join()


class Team:
    """Members that are all stopped at the end."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.members: list[Member] = []

    def join(self, **options: float) -> Member:
        self.members.append(Member(self._url, **options))
        return self.members[-1]

    def settled(self, *expected: int) -> None:
        wait_until(
            lambda: sorted(len(member.held) for member in self.members if member.held) == sorted(expected),
            what=f"shares of {expected}",
        )
        everything = [partition for member in self.members for partition in member.held]
        assert sorted(everything) == list(range(PARTITIONS))


@pytest.fixture
def team(redis_url: str) -> Iterator[Team]:
    team = Team(redis_url)
    yield team
    for member in team.members:
        member.keeper.stop()


def test_shares_are_even_and_partitions_that_stay_never_stop(team: Team) -> None:
    first = team.join()
    team.settled(24)
    second = team.join()
    team.settled(12, 12)
    third = team.join()
    team.settled(8, 8, 8)
    # Nobody gave up more than it had to.
    assert (len(first.given_up), len(second.given_up), len(third.given_up)) == (16, 4, 0)
    assert [member.lost for member in team.members] == [[], [], []]


def test_a_graceful_stop_hands_over_at_once(team: Team) -> None:
    stays, leaves = team.join(lease_seconds=5), team.join(lease_seconds=5)
    team.settled(12, 12)
    before = set(stays.held)
    stays.given_up.clear()
    leaves.held.clear()
    started = time.monotonic()
    leaves.keeper.stop()
    wait_until(lambda: len(stays.held) == PARTITIONS, what="the hand-over")
    # Some 100 ms; here only far less than the lease, whatever the machine is busy with.
    assert time.monotonic() - started < 2.5
    assert before <= set(stays.held)
    assert not stays.given_up


def test_a_crash_is_noticed_when_the_lease_is_over(team: Team) -> None:
    stays, dies = team.join(lease_seconds=1), team.join(lease_seconds=1)
    team.settled(12, 12)
    dies.die()
    dies.held.clear()
    started = time.monotonic()
    wait_until(lambda: len(stays.held) == PARTITIONS, what="the take-over")
    assert 0.5 < time.monotonic() - started < 10


def test_epochs_only_rise(redis_url: str, team: Team) -> None:
    client = connect_redis(redis_url)
    first = team.join()
    team.settled(24)
    epochs = dict(first.held)
    first.held.clear()
    first.keeper.stop()
    second = team.join()
    team.settled(24)
    assert all(second.held[partition] == epochs[partition] + 1 for partition in range(PARTITIONS))
    assert client.hget("{own:3}:owner", "epoch") == b"2"


def test_a_worker_that_comes_back_late_loses_what_it_had(team: Team) -> None:
    late = team.join()
    team.settled(24)
    # The thread of the late one stands still at its lock for longer than its lease.
    with late.keeper._lock:
        other = team.join()
        wait_until(lambda: len(other.held) == PARTITIONS, what="the take-over")
    wait_until(lambda: len(late.lost) == PARTITIONS, what="that it notices")
    team.settled(12, 12)
