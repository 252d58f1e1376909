"""The embedded servers: PostgreSQL and Redis under a data directory, for machines that have neither.

A server given by URL comes first; that is the caller's matter.
"""

from guildstream.services.lifecycle import (
    ServiceUrls,
    find_services,
    remove_services,
    start_services,
    stop_services,
)

__all__ = ["ServiceUrls", "find_services", "remove_services", "start_services", "stop_services"]
