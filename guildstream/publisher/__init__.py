"""Publishing events into Redis: ``Publisher`` for any bot, ``Outbox`` and ``Spool`` under it."""

from guildstream.publisher.outbox import Outbox, OutboxCounts
from guildstream.publisher.publisher import Publisher, PublisherCounts
from guildstream.publisher.spool import Record, Spool, SpoolFull

__all__ = ["Outbox", "OutboxCounts", "Publisher", "PublisherCounts", "Record", "Spool", "SpoolFull"]
