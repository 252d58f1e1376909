"""A Redis Cluster on this machine: three masters, each with a replica where that is wanted; started in seconds.

Every node is a process of its own on loopback, below a temporary directory, ended by its process id.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import redis

from guildstream.cluster import slot_of
from guildstream.connections import connect_redis
from guildstream.services.programs import find_programs
from tests.servers import wait_until
from tests.transport.proxy import CuttingProxy

SLOTS = 16_384
DEADLINE_SECONDS = 60.0

_CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir "{directory}"
cluster-enabled yes
cluster-config-file nodes.conf
cluster-node-timeout {node_timeout_ms}
cluster-require-full-coverage no
cluster-replica-validity-factor 0
cluster-allow-replica-migration no
cluster-announce-port {announced}
cluster-announce-bus-port {bus_port}
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-ping-replica-period 1
save ""
appendonly yes
appendfsync always
daemonize no
loglevel notice
"""


def redis_program() -> Path:
    """``TRANSPORT_REDIS_PROGRAM`` names another server than the embedded one."""
    return Path(os.environ.get("TRANSPORT_REDIS_PROGRAM") or find_programs().redis_bin / "redis-server")


class Node:
    """One server of the Cluster; may be killed, paused and started again on the same port and data."""

    def __init__(self, directory: Path, *, node_timeout_ms: int, proxied: bool = False) -> None:
        directory.mkdir()
        self._directory = directory
        self._node_timeout_ms = node_timeout_ms
        self.port = free_port()
        self.proxy = CuttingProxy(self.url).__enter__() if proxied else None
        #: The port that the Cluster gives to clients.
        self.announced = urlsplit(self.proxy.url).port if self.proxy else self.port
        self._process: subprocess.Popen[bytes] | None = None
        self.start()
        self.id: str = self.ask("CLUSTER", "MYID").decode()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    @property
    def client(self) -> redis.Redis:
        return connect_redis(self.url, name="tests", timeout_seconds=DEADLINE_SECONDS)

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def ask(self, *words: object) -> object:
        """One command, on a connection of its own."""
        with self.client as client:
            return client.execute_command(*words)

    def start(self) -> None:
        """Start it, and wait until it answers."""
        text = _CONFIGURATION.format(
            port=self.port,
            announced=self.announced,
            bus_port=self.port + 10_000,
            directory=self._directory,
            node_timeout_ms=self._node_timeout_ms,
        )
        program = redis_program()
        with (self._directory / "log").open("ab") as log:
            self._process = subprocess.Popen([program, "-"], stdin=subprocess.PIPE, stdout=log, stderr=log)
        assert self._process.stdin is not None
        self._process.stdin.write(text.encode())
        self._process.stdin.close()
        wait_until(self._answers, deadline_seconds=DEADLINE_SECONDS, what=f"an answer of {self.url}: {self.log()}")

    def kill(self) -> None:
        """SIGKILL."""
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """SIGCONT."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """Whatever state it is in."""
        if self.running:
            self.resume()
            self._end(signal.SIGKILL)

    def close(self) -> None:
        """Nothing of it is left."""
        self.stop()
        if self.proxy is not None:
            self.proxy.__exit__()

    def log(self) -> str:
        """What it has logged last."""
        return (self._directory / "log").read_text(errors="replace")[-2000:]

    @property
    def is_master(self) -> bool:
        """Whether it takes writes."""
        return bool(self.ask("ROLE")[0] == b"master")

    def _answers(self) -> bool:
        assert self.running, f"the server has ended: {self.log()}"
        try:
            return bool(self.ask("PING"))
        except (redis.ConnectionError, redis.TimeoutError):
            return False

    def _end(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)
        self._process.wait()


class Cluster:
    """Three masters with a third of the slots each, and their replicas.

    Attributes:
        nodes: the masters of the start, then the replicas of each in the same order.
    """

    def __init__(
        self, directory: Path, *, replicas: bool = False, proxied: bool = False, node_timeout_ms: int = 1_000
    ) -> None:
        self._directory = directory
        self._proxied = proxied
        self._node_timeout_ms = node_timeout_ms
        self.nodes: list[Node] = []
        try:
            for _ in range(6 if replicas else 3):
                self._add()
            self._join()
        except BaseException:
            self.stop()
            raise

    @property
    def url(self) -> str:
        """All nodes, so that any of them may be away."""
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.announced}" for node in self.nodes)

    @property
    def proxies(self) -> list[CuttingProxy]:
        """One before each node, where that was asked for."""
        return [node.proxy for node in self.nodes if node.proxy is not None]

    def client(self) -> redis.Redis:
        return connect_redis(self.url, name="tests")

    def masters(self) -> list[Node]:
        """The running nodes that have slots and take writes."""
        return [node for node in self.nodes if node.running and node.is_master and self._slots(node)]

    def holder(self, key: str) -> Node:
        """The running master of a key."""
        return next(node for node in self.masters() if slot_of(key) in self._slots(node))

    def replica_of(self, master: Node) -> Node:
        """A running replica that is connected to its master."""
        return next(node for node in self.nodes if node.running and node is not master and _follows(node, master))

    def move_slot(self, key: str, target: Node) -> None:
        """Move the slot of a key while it is used, as ``redis-cli --cluster reshard`` does."""
        slot, source = slot_of(key), self.holder(key)
        target.ask("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.ask("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)
        while keys := source.ask("CLUSTER", "GETKEYSINSLOT", slot, 10):
            source.ask("MIGRATE", "127.0.0.1", target.port, "", 0, 30_000, "REPLACE", "KEYS", *keys)
        for node in [target, source, *(found for found in self.masters() if found not in {source, target})]:
            node.ask("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def wait_agreed(self) -> None:
        """Until all running nodes call all slots served and know of the same masters."""
        wait_until(self._agreed, deadline_seconds=DEADLINE_SECONDS, what="one view of the Cluster")

    def wait_replicated(self) -> None:
        """Until every replica is in step with its master."""
        for master in self.masters():
            wait_until(
                lambda master=master: _lag(master) == 0, deadline_seconds=DEADLINE_SECONDS, what="replicas in step"
            )

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        for node in self.nodes:
            node.close()

    def _add(self) -> None:
        directory = self._directory / f"node-{len(self.nodes)}"
        self.nodes.append(Node(directory, node_timeout_ms=self._node_timeout_ms, proxied=self._proxied))

    def _join(self) -> None:
        first, *others = self.nodes
        for index, node in enumerate(self.nodes[:3]):
            begin, end = SLOTS * index // 3, SLOTS * (index + 1) // 3
            node.ask("CLUSTER", "ADDSLOTS", *range(begin, end))
            # Epochs of their own from the start: nodes that have the same one need a while to sort that out.
            node.ask("CLUSTER", "SET-CONFIG-EPOCH", index + 1)
        for node in others:
            node.ask("CLUSTER", "MEET", "127.0.0.1", first.port)
        self._wait_known(self.nodes)
        for master, replica in zip(self.nodes[:3], self.nodes[3:], strict=False):
            replica.ask("CLUSTER", "REPLICATE", master.id)
        self.wait_agreed()
        self.wait_replicated()

    def _wait_known(self, nodes: list[Node]) -> None:
        everybody = {node.id for node in nodes}
        for node in nodes:
            wait_until(
                lambda node=node: everybody <= {line.split()[0] for line in _view(node) if "handshake" not in line},
                deadline_seconds=DEADLINE_SECONDS,
                what="nodes that know each other",
            )

    def _agreed(self) -> bool:
        running = [node for node in self.nodes if node.running]
        views = {frozenset(_masters_in(node)) for node in running}
        states = [node.ask("CLUSTER", "INFO") for node in running]
        covered = all(b"cluster_state:ok" in state and b"slots_ok:16384" in state for state in states)
        return covered and len(views) == 1 and len(next(iter(views))) == 3

    @staticmethod
    def _slots(node: Node) -> set[int]:
        found: set[int] = set()
        for line in _view(node):
            if "myself" in line:
                for span in line.split()[8:]:
                    if not span.startswith("["):
                        first, _, last = span.partition("-")
                        found.update(range(int(first), int(last or first) + 1))
        return found


def _view(node: Node) -> list[str]:
    return node.ask("CLUSTER", "NODES").decode().splitlines()


def _masters_in(node: Node) -> list[str]:
    """Masters with slots: id and slots of each."""
    lines = [line.split() for line in _view(node) if "master" in line and "fail" not in line]
    return [" ".join([line[0], *line[8:]]) for line in lines if len(line) > 8]


def _follows(node: Node, master: Node) -> bool:
    role = node.ask("ROLE")
    return role[0] == b"slave" and role[2] == master.announced


def _lag(master: Node) -> int:
    role = master.ask("ROLE")
    expected = [line for line in _view(master) if f" {master.id} " in line and "slave" in line and "fail" not in line]
    if len(role[2]) < len(expected):
        return 1
    return max((int(role[1]) - int(offset) for _, _, offset in role[2]), default=0)


def free_port() -> int:
    """A port that nobody uses now, and whose Cluster bus, 10,000 above, is below those that the system gives out."""
    start = os.getpid() % 10_000
    for offset in range(0, 10_000, 7):
        port = 12_000 + (start + offset) % 10_000
        with contextlib.suppress(OSError), socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", port))
            second.bind(("127.0.0.1", port + 10_000))
            return port
    raise AssertionError("no free ports")


@contextlib.contextmanager
def running_cluster(**options: Any) -> Iterator[Cluster]:
    """A Cluster; gone at the end."""
    directory = Path(tempfile.mkdtemp(prefix="gs-cluster-"))
    try:
        cluster = Cluster(directory, **options)
        try:
            yield cluster
        finally:
            cluster.stop()
    finally:
        shutil.rmtree(directory, ignore_errors=True)


class CuttingProxies:
    """The proxies of a Cluster as one: whoever is first to send a command that is to be cut off is cut."""

    def __init__(self, cluster: Cluster) -> None:
        self._proxies = cluster.proxies
        self._before = self._count()
        self.url = cluster.url

    @property
    def cuts(self) -> int:
        """Connections cut so far."""
        return self._count() - self._before

    def cut(self, marker: bytes, *, delay_seconds: float = 0.0) -> None:
        """Cut the connection of the next command that holds ``marker`` at each master."""
        for proxy in self._proxies:
            proxy.cut(marker, delay_seconds=delay_seconds)

    def spare(self) -> None:
        """Cut nothing more."""
        for proxy in self._proxies:
            proxy.spare()

    def _count(self) -> int:
        return sum(proxy.cuts for proxy in self._proxies)
