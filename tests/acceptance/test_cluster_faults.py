"""A full disk, and strangers on the election's port."""

import asyncio
import json
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from orchestrator.cluster.wire import MAX_BODY_BYTES, PATH, SIGNATURE, Seal
from tests.acceptance.cluster import Cluster, Node, cluster, until
from tests.servers.process import accepts

pytestmark = pytest.mark.stack


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system with room for next to nothing."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small tmpfs takes root")
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.strip()}")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


async def test_a_node_with_a_full_disk_gives_no_vote_and_says_why(
    tmp_path: Path, database_url: str, small_disk: Path
) -> None:
    async with cluster(tmp_path, database_url, start=False) as three:
        poor, *others = three.nodes
        poor.env["DISTRIQUEUE_DATA_DIR"] = str(small_disk / "data")
        for node in three.nodes:
            await node.start()
        await three.settled()
        if await three.settled() is poor:
            await three.client.post(f"{poor.url}/api/cluster/step-down", json={})
        leader = await three.settled()
        term, vote = (await three.raft(poor))["term"], (await three.raft(poor))["vote"]
        ballast = small_disk / "ballast"
        with pytest.raises(OSError, match="No space"):
            ballast.write_bytes(bytes(1 << 20))
        survivor = next(node for node in others if node is not leader)
        await leader.kill()

        async def says_why() -> bool:
            error = (await three.raft(poor)).get("storage", {}).get("error")
            return bool(error) and "No space left on device" in error

        await until(says_why, "a node that says why it does not vote")
        # Of three voters one is dead and one cannot vote: nobody may win.
        await asyncio.sleep(3)
        assert (await three.status(survivor))["role"] != "leader"
        state = await three.raft(poor)
        assert (state["term"], state["vote"], state["role"]) == (term, vote, "follower")
        assert json.loads((small_disk / "data" / "hard-state.json").read_text())["term"] == term
        ballast.unlink()
        await three.settled(timeout_s=10)
        assert (await three.raft(poor))["storage"] == {"durable": True, "error": None}


class Stranger:
    """Sends what it likes to one node, whose peers do not run."""

    def __init__(self, nodes: Cluster) -> None:
        self.nodes = nodes
        self.node: Node = nodes.nodes[0]
        self.session = ""
        self.number = 0

    def request(self, **changes: object) -> dict[str, Any]:
        """Return a vote request that would be granted, were it honest."""
        self.number += 1
        return {
            "cluster": "test",
            "sender": "orchestrator2",
            "receiver": "orchestrator1",
            "boot": "stranger",
            "session": self.session,
            "number": self.number,
            "reaches_store": True,
            "epoch": None,
            "type": "vote",
            "term": 1000,
            "seq": self.number,
            "force": True,
        } | changes

    async def post(self, body: bytes, *, secret: str | None = None, sign: bool = True) -> tuple[int, dict[str, Any]]:
        """Send it, signed, and return the answer."""
        key = (self.nodes.secret if secret is None else secret).encode()
        headers = {SIGNATURE: Seal(key).of_request(body)} if sign else {}
        answer = await self.nodes.client.post(self.node.raft_url + PATH, content=body, headers=headers)
        return answer.status_code, answer.json()

    async def start(self) -> None:
        """Start the node, and wait until its election's port answers too: it opens in a thread of its own."""
        await self.node.start()
        port = int(self.node.raft_url.rsplit(":", 1)[1])

        async def hears() -> bool:
            return accepts(port)

        await until(hears, "the election's port")

    async def state(self) -> tuple[Any, ...]:
        """Return what no refused request may change."""
        said = await self.nodes.raft(self.node)
        return said["term"], said["vote"], said["leader"], (self.node.data / "hard-state.json").exists()


async def test_strangers_are_refused_counted_and_change_nothing(tmp_path: Path, database_url: str) -> None:
    async with cluster(tmp_path, database_url, start=False) as nodes:
        stranger = Stranger(nodes)
        await stranger.start()
        before = await stranger.state()
        status, learnt = await stranger.post(dumped(stranger.request()))
        assert (status, learnt["answer"]) == (409, None)
        stranger.session = learnt["session"]
        wrong: list[tuple[int, str, Callable[[], Any]]] = [
            (401, "secret", lambda: stranger.post(dumped(stranger.request()), secret="another secret entirely")),
            (401, "cluster", lambda: stranger.post(dumped(stranger.request(cluster="other")))),
            (403, "stranger", lambda: stranger.post(dumped(stranger.request(sender="nobody")))),
            (403, "stranger", lambda: stranger.post(dumped(stranger.request(receiver="orchestrator3")))),
            (403, "stranger", lambda: stranger.post(dumped(stranger.request(sender="orchestrator1")))),
            (400, "malformed", lambda: stranger.post(dumped(stranger.request()), sign=False)),
            (400, "malformed", lambda: stranger.post(b"{")),
            (400, "malformed", lambda: stranger.post(dumped(stranger.request(term=-1)))),
            (400, "malformed", lambda: stranger.post(dumped(stranger.request(term=True)))),
            (400, "malformed", lambda: stranger.post(dumped(stranger.request(type="vote_resp")))),
            (400, "malformed", lambda: stranger.post(dumped(stranger.request(extra=1)))),
            (413, "too_large", lambda: stranger.post(b" " * (MAX_BODY_BYTES + 1))),
        ]
        for status, reason, send in wrong:
            assert await send() == (status, {"error": reason})
        assert await stranger.state() == before
        # An honest request is stepped, once: a recording of it is not.
        honest = dumped(stranger.request(type="prevote", term=1))
        assert (await stranger.post(honest))[0] == 200
        assert await stranger.post(honest) == (409, {"error": "replayed"})
        assert await stranger.state() == before
        counted = (await nodes.raft(nodes.nodes[0]))["requestsRefused"]
        assert counted == {
            "session": 1,
            "secret": 1,
            "cluster": 1,
            "stranger": 3,
            "malformed": 6,
            "too_large": 1,
            "replayed": 1,
        }
        # Nor does a recording count in the next life.
        await stranger.node.kill()
        await stranger.start()
        assert (await stranger.post(honest))[0] == 409
        assert await stranger.state() == before


def dumped(request: dict[str, Any]) -> bytes:
    return json.dumps(request).encode()
