"""What stands where Faust keeps its tables: nothing, and at once."""

from __future__ import annotations

from faust.tables.manager import TableManager

__all__ = ["NoTables"]


class NoTables(TableManager):
    """Faust's manager of tables for apps that have none.

    Faust's own waits a second at the start of every worker, in case a table is declared late. This transport
    refuses tables, so that a worker can begin at once.
    """

    async def on_start(self) -> None:
        """Faust: the service starts."""
        if not self.should_stop:
            await self._update_channels()
            await self.recovery.start()
