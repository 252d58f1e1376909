"""What the stages of guildstream share and what others import.

The event contract (``events``, ``codec``), names in Redis (``keys``), settings, errors, metrics, the
embedded servers, the ``Publisher`` for somebody else's bot, and the command line.
"""

__version__ = "0.1.0"
