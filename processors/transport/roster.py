"""The partitions that a worker works on: each in a task of its own, coming and going one by one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

from guildstream import metrics
from guildstream.errors import Fenced
from processors.transport.delivery import Abandoned, Delivery
from processors.transport.lane import Lane
from processors.transport.ownership import LeaseKeeper

__all__ = ["Roster"]

logger = logging.getLogger("guildstream.transport")

#: How long a partition that is given up waits for agents that have begun a chunk.
_GRACE_SECONDS: Final = 5.0


class Roster:
    """Starts, stops and gives up partitions.

    Args:
        make: a partition's lane, from its number, epoch and the last commit known of it.
        shown: called with a partition that comes.
        hidden: called with a partition that goes.
        crashed: called with what makes it impossible to go on.
        delivery: what the lanes hand chunks to.
    """

    def __init__(
        self,
        make: Callable[[int, int, int], Lane],
        *,
        shown: Callable[[int], None],
        hidden: Callable[[int], None],
        crashed: Callable[[BaseException], Awaitable[None]],
        delivery: Delivery,
    ) -> None:
        self._make = make
        self._shown = shown
        self._hidden = hidden
        self._crashed = crashed
        self._delivery = delivery
        self._running: dict[int, tuple[Lane, asyncio.Task[None]]] = {}
        self._leaving: set[asyncio.Task[None]] = set()
        self._known_commits: dict[int, int] = {}
        self._keeper: LeaseKeeper | None = None
        self._stopping = False

    @property
    def lanes(self) -> Mapping[int, Lane]:
        """The partitions at work."""
        return {number: lane for number, (lane, _) in self._running.items()}

    @property
    def stopping(self) -> bool:
        """Whether all partitions are given up, or were."""
        return self._stopping

    def follow(self, keeper: LeaseKeeper) -> None:
        """Give leases back to this keeper."""
        self._keeper = keeper

    def gain(self, number: int, epoch: int) -> None:
        """Begin to work on a partition."""
        if self._stopping:
            return
        self._drop(number)
        lane = self._make(number, epoch, self._known_commits.get(number, 0))
        self._shown(number)
        self._running[number] = lane, asyncio.create_task(self._run(lane), name=f"partition {number}")
        metrics.PARTITIONS_OWNED.set(len(self._running))
        logger.info("partition %d is ours, epoch %d", number, epoch)

    def lose(self, number: int) -> None:
        """Leave a partition at once: nothing more of it can be written."""
        self._drop(number)

    def give_up(self, number: int) -> None:
        """Leave a partition after what is begun is committed, and give its lease back."""
        task = asyncio.create_task(self._give_up(number), name=f"give up {number}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def stop(self) -> None:
        """Give up all. At most a few seconds."""
        if self._stopping:
            return
        self._stopping = True
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.leave)
        await asyncio.gather(*self._leaving, *(self._give_up(number) for number in list(self._running)))
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.stop)

    async def _give_up(self, number: int) -> None:
        found = self._running.get(number)
        if found is not None:
            lane, task = found
            lane.stop()
            if self._stopping:
                self._delivery.abandon(number)
            _, late = await asyncio.wait([task], timeout=_GRACE_SECONDS)
            if late:
                logger.warning("partition %d: its agents did not end in time, their chunk is left", number)
            if self._running.get(number) is found:
                self._drop(number)
            await asyncio.gather(task, return_exceptions=True)
        if self._keeper is not None:
            await asyncio.to_thread(self._keeper.release, number)

    def _drop(self, number: int) -> None:
        found = self._running.pop(number, None)
        if found is None:
            return
        lane, task = found
        self._known_commits[number] = lane.known_commit
        task.cancel()
        self._hidden(number)
        metrics.PARTITIONS_OWNED.set(len(self._running))

    async def _run(self, lane: Lane) -> None:
        try:
            await lane.run()
        except Fenced as error:
            metrics.FENCED.inc()
            logger.error("partition %d was taken over: %s", lane.number, error)  # noqa: TRY400 - no bug, no trace
            if self._keeper is not None:
                self._keeper.forget(lane.number)
            if self._running.get(lane.number, (None,))[0] is lane:
                self._drop(lane.number)
        except (Abandoned, asyncio.CancelledError):
            logger.info("partition %d was left at its last commit", lane.number)
        except Exception as error:
            logger.exception("partition %d can't go on", lane.number)
            await self._crashed(error)
