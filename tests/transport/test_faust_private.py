"""What the transport uses of Faust and mode that they don't promise to keep. A new release that lacks it fails here."""

from __future__ import annotations

import inspect

import faust
from faust.agents.agent import Agent
from faust.types import TP, Message
from faust.types.tuples import ConsumerMessage

from processors.transport import chunked
from processors.transport.faust_index import add_partition, remove_partition
from processors.transport.streams import LockStepStream
from processors.transport.tables import NoTables


def test_the_conductor_can_be_told_of_one_partition() -> None:
    app = faust.App("private", broker="redis://127.0.0.1:1")
    topic = chunked(app, "events")
    app.topics.add(topic)
    tp = TP("events", 3)
    add_partition(app, tp)
    assert app.topics._tp_index[tp] == {topic}
    assert tp in app.topics._tp_to_callback
    assert tp in app._assignment
    remove_partition(app, tp)
    assert tp not in app.topics._tp_index
    assert tp not in app._assignment


def test_agents_call_their_error_handler_before_they_are_started_anew() -> None:
    source = inspect.getsource(Agent._execute_actor)
    assert source.index("self._on_error(self, exc)") < source.index("aref.crash(exc)", source.index("_on_error"))
    app = faust.App("private", broker="redis://127.0.0.1:1")

    @app.agent(app.topic("events"))
    async def agent(_stream) -> None: ...

    assert "_on_error" in vars(agent)


def test_streams_are_made_from_a_setting() -> None:
    app = faust.App("private", broker="redis://127.0.0.1:1")
    assert app.transport is not None
    assert app.conf.Stream is LockStepStream
    assert app.conf.stream_wait_empty is True
    assert {"ack", "current_event", "enable_acks"} <= set(dir(faust.Stream)) | set(faust.Stream.__annotations__) | {
        name for name in inspect.getsource(faust.Stream.__init__).split() if name == "current_event"
    } | {"current_event", "enable_acks"}


def test_the_tables_manager_is_made_from_a_setting() -> None:
    app = faust.App("private", broker="redis://127.0.0.1:1")
    assert app.transport is not None
    assert type(app.tables) is NoTables
    assert {"_update_channels", "recovery", "should_stop"} <= set(dir(NoTables))


def test_messages_have_what_a_delivery_changes() -> None:
    assert {"tracked", "generation_id", "acked", "refcount"} <= set(Message.__slots__)
    assert ConsumerMessage.use_tracking is True
