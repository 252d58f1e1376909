"""Questions to PostgreSQL with a name, typed: what analysts ask in SQL, bots and tools ask here.

Every function takes an open psycopg connection, runs one statement and leaves transactions to its caller.
"""

from guildstream.repositories.leaderboards import PERIODS, LeaderboardRow, leaderboard, member_rank
from guildstream.repositories.operations import LoadedOffset, RefreshStatus, loaded_offsets, refresh_status

__all__ = [
    "PERIODS",
    "LeaderboardRow",
    "LoadedOffset",
    "RefreshStatus",
    "leaderboard",
    "loaded_offsets",
    "member_rank",
    "refresh_status",
]
