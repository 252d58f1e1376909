"""Many histories in a row against the oracle, and in pieces against themselves in one: by hand, not in CI.

python -m tests.rules.soak --first 0 --histories 10000
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from typing import Any

from .histories import build, dense_moves, wild_moves
from .test_laws import final_state, run_in_pieces
from .test_oracle import LIMITED, agree, run

STEPS = ("", "", "", "chunk", "commit", "early", "evict", "hand over", "crash")


def check(moves: list[dict[str, Any]], seed: int) -> None:
    """Rules and oracle agree, and no schedule changes anything."""
    events = build(moves)
    agree(events)
    steps = random.Random(seed).choices(STEPS, k=len(events))
    agree(build(moves, LIMITED), LIMITED)
    assert final_state(run_in_pieces(events, steps).sums) == final_state(run(events).sums)


def main() -> None:
    """Stop at the first history that fails, after naming it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--first", type=int, default=0, help="the first seed")
    parser.add_argument("--histories", type=int, default=10_000, help="of each kind: wild and dense")
    options = parser.parse_args()
    begun, events = time.monotonic(), 0
    for seed in range(options.first, options.first + options.histories):
        for kind in (wild_moves, dense_moves):
            try:
                moves = kind(seed)
                check(moves, seed)
            except BaseException:
                sys.stderr.write(f"{kind.__name__}({seed}) fails\n")
                raise
            events += len(moves)
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{2 * options.histories} histories, {events} moves, {seconds:.0f} s: all agree\n")


if __name__ == "__main__":
    main()
