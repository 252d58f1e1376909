"""Payloads in, events out."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.simulator.traffic import Traffic, guild_create
from gateway.simulator.world import make_world
from guildstream.codec import EventReader
from guildstream.discord import Translator
from guildstream.discord.payloads import snowflake_ms
from guildstream.events import MAX_EVENT_BYTES

NOW = 1_795_000_000_000
GUILD, CHANNEL, USER = "81384788765712384", "381870553235193857", "80351110224678912"
MESSAGE = 1_028_029_980_795_478_046
ADA = {"id": USER, "username": "ada", "global_name": "Ada", "discriminator": "0"}
MEMBER = {"roles": ["11", "12"], "nick": None, "joined_at": "2020-04-18T00:10:04.414000+00:00"}


def translate(name: str, payload: dict[str, Any], translator: Translator | None = None) -> list[dict[str, Any]]:
    """With every event checked by the contract's reader."""
    events = (translator or Translator()).translate(name, payload, NOW)
    for part, event in enumerate(events):
        EventReader().read(orjson.dumps(event | {"session": "s", "seq": 1, "part": part}), NOW)
    return events


def message(**more: Any) -> dict[str, Any]:
    made = {"id": str(MESSAGE), "type": 0, "guild_id": GUILD, "channel_id": CHANNEL, "author": ADA, "member": MEMBER}
    return made | {"content": "", "attachments": [], "embeds": [], "mentions": []} | more


def test_a_message_is_counted_and_its_content_stays_behind() -> None:
    payload = message(content="héllo wide  world", attachments=[{}], mentions=[{}, {}])
    first, second = translate("MESSAGE_CREATE", payload, Translator(content_intent=True))
    assert first == {
        "v": 1,
        "type": "message_create",
        "ts": snowflake_ms(MESSAGE),
        "guild_id": int(GUILD),
        "channel_id": int(CHANNEL),
        "user_id": int(USER),
        "data": {
            "message_id": MESSAGE,
            "chars": 17,
            "words": 3,
            "attachments": 1,
            "embeds": 0,
            "stickers": 0,
            "mentions": 2,
            "roles": [11, 12],
        },
    }
    assert second["type"] == "member_update"
    assert second["data"] == {
        "username": "ada",
        "bot": False,
        "display_name": "Ada",
        "roles": [11, 12],
        "joined_at": MEMBER["joined_at"],
    }
    assert "héllo" not in orjson.dumps([first, second]).decode()


def test_without_the_intent_lengths_are_unknown_unless_discord_shows_them() -> None:
    (hidden, _) = translate("MESSAGE_CREATE", message())
    assert not {"chars", "words", "attachments", "embeds"} & hidden["data"].keys()
    (shown, _) = translate("MESSAGE_CREATE", message(content="hi @bot"))
    assert shown["data"]["chars"] == 7
    assert shown["data"]["attachments"] == 0
    (empty, _) = translate("MESSAGE_CREATE", message(), Translator(content_intent=True))
    assert empty["data"]["chars"] == 0


def test_who_wrote_what_to_whom() -> None:
    reply = message(type=19, referenced_message={"author": {"id": "7"}})
    assert translate("MESSAGE_CREATE", reply)[0]["data"]["reply_to"] == 7
    assert "reply_to" not in translate("MESSAGE_CREATE", message(type=19, referenced_message=None))[0]["data"]
    (webhook,) = translate("MESSAGE_CREATE", message(webhook_id="9", author=ADA | {"bot": True}))
    assert webhook["data"]["webhook"] is True
    assert webhook["data"]["bot"] is True


@pytest.mark.parametrize("kind", [1, 6, 7, 8, 12, 18, 21, 24, 46])
def test_what_discord_writes_itself_is_counted_and_dropped(kind: int) -> None:
    translator = Translator()
    assert translate("MESSAGE_CREATE", message(type=kind), translator) == []
    assert translator.skipped_messages == {kind: 1}


@pytest.mark.parametrize("kind", [0, 19, 20, 23])
def test_what_people_write_counts(kind: int) -> None:
    assert translate("MESSAGE_CREATE", message(type=kind))[0]["type"] == "message_create"


