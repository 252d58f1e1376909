"""Which source owns a guild: its watermark closes the guild's windows and drives its voice (DESIGN §5.2)."""

from __future__ import annotations

from typing import Final

from guildstream.events import Adjust, Erase, Event, Gap, SettingsChange, VoiceSnapshot
from processors.rules.records import SourceRecord
from processors.rules.voice import Voice
from processors.rules.voice_events import pass_over

__all__ = ["NEVER_OWN", "OWNER_SILENT_MS", "pass_ownership"]

#: An owner that sent nothing for this long of event time can be followed by another source.
OWNER_SILENT_MS: Final = 30_000
#: What says nothing about who watches a guild.
NEVER_OWN: Final = frozenset({SettingsChange, Adjust, Erase, Gap})


def pass_ownership(voice: Voice, source: SourceRecord, event: Event) -> bool:
    """Whether a source that is not the owner owns the guild from this event on."""
    guild = voice.guild
    owner, record = guild.source, guild.record
    snapshot = event.__class__ is VoiceSnapshot
    silent = owner is not None and not owner.final and event.ts - owner.last_ms >= OWNER_SILENT_MS
    if owner is not None and not (snapshot or owner.final or silent):
        return False
    voice.give_up()
    stand_ms = record.voice_ms = voice.now_ms()
    record.owner, guild.source = event.session, source
    if (owner is not None and event.shard is not None) or snapshot:
        record.frozen = True
    elif silent and voice.segments and not record.frozen:
        # A source without a shard has no snapshot: people are taken to be where they were.
        at_ms = max(event.ts, voice.now_ms())
        pass_over(voice, stand_ms, at_ms)
        record.voice_ms = at_ms
    guild.save()
    return True
