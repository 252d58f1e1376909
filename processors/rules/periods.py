"""A member's points by day, week and month: the latest at hand, some earlier ones, the rest forgotten."""

from __future__ import annotations

from typing import Final

__all__ = ["DAYS", "MONTHS", "WEEKS", "Scores", "score"]

#: Earlier periods kept per member. Boards live until 35 days after their period's end.
DAYS: Final = 7
WEEKS: Final = 8
MONTHS: Final = 4

#: The latest period, its points, and the points of earlier ones.
Scores = tuple[int, int, dict[int, int] | None]


def score(scores: Scores, code: int, points: int, limit: int) -> tuple[int, int, dict[int, int] | None, int | None]:
    """Add points to a period.

    Args:
        scores: as they are.
        code: the period; later ones have greater codes.
        points: to add.
        limit: how many earlier periods are kept.

    Returns:
        The scores as they are then, and the period's points; None where the period is older than what
        is kept, so that nobody knows them.
    """
    latest, latest_points, kept = scores
    if code == latest:
        return latest, latest_points + points, kept, latest_points + points
    if code > latest:
        if latest_points:
            kept = _keep(kept, latest, latest_points, limit)
        return code, points, kept, points
    if kept is not None and len(kept) >= limit and code < min(kept):
        return latest, latest_points, kept, None
    total = points + (0 if kept is None else kept.get(code, 0))
    return latest, latest_points, _keep(kept, code, total, limit), total


def _keep(kept: dict[int, int] | None, code: int, points: int, limit: int) -> dict[int, int]:
    """Remember an earlier period; of too many, the oldest goes."""
    kept = kept if kept is not None else {}
    kept[code] = points
    if len(kept) > limit:
        del kept[min(kept)]
    return kept
