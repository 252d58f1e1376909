"""The assignment is balanced, sticky, and the same for whoever computes it."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from processors.transport.assignment import assign

WORKERS = [f"w{number}".encode() for number in range(7)]
LIVE = st.lists(st.sampled_from(WORKERS), min_size=1, unique=True)
OWNERS = st.lists(st.none() | st.sampled_from(WORKERS), max_size=30)


@given(live=LIVE, owners=OWNERS, order=st.randoms())
def test_it_is_balanced_and_a_function_of_what_everybody_sees(
    live: list[bytes], owners: list[bytes | None], order
) -> None:
    wanted = assign(live, owners)
    assert len(wanted) == len(owners)
    counts = Counter(wanted)
    assert set(counts) <= set(live)
    numbers = [counts[worker] for worker in live]
    assert max(numbers) - min(numbers) <= 1
    shuffled = list(live)
    order.shuffle(shuffled)
    assert assign(shuffled, owners) == wanted


@given(live=LIVE, owners=OWNERS)
def test_as_few_as_possible_move(live: list[bytes], owners: list[bytes | None]) -> None:
    wanted = assign(live, owners)
    held = sorted((sum(owner == worker for owner in owners) for worker in live), reverse=True)
    base, odd = divmod(len(owners), len(live))
    fewest = sum(max(0, number - (base + (rank < odd))) for rank, number in enumerate(held))
    moved = sum(owner in live and owner != new for owner, new in zip(owners, wanted, strict=True))
    assert moved == fewest


@given(live=LIVE, owners=OWNERS)
def test_once_followed_it_stands(live: list[bytes], owners: list[bytes | None]) -> None:
    wanted = assign(live, owners)
    assert assign(live, list(wanted)) == wanted


@given(live=LIVE, owners=OWNERS)
def test_giving_up_one_by_one_leads_there(live: list[bytes], owners: list[bytes | None]) -> None:
    """Each worker acts on what it sees after every single step: nobody is asked for more than the surplus."""
    current: list[bytes | None] = [owner if owner in live else None for owner in owners]
    moves = 0
    while (wanted := assign(live, current)) != current:
        step = next(p for p, owner in enumerate(current) if owner != wanted[p])
        moves += current[step] is not None
        current[step] = None if current[step] is not None else wanted[step]
        assert moves <= len(owners)
    held = sorted((sum(owner == worker for owner in owners) for worker in live), reverse=True)
    base, odd = divmod(len(owners), len(live))
    assert moves == sum(max(0, number - (base + (rank < odd))) for rank, number in enumerate(held))
