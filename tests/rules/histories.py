"""Hostile histories: duplicates, joins without leaves, same-millisecond switches, out-of-order times."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from guildstream import events as ev

#: A quarter of an hour before midnight UTC of a day on which St John's left daylight saving.
START_MS = 1_762_040_700_000
GUILDS = {11 << 22: "UTC", 12 << 22: "Asia/Kolkata", 13 << 22: "America/St_Johns"}
#: What each guild sets besides its time zone.
SETTINGS: dict[int, dict[str, Any]] = {
    11 << 22: {"rewards": [{"level": level, "role_id": 70 + level} for level in (1, 2, 4)]},
    12 << 22: {"xp": {"reaction": {"given": 2, "received": 3}}},
    13 << 22: {
        "xp": {"reaction": {"given": 1, "received": 100}, "voice": {"per_minute": 0}},
        "rewards": [{"level": level, "role_id": 80 + level} for level in (1, 2, 3)],
        "rewards_stack": False,
    },
}
USERS = (101, 102, 103, 104)
CHANNELS = (201, 202, 203)
#: The channel that adjustments are booked to.
ADJUSTED = 299
#: Session to shard.
SOURCES = {"a": 0, "b": None, "c": 1, "d": None}
#: So that some removed guilds don't come back in time.
PURGE_MS = 2 * 86_400_000
STEPS_MS = (0, 0, 0, 1, 137, 999, 20_000, 29_999, 30_000, 40_000, 59_999, 60_000, 60_001, 180_000, 1_700_000, 3_600_000)
DAY_MS = 86_400_000

KINDS = (
    *("message_create",) * 6,
    *("voice_state",) * 8,
    *("heartbeat",) * 4,
    "voice_snapshot",
    "member_leave",
    "channel_delete",
    "guild_unavailable",
    "guild_remove",
    "guild_update",
    *("reaction_add",) * 3,
    *("reaction_remove",) * 3,
    "reaction_clear",
    "days",
    "erase",
    "member_join",
    "gap",
    *("adjust",) * 2,
    "message_update",
    "message_delete",
    "command",
    "duplicate",
)

FLAGS = st.builds(
    ev.VoiceFlags,
    self_mute=st.booleans(),
    self_deaf=st.sampled_from((False, False, True)),
    mute=st.booleans(),
    stream=st.booleans(),
    video=st.booleans(),
    suppress=st.booleans(),
)
STATES = st.dictionaries(st.sampled_from(USERS), st.tuples(st.sampled_from(CHANNELS), FLAGS), max_size=4)
MOVE = st.fixed_dictionaries(
    {
        "kind": st.sampled_from(KINDS),
        "step": st.sampled_from(STEPS_MS),
        "late": st.sampled_from((0, 0, 0, 0, 1, 45_000, 4_000_000)),
        "source": st.sampled_from(("a", "a", "a", "a", "b", "c", "d")),
        "guild": st.sampled_from(tuple(GUILDS)),
        "user": st.sampled_from(USERS),
        "channel": st.sampled_from((*CHANNELS, None)),
        "flags": FLAGS,
        "bot": st.sampled_from((False, False, False, True)),
        "number": st.integers(0, 200),
        "states": STATES,
    }
)


def wild_moves(seed: int) -> list[dict[str, Any]]:
    """What ``MOVE`` gives, without a search for the shortest one that fails: for many histories in a row."""
    rnd = random.Random(seed)
    return [_wild_move(rnd) for _ in range(rnd.randint(1, 80))]


def _wild_move(rnd: random.Random) -> dict[str, Any]:
    return {
        "kind": rnd.choice(KINDS),
        "step": rnd.choice(STEPS_MS),
        "late": rnd.choice((0, 0, 0, 0, 1, 45_000, 4_000_000)),
        "source": rnd.choice("aaaabcd"),
        "guild": rnd.choice(tuple(GUILDS)),
        "user": rnd.choice(USERS),
        "channel": rnd.choice((*CHANNELS, None)),
        "flags": _wild_flags(rnd),
        "bot": rnd.random() < 0.25,
        "number": rnd.randint(0, 200),
        "states": {user: (rnd.choice(CHANNELS), _wild_flags(rnd)) for user in USERS if rnd.random() < 0.5},
    }


def _wild_flags(rnd: random.Random) -> ev.VoiceFlags:
    names = ("self_mute", "self_deaf", "mute", "stream", "video", "suppress")
    return ev.VoiceFlags(**{name: rnd.random() < 0.4 for name in names})


GRID_MS = (0, 0, 1, 15_000, 15_000, 30_000, 30_000, 45_000, 60_000, 60_000, 120_000, 900_000, 3_600_000)
QUIET_KINDS = (
    "erase",
    "member_join",
    "member_leave",
    "guild_update",
    "guild_update",
    "voice_snapshot",
    "guild_unavailable",
    "guild_remove",
    "channel_delete",
)


REACTING = ("reaction_add", "reaction_add", "reaction_remove", "reaction_clear", "adjust")


class Dense(list[dict[str, Any]]):
    """A long list that a failing test shows by its seed."""

    seed = 0

    def __repr__(self) -> str:
        return f"dense_moves({self.seed})"


def dense_moves(seed: int) -> Dense:
    """A long history of one guild's voice and chat, on a grid of times where minutes end together."""
    rnd = random.Random(seed)
    sources = rnd.choice(("a", "b", "aaaaaaaaab", "aaaaaaaaac", "bbbbbbbbbd"))
    guild = rnd.choice(tuple(GUILDS))
    users = USERS[: rnd.randint(2, 4)]
    quiet = rnd.choice((0.0, 0.02, 0.1))
    moves = Dense(_dense_move(rnd, guild, rnd.choice(sources), users, quiet) for _ in range(rnd.randint(20, 150)))
    moves.seed = seed
    return moves


