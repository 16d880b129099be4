"""A network namespace for each node, on one bridge, in which single directions of single pairs can be cut.

Cutting from A to B is a blackhole route in A's namespace: nothing of A reaches B any more, while B's packets still
arrive at A. That is the one-way loss that real networks have, and TCP notices it only by its silence.
"""

import asyncio
import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

import pytest


class Network:
    """Namespaces by node name; the host is on the bridge too and reaches all of them."""

    def __init__(self, tag: str, count: int) -> None:
        self._tag = tag
        self.names = [f"orchestrator{number}" for number in range(1, count + 1)]
        self.subnet = f"10.{100 + secrets.randbelow(100)}.{secrets.randbelow(256)}"
        self.gateway = f"{self.subnet}.254"
        self.hosts = [f"{self.subnet}.{number}" for number in range(1, count + 1)]
        self._cut: set[tuple[str, str]] = set()

    def prefix(self, name: str) -> tuple[str, ...]:
        """Return what runs a command in the node's namespace."""
        return ("ip", "netns", "exec", self._namespace(name))

    def cut(self, source: str, target: str) -> None:
        """Lose everything that goes from one node to the other; the way back stays."""
        _run(*self.prefix(source), "ip", "route", "add", "blackhole", self._host(target))
        self._cut.add((source, target))

    def cut_both(self, one: str, other: str) -> None:
        """Lose everything between two nodes."""
        self.cut(one, other)
        self.cut(other, one)

    def isolate(self, name: str) -> None:
        """Lose everything between a node and the others; Postgres stays in its reach."""
        for other in self.names:
            if other != name:
                self.cut_both(name, other)

    def heal(self) -> None:
        """Lose nothing any more."""
        for source, target in self._cut:
            _run(*self.prefix(source), "ip", "route", "del", "blackhole", self._host(target))
        self._cut.clear()

    def make(self) -> None:
        """Set up bridge and namespaces; the bridge has one of its own, where no firewall of the host sees it."""
        hub, host_end = self._namespace("bridge"), f"dq{self._tag}"
        _run("ip", "netns", "add", hub)
        on_bridge = ("ip", "-n", hub, "link")
        _run(*on_bridge, "add", "bridge", "type", "bridge")
        _run(*on_bridge, "set", "bridge", "up")
        _run("ip", "link", "add", host_end, "type", "veth", "peer", "name", "host", "netns", hub)
        _run(*on_bridge, "set", "host", "master", "bridge", "up")
        _run("ip", "addr", "add", f"{self.gateway}/24", "dev", host_end)
        _run("ip", "link", "set", host_end, "up")
        for number, (name, host) in enumerate(zip(self.names, self.hosts, strict=True)):
            namespace, outer = self._namespace(name), f"node{number}"
            _run("ip", "netns", "add", namespace)
            _run(*on_bridge, "add", outer, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _run(*on_bridge, "set", outer, "master", "bridge", "up")
            inside = self.prefix(name)
            _run(*inside, "ip", "addr", "add", f"{host}/24", "dev", "eth0")
            _run(*inside, "ip", "link", "set", "eth0", "up")
            _run(*inside, "ip", "link", "set", "lo", "up")

    def remove(self) -> None:
        """Remove all of it, as far as it was made."""
        for name in (*self.names, "bridge"):
            _run("ip", "netns", "del", self._namespace(name), check=False)
        _run("ip", "link", "del", f"dq{self._tag}", check=False)

    def _namespace(self, name: str) -> str:
        return f"dq{self._tag}-{name}"

    def _host(self, name: str) -> str:
        return self.hosts[self.names.index(name)]


@contextmanager
def network(count: int) -> Iterator[Network]:
    """Yield the network; the test is skipped where none can be made."""
    if os.geteuid() != 0:
        pytest.skip("network namespaces take root")
    if shutil.which("ip") is None:
        pytest.skip("network namespaces take the command ip: install iproute2")
    made = Network(secrets.token_hex(2), count)
    try:
        try:
            made.make()
        except subprocess.CalledProcessError as exc:
            pytest.skip(f"no network namespaces here: {' '.join(exc.cmd)}: {exc.stderr.strip()}")
        yield made
    finally:
        made.remove()


@asynccontextmanager
async def forwarded(host: str, port: int) -> AsyncIterator[int]:
    """Forward connections on the bridge to a port of 127.0.0.1, which no namespace reaches; yield the port there."""
    async with asyncio.TaskGroup() as group:
        ends: set[asyncio.StreamWriter] = set()

        async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            back, onward = await asyncio.open_connection("127.0.0.1", port)
            ends.update((writer, onward))
            group.create_task(_copy(reader, onward))
            group.create_task(_copy(back, writer))

        server = await asyncio.start_server(accept, host, 0)
        try:
            yield server.sockets[0].getsockname()[1]
        finally:
            server.close()
            for end in ends:
                end.transport.abort()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.transport.abort()


def _run(*command: str, check: bool = True) -> None:
    subprocess.run(command, check=check, capture_output=True, text=True)