def test_direct_messages_never_get_in() -> None:
    for name in ("MESSAGE_CREATE", "MESSAGE_REACTION_ADD", "INTERACTION_CREATE", "CHANNEL_CREATE", "MESSAGE_DELETE"):
        payload = message()
        del payload["guild_id"]
        assert translate(name, payload) == []


def test_an_edit_is_an_update_with_a_new_edited_time() -> None:
    translator = Translator()
    edited = message(edited_timestamp="2022-10-07T19:45:00.123000+00:00")
    (event,) = translate("MESSAGE_UPDATE", edited, translator)
    assert (event["type"], event["ts"]) == ("message_update", 1_665_171_900_123)
    assert translate("MESSAGE_UPDATE", edited, translator) == []
    assert translate("MESSAGE_UPDATE", message(edited_timestamp=None), translator) == []
    again = message(edited_timestamp="2022-10-07T19:46:00+00:00")
    assert len(translate("MESSAGE_UPDATE", again, translator)) == 1


def test_a_member_is_published_when_something_is_new() -> None:
    translator = Translator()
    kinds = [
        [event["type"] for event in translate("MESSAGE_CREATE", payload, translator)]
        for payload in (
            message(),
            message(),
            message(member=MEMBER | {"nick": "countess"}),
            message(member=MEMBER | {"nick": "countess"}),
            message(member=MEMBER | {"nick": "countess", "roles": []}),
            message(member=None),
        )
    ]
    news = ["message_create", "member_update"]
    assert kinds == [news, ["message_create"], news, ["message_create"], news, ["message_create"]]


def test_what_is_remembered_of_members_is_bounded() -> None:
    translator = Translator(max_members=10)
    for number in range(100):
        translate("MESSAGE_CREATE", message(author=ADA | {"id": str(number + 1)}), translator)
    assert len(translator._members) == 10
    assert len(translate("MESSAGE_CREATE", message(author=ADA | {"id": "100"}), translator)) == 1
    assert len(translate("MESSAGE_CREATE", message(author=ADA | {"id": "1"}), translator)) == 2


def test_reactions() -> None:
    where = {"guild_id": GUILD, "channel_id": CHANNEL, "message_id": str(MESSAGE), "user_id": USER}
    custom = {"id": "41771983429993937", "name": "LUL"}
    added = where | {"emoji": custom, "message_author_id": "9", "member": MEMBER | {"user": ADA}}
    first, second = translate("MESSAGE_REACTION_ADD", added)
    assert first["data"] == {"message_id": MESSAGE, "emoji": "41771983429993937", "author_id": 9}
    assert (first["ts"], first["user_id"], second["type"]) == (NOW, int(USER), "member_update")
    (removed,) = translate("MESSAGE_REACTION_REMOVE", where | {"emoji": {"id": None, "name": "🔥"}})
    assert removed["data"] == {"message_id": MESSAGE, "emoji": "🔥"}
    (cleared,) = translate("MESSAGE_REACTION_REMOVE_ALL", where)
    assert (cleared["type"], cleared["data"]) == ("reaction_clear", {"message_id": MESSAGE})
    (one,) = translate("MESSAGE_REACTION_REMOVE_EMOJI", where | {"emoji": custom})
    assert one["data"]["emoji"] == "41771983429993937"


def test_deletes() -> None:
    where = {"guild_id": GUILD, "channel_id": CHANNEL}
    (one,) = translate("MESSAGE_DELETE", where | {"id": str(MESSAGE)})
    assert (one["type"], one["data"]) == ("message_delete", {"message_id": MESSAGE})
    (many,) = translate("MESSAGE_DELETE_BULK", where | {"ids": ["5", "6"]})
    assert (many["type"], many["data"]) == ("message_delete_bulk", {"message_ids": [5, 6]})


def test_voice_states_say_what_is_true() -> None:
    flags = {"self_mute": True, "self_deaf": False, "mute": False, "deaf": False, "suppress": True}
    state = {"guild_id": GUILD, "channel_id": CHANNEL, "user_id": USER, "self_stream": True, "self_video": True} | flags
    bot = MEMBER | {"user": ADA | {"bot": True}}
    first, _ = translate("VOICE_STATE_UPDATE", state | {"member": bot})
    assert first["data"] == {
        "self_mute": True, "stream": True, "video": True, "suppress": True, "bot": True, "roles": [11, 12],
    }  # fmt: skip
    (left,) = translate("VOICE_STATE_UPDATE", state | {"channel_id": None})
    assert left["channel_id"] is None
    assert "channel_id" in left