def _dense_move(rnd: random.Random, guild: int, source: str, users: Sequence[int], quiet: float) -> dict[str, Any]:
    flags = {name: rnd.random() < 0.12 for name in ("self_mute", "self_deaf", "mute", "deaf", "stream", "suppress")}
    kinds = (*("voice_state",) * 6, *("message_create",) * 3, "heartbeat", "heartbeat", "duplicate", *REACTING)
    return {
        "kind": rnd.choice(QUIET_KINDS if rnd.random() < quiet else kinds),
        "step": rnd.choice(GRID_MS),
        "late": 30_000 if rnd.random() < 0.03 else 0,
        "source": source,
        "guild": guild,
        "user": rnd.choice(users),
        "channel": rnd.choice((201, 201, 201, 202, 202, None)),
        "flags": ev.VoiceFlags(**flags),
        "bot": rnd.random() < 0.1,
        "number": rnd.randrange(200),
        "states": {user: (rnd.choice(CHANNELS[:2]), ev.VoiceFlags(**flags)) for user in users if rnd.random() < 0.8},
    }


def build(moves: list[dict[str, Any]], wishes: dict[int, dict[str, Any]] = SETTINGS) -> list[ev.Event]:
    """Events from moves, in guilds with such settings; ends with a final heartbeat of every source."""
    now, seqs, events = START_MS, dict.fromkeys((*SOURCES, "cli"), 0), []
    for guild, zone in GUILDS.items():
        seqs["cli"] += 1
        common = {"v": 1, "ts": now, "session": "cli", "seq": seqs["cli"], "guild_id": guild}
        events.append(ev.SettingsChange(**common, data={"timezone": zone, **wishes[guild]}))
    for move in moves:
        now += move["step"]
        if move["kind"] == "days":
            now += (move["number"] % 5) * DAY_MS
            continue
        if move["kind"] == "duplicate":
            events.append(events[move["number"] % len(events)])
        elif move["kind"] == "heartbeat":
            events.append(ev.Heartbeat(v=1, ts=now, session=move["source"]))
        else:
            seqs[move["source"]] += 1
            events.append(_event(move, now - move["late"], seqs[move["source"]]))
    final = ev.HeartbeatData(final=True)
    return events + [ev.Heartbeat(v=1, ts=now, session=session, data=final) for session in SOURCES]


