"""Who votes, read from the settings and checked."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from distriqueue.core.errors import BadSetting
from distriqueue.settings import OrchestratorSettings
from distriqueue.telemetry import get_logger

log = get_logger("cluster")

MIN_SECRET: Final = 16
_NAME: Final = re.compile(r"[A-Za-z0-9._-]{1,100}")


@dataclass(frozen=True, slots=True)
class Membership:
    """One node's view of its cluster. A node that is not among the voters hears workers and never campaigns."""

    cluster: str
    node: str
    voters: Mapping[str, str]
    """Base URL of each voter's election port, by name."""
    secret: bytes
    address: tuple[str, int] | None = None
    """Where this node hears the others; None: there are none to hear."""
    data_dir: Path | None = None
    """Where term and vote are kept; None: nowhere, as Postgres' epoch is all that a node alone needs."""

    @property
    def peers(self) -> Mapping[str, str]:
        """The other voters, if this node is one."""
        return {name: url for name, url in self.voters.items() if name != self.node} if self.is_voter else {}

    @property
    def is_voter(self) -> bool:
        """Whether this node takes part in elections."""
        return self.node in self.voters

    @classmethod
    def of(cls, settings: OrchestratorSettings) -> Self:
        """Read and check the settings; BadSetting names the one that is wrong."""
        voters = _voters(settings.peers) if settings.peers else {settings.node_id: ""}
        secret = settings.cluster_secret.get_secret_value().encode() if settings.cluster_secret else b""
        if len(voters) == 1 or settings.node_id not in voters:
            return cls(settings.cluster_name, settings.node_id, voters, secret)
        if len(secret) < MIN_SECRET:
            raise BadSetting(
                f"DISTRIQUEUE_CLUSTER_SECRET: {len(voters)} nodes need a common one of {MIN_SECRET} characters at least"
            )
        if settings.data_dir is None:
            raise BadSetting("DISTRIQUEUE_DATA_DIR: one of several nodes must keep its term and vote on disk: set it")
        host = settings.raft_host or settings.orchestrator_host
        port = settings.raft_port or urlsplit(voters[settings.node_id]).port or 0
        return cls(settings.cluster_name, settings.node_id, voters, secret, (host, port), settings.data_dir)

    def warn(self) -> None:
        """Log what is allowed and unwise."""
        count = len(self.voters)
        if not self.is_voter:
            log.warning("node_has_no_vote", node=self.node, voters=sorted(self.voters), effect="it never leads")
        elif count % 2 == 0:
            log.warning("voters_are_even", voters=count, effect=f"it survives no more failures than {count - 1} would")


def _voters(peers: tuple[str, ...]) -> dict[str, str]:
    voters: dict[str, str] = {}
    for peer in peers:
        name, _, url = peer.partition("=")
        if not _NAME.fullmatch(name) or not _is_address(url):
            raise BadSetting(f"DISTRIQUEUE_PEERS: {peer!r} is not like orchestrator1=http://10.0.0.1:9081")
        if name in voters or url.rstrip("/") in voters.values():
            raise BadSetting(f"DISTRIQUEUE_PEERS: {peer!r} is there twice, by its name or its address")
        voters[name] = url.rstrip("/")
    return voters


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port is not None
    except ValueError:
        return False