def guild(**more: Any) -> dict[str, Any]:
    channels = [{"id": CHANNEL, "type": 13, "name": "talk", "position": 2, "parent_id": "5"}]
    made = {"id": GUILD, "name": "The Guild", "member_count": 3, "owner_id": USER, "afk_channel_id": None}
    return made | {"channels": channels, "roles": [{"id": "11", "name": "mods", "position": 1}]} | more


def test_a_guild_comes_with_everybody_in_voice() -> None:
    state = {"user_id": USER, "channel_id": CHANNEL, "self_mute": True}
    payload = guild(voice_states=[state], members=[MEMBER | {"user": ADA}])
    update, snapshot, member = translate("GUILD_CREATE", payload)
    assert update["data"] == {
        "name": "The Guild",
        "member_count": 3,
        "owner_id": int(USER),
        "afk_channel_id": None,
        "channels": [{"channel_id": int(CHANNEL), "name": "talk", "position": 2, "kind": "stage", "parent": 5}],
        "roles": [{"role_id": 11, "name": "mods", "position": 1}],
    }
    assert snapshot["data"] == {
        "states": [{"user_id": int(USER), "channel_id": int(CHANNEL), "self_mute": True, "roles": [11, 12]}]
    }
    assert member["type"] == "member_update"


def test_an_empty_voice_is_a_snapshot_too() -> None:
    assert translate("GUILD_CREATE", guild(voice_states=[]))[1]["data"] == {"states": []}


def test_the_largest_guild_fits_its_events() -> None:
    name = "ü" * 100
    channels = [{"id": str(2**62 + n), "type": 0, "name": name, "position": n, "parent_id": "5"} for n in range(500)]
    roles = [{"id": str(2**61 + n), "name": name, "position": n} for n in range(250)]
    flags = dict.fromkeys(("self_mute", "self_deaf", "mute", "deaf", "self_stream", "self_video", "suppress"), True)
    states = [{"user_id": str(2**60 + n), "channel_id": str(2**62)} | flags for n in range(1500)]
    held = [str(2**61 + n) for n in range(250)]
    members = [{"user": {"id": str(2**60 + n), "username": name}, "roles": held} for n in range(1500)]
    payload = guild(channels=channels, roles=roles, voice_states=states, members=members)
    events = translate("GUILD_CREATE", payload)
    assert max(len(orjson.dumps(event)) for event in events) < MAX_EVENT_BYTES - 500
    updates = [event["data"] for event in events if event["type"] == "guild_update"]
    assert sum(len(update.get("channels", ())) for update in updates) == 500
    assert sum(len(update.get("roles", ())) for update in updates) == 250
    (snapshot,) = [event for event in events if event["type"] == "voice_snapshot"]
    rest = [event for event in events if event["type"] == "voice_state"]
    assert len(snapshot["data"]["states"]) + len(rest) == 1500


def test_outages_and_removals() -> None:
    assert translate("GUILD_DELETE", {"id": GUILD, "unavailable": True})[0]["type"] == "guild_unavailable"
    assert translate("GUILD_DELETE", {"id": GUILD})[0]["type"] == "guild_remove"
    assert translate("GUILD_CREATE", {"id": GUILD, "unavailable": True}) == []


def test_members_come_change_and_go() -> None:
    translator = Translator()
    payload = MEMBER | {"guild_id": GUILD, "user": ADA}
    (joined,) = translate("GUILD_MEMBER_ADD", payload, translator)
    assert (joined["type"], joined["data"]["username"]) == ("member_join", "ada")
    assert len(translate("MESSAGE_CREATE", message(), translator)) == 1
    (changed,) = translate("GUILD_MEMBER_UPDATE", payload | {"nick": "countess"}, translator)
    assert (changed["type"], changed["data"]["nick"]) == ("member_update", "countess")
    (left,) = translate("GUILD_MEMBER_REMOVE", {"guild_id": GUILD, "user": ADA}, translator)
    assert (left["type"], left["user_id"]) == ("member_leave", int(USER))