def _event(move: dict[str, Any], ts: int, seq: int) -> ev.Event:  # noqa: C901, PLR0911, PLR0912 - a case a type
    kind, user, number = move["kind"], move["user"], move["number"]
    channel = move["channel"] if kind == "voice_state" else move["channel"] or CHANNELS[0]
    common: dict[str, Any] = {
        "v": 1,
        "ts": ts,
        "session": move["source"],
        "seq": seq,
        "part": move["number"] % 3,
        "guild_id": move["guild"],
        "channel_id": channel,
        "user_id": user,
        "shard": SOURCES[move["source"]],
    }
    match kind:
        case "message_create":
            data = ev.MessageData(
                message_id=seq + move["number"] * 1000,
                chars=move["number"] if move["number"] % 5 else None,
                attachments=move["number"] % 3 or None,
                reply_to=7 if move["number"] % 2 else None,
                bot=move["bot"] and user == USERS[-1],
            )
            return ev.MessageCreate(**common, data=data)
        case "voice_state":
            flags = {name: getattr(move["flags"], name) for name in ev.VoiceFlags.__struct_fields__}
            return ev.VoiceState(**common, data=ev.VoiceFlags(**{**flags, "bot": move["bot"] and user == USERS[-1]}))
        case "voice_snapshot":
            states = tuple(
                ev.VoiceStateOf(
                    user_id=who,
                    channel_id=where,
                    **{name: getattr(flags, name) for name in ev.VoiceFlags.__struct_fields__},
                )
                for who, (where, flags) in move["states"].items()
            )
            return ev.VoiceSnapshot(**{**common, "user_id": None}, data=ev.VoiceStates(states))
        case "channel_delete":
            return ev.ChannelDelete(**common, data=ev.ChannelData(channel_id=channel))
        case "guild_update":
            afk = channel if move["number"] % 4 else None
            return ev.GuildUpdate(**common, data=ev.GuildData(afk_channel_id=afk))
        case "reaction_add" | "reaction_remove":
            author = USERS[move["number"] // 8 % 5 - 1] if move["number"] // 8 % 5 else None
            what = ev.ReactionData(message_id=5 + number % 2, emoji="xy"[number // 2 % 2], author_id=author)
            return (ev.ReactionAdd if kind == "reaction_add" else ev.ReactionRemove)(**common, data=what)
        case "adjust":
            xp, set_xp = ((300, None), (-150, None), (None, 0), (20, 240), (-(2**40), None), (None, None))[number % 6]
            what = ev.AdjustData(xp=xp, set_xp=set_xp, messages=number % 7 - 3, voice_ms=(number % 5 - 2) * 100_000)
            return ev.Adjust(**{**common, "channel_id": ADJUSTED}, data=what)
        case "reaction_clear":
            emoji = (None, "x", "y")[number // 2 % 3]
            clear = ev.ReactionClearData(message_id=5 + number % 2, emoji=emoji)
            return ev.ReactionClear(**{**common, "user_id": None}, data=clear)
        case "message_update":
            return ev.MessageUpdate(**common, data=ev.MessageRef(5))
        case "message_delete":
            return ev.MessageDelete(**common, data=ev.MessageRef(5))
        case "command":
            kind = ("slash", "component")[move["number"] % 2]
            return ev.Command(**common, data=ev.CommandData(interaction_id=seq, name="rank:1", kind=kind))
        case "member_join":
            return ev.MemberJoin(**common, data=ev.MemberData(invite="abc" if number % 2 else None))
        case "gap":
            common = {**common, "user_id": None, "guild_id": common["guild_id"] if number % 2 else None}
            return ev.Gap(**common, data=ev.GapData(from_ms=ts - number * 1000, to_ms=ts, cause="blind"))
        case "erase":
            whole = {"user_id": None} if number % 5 == 0 else {}
            return ev.Erase(**{**common, **whole}, data=ev.EraseData(keep_out=number % 11 == 0))
        case "member_leave":
            return ev.MemberLeave(**common)
        case "guild_remove":
            return ev.GuildRemove(**{**common, "user_id": None})
        case _:
            return ev.GuildUnavailable(**{**common, "user_id": None})
