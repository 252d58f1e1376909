"""Commands on their way through a Cluster: whom each goes to next, until all are answered."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.exceptions import AskError, ClusterDownError, ResponseError
from redis.exceptions import ConnectionError as RedisConnectionError

from guildstream.cluster.slots import Address, Command, Topology, command_name, split_command, text

__all__ = ["Batch", "Part"]

#: How often one command may be redirected.
_HOPS: Final = 6
#: What goes to every master.
_EVERYWHERE: Final = frozenset({"FLUSHALL", "FLUSHDB", "SCRIPT", "DBSIZE", "KEYS"})


@dataclass(slots=True, eq=False)
class Part:
    """A command, or what of it one node is to do.

    Attributes:
        index: of its command in the batch.
        words: of the command.
        options: for the parser of the reply.
        slot: of its keys; None for any node.
        target: the node, where it isn't the slot's master.
        asking: whether the node is only about to get the slot.
        hops: redirections so far.
        reply: the answer, an exception included.
        done: whether there is one.
    """

    index: int
    words: Command
    options: dict[str, Any]
    slot: int | None
    target: Address | None = None
    asking: bool = False
    hops: int = 0
    reply: Any = None
    done: bool = False


class Batch:
    """Some commands, in order for each slot.

    Args:
        topology: knows the masters; must not be stale.
        commands: words and parser options of each.
    """

    def __init__(self, topology: Topology[Any], commands: Sequence[tuple[Command, dict[str, Any]]]) -> None:
        self._topology = topology
        self._count = len(commands)
        self._names = [command_name(words) for words, _ in commands]
        self._parts = [part for index, command in enumerate(commands) for part in self._split(index, *command)]

    @property
    def done(self) -> bool:
        """Whether every command is answered."""
        return all(part.done for part in self._parts)

    def groups(self) -> dict[Address, list[Part]]:
        """What to send next, by node."""
        found: dict[Address, list[Part]] = {}
        for part in self._parts:
            if part.done:
                continue
            try:
                address = part.target or self._topology.holder(part.slot)
            except RedisConnectionError as error:
                part.reply, part.done = error, True
            else:
                found.setdefault(address, []).append(part)
        return found

    def answer(self, part: Part, reply: Any, address: Address) -> None:
        """Take a node's reply; a redirection has the part sent again."""
        if isinstance(reply, AskError) and part.hops < _HOPS:
            part.hops += 1
            part.target = self._topology.moved(reply, address)
            part.asking = type(reply) is AskError
            if not part.asking:
                part.target = None
            return
        if isinstance(reply, ClusterDownError):
            self._topology.stale = True
        part.reply, part.done = reply, True

    def fail(self, parts: Iterable[Part], error: Exception) -> None:
        """A node could not be talked to: whether these were executed is not known."""
        self._topology.stale = True
        for part in parts:
            if not part.done:
                part.reply, part.done = error, True

    def replies(self) -> list[Any]:
        """The answers, in the order of the commands; errors are answers."""
        found: list[list[Any]] = [[] for _ in range(self._count)]
        for part in self._parts:
            found[part.index].append(part.reply)
        return [_merge(name, parts) for name, parts in zip(self._names, found, strict=True)]

    def _split(self, index: int, words: Command, options: dict[str, Any]) -> list[Part]:
        name = self._names[index]
        if name in _EVERYWHERE or (name == "CONFIG" and "SET" in _words(words)):
            return [Part(index, words, options, None, target=address) for address in self._topology.masters]
        return [Part(index, part, options, slot) for slot, part in split_command(words)]


def _words(words: Command) -> list[str]:
    return " ".join(text(word) for word in words[:2]).upper().split()


def _merge(name: str, replies: list[Any]) -> Any:
    """One answer of several masters' answers."""
    if len(replies) == 1:
        return replies[0]
    errors = [reply for reply in replies if isinstance(reply, Exception)]
    good = [reply for reply in replies if not isinstance(reply, Exception)]
    # A script is loaded where there is somebody to load it; who comes back later says NOSCRIPT.
    if errors and not (name == "SCRIPT" and good and not isinstance(errors[0], ResponseError)):
        return errors[0]
    first = next((reply for reply in good if reply), good[0] if good else None)
    if isinstance(first, dict):
        return {key: value for reply in good for key, value in (reply or {}).items()}
    if isinstance(first, list) and name != "SCRIPT":
        return [item for reply in good for item in reply or ()]
    if isinstance(first, int) and not isinstance(first, bool):
        return sum(good)
    return first