def test_threads_are_known_by_their_parents() -> None:
    translator = Translator()
    thread = {"id": CHANNEL, "guild_id": GUILD, "parent_id": "5", "name": "aside", "type": 11}
    (update,) = translate("THREAD_CREATE", thread, translator)
    assert update["data"] == {"channel_id": int(CHANNEL), "name": "aside", "kind": "thread", "parent": 5}
    assert translate("MESSAGE_CREATE", message(), translator)[0]["data"]["thread_of"] == 5
    (gone,) = translate("THREAD_DELETE", thread, translator)
    assert gone["type"] == "channel_delete"


def test_roles_and_channels() -> None:
    role = {"guild_id": GUILD, "role": {"id": "11", "name": "mods", "position": 1}}
    assert translate("GUILD_ROLE_UPDATE", role)[0]["data"] == {"role_id": 11, "name": "mods", "position": 1}
    assert translate("GUILD_ROLE_DELETE", {"guild_id": GUILD, "role_id": "11"})[0]["data"] == {"role_id": 11}
    channel = {"id": CHANNEL, "guild_id": GUILD, "type": 99, "name": None}
    assert translate("CHANNEL_UPDATE", channel)[0]["data"] == {"channel_id": int(CHANNEL), "kind": 99}
    assert translate("CHANNEL_DELETE", channel)[0]["channel_id"] == int(CHANNEL)


def interaction(kind: int, **data: Any) -> dict[str, Any]:
    who = MEMBER | {"user": ADA}
    return {"id": str(MESSAGE), "type": kind, "guild_id": GUILD, "channel_id": CHANNEL, "member": who, "data": data}


def test_commands() -> None:
    sub = [{"type": 2, "name": "set", "options": [{"type": 1, "name": "zone", "options": [{"type": 3, "name": "x"}]}]}]
    slash = translate("INTERACTION_CREATE", interaction(2, name="config", type=1, options=sub))[0]
    assert slash["ts"] == snowflake_ms(MESSAGE)
    assert slash["data"] == {
        "interaction_id": MESSAGE, "name": "config", "kind": "slash", "subcommand": "set zone",
    }  # fmt: skip
    kinds = {
        "user": interaction(2, name="wave", type=2),
        "message": interaction(2, name="quote", type=3),
        "component": interaction(3, custom_id="vote:123:private"),
        "autocomplete": interaction(4, name="play"),
        "modal": interaction(5, custom_id="form:1"),
    }
    for kind, payload in kinds.items():
        assert translate("INTERACTION_CREATE", payload)[0]["data"]["kind"] == kind
    assert translate("INTERACTION_CREATE", kinds["component"])[0]["data"]["name"] == "vote"
    assert translate("INTERACTION_CREATE", interaction(1)) == []


def test_moderation_has_a_reasons_length() -> None:
    entry = {"guild_id": GUILD, "id": str(MESSAGE), "user_id": USER, "target_id": "9", "action_type": 22}
    (event,) = translate("GUILD_AUDIT_LOG_ENTRY_CREATE", entry | {"reason": "spam again"})
    assert event["data"] == {"action": 22, "target_id": 9, "reason": 10}


def test_what_means_nothing_here_is_ignored_and_counted() -> None:
    translator = Translator()
    assert translate("TYPING_START", {"guild_id": GUILD}, translator) == []
    assert translate("A_NAME_OF_TOMORROW", {}, translator) == []
    assert translator.ignored == {"TYPING_START": 1, "A_NAME_OF_TOMORROW": 1}


@given(st.integers(0, 2**32))
def test_whatever_the_simulated_discord_says_becomes_the_events_it_means(seed: int) -> None:
    """In order, the types of one dispatch are those that it means, then news of members."""
    guilds = make_world(seed, 2, NOW)
    traffic = Traffic(guilds, seed)
    translator = Translator(content_intent=True)
    dispatches = [guild_create(each, len(each.members)) for each in guilds]
    dispatches += [traffic.next(NOW + at) for at in range(60)]
    for dispatch in dispatches:
        kinds = [event["type"] for event in translate(dispatch.name, dispatch.payload, translator)]
        assert tuple(kinds[: len(dispatch.events)]) == dispatch.events
        assert set(kinds[len(dispatch.events) :]) <= {"member_update"}
