"""Which worker should have which partition: a pure function that every worker computes for itself."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

__all__ = ["assign"]


def assign(workers: Collection[bytes], owners: Sequence[bytes | None]) -> list[bytes]:
    """Spread partitions evenly over workers, moving as few as possible.

    Args:
        workers: live workers; at least one.
        owners: who owns each partition now, None for nobody; an owner that is not live counts as nobody.

    Returns:
        Who should own each partition. Numbers per worker differ by one at most; a partition moves only
        where its owner is gone or has more than its share.
    """
    held = {worker: [p for p, owner in enumerate(owners) if owner == worker] for worker in workers}
    shares = _shares(held, len(owners))
    wanted: list[bytes | None] = [None] * len(owners)
    for worker, partitions in held.items():
        for partition in partitions[: shares[worker]]:
            wanted[partition] = worker
            shares[worker] -= 1
    vacancies = (worker for worker in sorted(shares) for _ in range(shares[worker]))
    return [next(vacancies) if worker is None else worker for worker in wanted]


def _shares(held: Mapping[bytes, Collection[int]], partitions: int) -> dict[bytes, int]:
    """How many partitions each worker should have; those that hold most get the odd ones."""
    base, odd = divmod(partitions, len(held))
    ranked = sorted(held, key=lambda worker: (-len(held[worker]), worker))
    return {worker: base + (rank < odd) for rank, worker in enumerate(ranked)}
