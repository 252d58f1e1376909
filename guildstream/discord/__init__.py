"""What Discord's gateway says, as events of the contract; used by the gateway and by ``Publisher.attach``.

Translation is pure: a dispatch's name and payload in, events without ``session`` and ``seq`` out.
Message content is looked at for its length and never leaves.
"""

from guildstream.discord.source import Source
from guildstream.discord.translation import Translator

__all__ = ["Source", "Translator"]
