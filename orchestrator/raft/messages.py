"""What goes into the core and comes out of it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class MessageType(StrEnum):
    """The seven messages of the election."""

    PREVOTE = "prevote"
    PREVOTE_RESP = "prevote_resp"
    VOTE = "vote"
    VOTE_RESP = "vote_resp"
    HEARTBEAT = "heartbeat"
    HEARTBEAT_RESP = "heartbeat_resp"
    TIMEOUT_NOW = "timeout_now"


ANSWER_TO = {
    MessageType.PREVOTE: MessageType.PREVOTE_RESP,
    MessageType.VOTE: MessageType.VOTE_RESP,
    MessageType.HEARTBEAT: MessageType.HEARTBEAT_RESP,
}


class Role(StrEnum):
    """What a node currently is."""

    FOLLOWER = "follower"
    PRE_CANDIDATE = "pre_candidate"
    CANDIDATE = "candidate"
    LEADER = "leader"


@dataclass(frozen=True, slots=True)
class HardState:
    """What must survive a crash: the latest term, and who got this node's vote in it."""

    term: int = 0
    vote: str | None = None

    def __post_init__(self) -> None:
        if self.term < 0:
            raise ValueError(f"term must not be negative: {self.term}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message of the election; `type` also takes the plain string.

    `term` is the sender's term, except that a `prevote` and its grant carry the proposed one (sender's + 1).
    `seq` numbers the sender's rounds; a response echoes the `seq` it answers. `ok` is set in responses only.
    `force` marks a vote that a transfer asked for. `boot` names the sending process, for the receiver's logs;
    the core decides nothing by it.
    """

    type: MessageType
    from_: str
    to: str
    term: int
    seq: int
    ok: bool | None = None
    force: bool = False
    boot: str | None = None

    def __post_init__(self) -> None:
        if type(self.type) is not MessageType:
            object.__setattr__(self, "type", MessageType(self.type))


@dataclass(frozen=True, slots=True)
class RoleChange:
    """The role, term and known leader that the driver announces."""

    role: Role
    term: int
    leader_id: str | None


@dataclass(frozen=True, slots=True)
class Ready:
    """Effects to carry out in this order: persist, fsync, send, announce."""

    hard_state: HardState | None
    must_sync: bool
    messages: tuple[Message, ...]
    role_change: RoleChange | None

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to do."""
        return self.hard_state is None and not self.messages and self.role_change is None
