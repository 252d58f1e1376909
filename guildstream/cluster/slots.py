"""Which slot a command belongs to, and which master has the slot."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, Generic, TypeVar

from redis.crc import key_slot
from redis.exceptions import AskError, ClusterDownError, TryAgainError
from redis.exceptions import ConnectionError as RedisConnectionError

__all__ = ["SLOT_MOVES", "Address", "Command", "Topology", "command_name", "slot_of", "split_command", "text"]

C = TypeVar("C")

#: What a Cluster answers while a slot moves, or nobody has it: later the same command is taken.
SLOT_MOVES: Final = AskError | ClusterDownError | TryAgainError

#: Host and port.
Address = tuple[str, int]
#: The words of a command.
Command = tuple[Any, ...]

_SLOTS: Final = 16_384
#: Commands that name no key.
_KEYLESS: Final = frozenset(
    {
        *(
            "ACL",
            "ASKING",
            "BGREWRITEAOF",
            "BGSAVE",
            "CLIENT",
            "CLUSTER",
            "COMMAND",
            "CONFIG",
            "DBSIZE",
            "DEBUG",
            "ECHO",
        ),
        *("FLUSHALL", "FLUSHDB", "INFO", "KEYS", "LASTSAVE", "LATENCY", "PING", "SCRIPT", "SLOWLOG", "TIME", "WAIT"),
    }
)
#: Of these the key comes behind a second word, unless the client has joined both.
_TWO_WORDS: Final = frozenset({"XINFO", "XGROUP", "OBJECT", "MEMORY"})
_SCRIPTS: Final = frozenset({"EVAL", "EVALSHA", "EVAL_RO", "EVALSHA_RO"})
#: Every argument of these is a key; the answer is a number.
_ALL_KEYS: Final = frozenset({"DEL", "UNLINK", "EXISTS", "TOUCH"})


def text(word: Any) -> str:
    """A word of a command or reply."""
    return word.decode() if isinstance(word, bytes) else str(word)


def slot_of(key: str | bytes) -> int:
    """The slot of a key: of its hash tag where it has one."""
    return key_slot(key.encode() if isinstance(key, str) else key)


def command_name(command: Command) -> str:
    """The first word."""
    return text(command[0]).partition(" ")[0].upper()


def split_command(command: Command) -> list[tuple[int | None, Command]]:
    """A command as parts of one slot each; slot None where it names no key.

    DEL and its like, and XREAD, may name keys of several slots: their parts are commands of their own.
    """
    name = command_name(command)
    if name in _KEYLESS:
        return [(None, command)]
    if name in _ALL_KEYS:
        return [(slot, (command[0], *keys)) for slot, keys in _by_slot(command[1:]).items()]
    if name == "XREAD":
        return _split_xread(command)
    if name in _SCRIPTS:
        return [(slot_of(command[3]) if int(command[2]) else None, command)]
    joined = " " in text(command[0])
    return [(slot_of(command[2 if name in _TWO_WORDS and not joined else 1]), command)]


def _split_xread(command: Command) -> list[tuple[int | None, Command]]:
    start = next(index for index, word in enumerate(command) if text(word).upper() == "STREAMS") + 1
    count = (len(command) - start) // 2
    ids = dict(zip(command[start : start + count], command[start + count :], strict=True))
    return [(slot, (*command[:start], *keys, *(ids[key] for key in keys))) for slot, keys in _by_slot(ids).items()]


def _by_slot(keys: Iterable[Any]) -> dict[int, list[Any]]:
    found: dict[int, list[Any]] = {}
    for key in keys:
        found.setdefault(slot_of(key), []).append(key)
    return found


class Topology(Generic[C]):
    """The slots of a Cluster, and one client for each of its masters. It talks to nobody.

    Args:
        seeds: nodes to ask first.
        make: makes a node's client; it connects when it is used.

    Attributes:
        stale: whether to ask again before the next command.
        clients: of every node that was needed so far.
    """

    def __init__(self, seeds: Sequence[Address], make: Callable[[Address], C]) -> None:
        self.stale = True
        self.clients: dict[Address, C] = {}
        self._seeds = list(seeds)
        self._make = make
        #: Every master that has slots.
        self.masters: list[Address] = []
        self._masters: list[Address | None] = [None] * _SLOTS

    def client(self, address: Address) -> C:
        """The client of a node."""
        found = self.clients.get(address)
        if found is None:
            found = self.clients.setdefault(address, self._make(address))
        return found

    def holder(self, slot: int | None) -> Address:
        """The master of a slot; any master for None.

        Raises:
            redis.ConnectionError: none has the slot.
        """
        if slot is None:
            return random.choice(self.masters or self._seeds)  # noqa: S311 - spreads load, hides nothing
        address = self._masters[slot]
        if address is None:
            self.stale = True
            msg = f"no master of the Cluster has slot {slot}"
            raise RedisConnectionError(msg)
        return address

    def candidates(self) -> list[Address]:
        """Whom to ask for the slots, in which order."""
        known = random.sample(self.masters, len(self.masters))
        return known + [seed for seed in self._seeds if seed not in known]

    def learn(self, reply: Iterable[Any], asked: Address) -> bool:
        """Take the answer to CLUSTER SLOTS; False where the node knows of no slots."""
        masters: list[Address | None] = [None] * _SLOTS
        for first, last, (host, port, *_), *_ in reply:
            address = (text(host) if host else asked[0], int(port))
            masters[int(first) : int(last) + 1] = [address] * (int(last) - int(first) + 1)
        if not any(masters):
            return False
        self._masters, self.stale = masters, False
        self._count_masters()
        return True

    def moved(self, error: AskError, asked: Address) -> Address:
        """Where a redirection leads; a slot that has moved for good is noted."""
        address = (error.host or asked[0], error.port)
        if type(error) is not AskError:
            self._masters[error.slot_id] = address
            self.stale = True
            self._count_masters()
        return address

    def _count_masters(self) -> None:
        self.masters = sorted({address for address in self._masters if address is not None})
