"""Cores in hand: built, drained and elected without a network."""

from __future__ import annotations

import random
from collections.abc import Iterable

from orchestrator.raft import Config, HardState, Message, MessageType, RaftCore, Ready

CONFIG = Config()
MIN_S = CONFIG.election_timeout_min_s
MAX_S = CONFIG.election_timeout_max_s
BOOTED_S = 10.0  # long after a boot at 0.0


def make_core(
    node_id: str = "a", voters: str = "abc", *, term: int = 0, vote: str | None = None, now: float = 0.0, seed: int = 1
) -> RaftCore:
    """A core that boots at `now`."""
    return RaftCore(node_id, tuple(voters), HardState(term, vote), CONFIG, random.Random(seed), now)


def take(core: RaftCore) -> Ready:
    """Carries out what the core wants done."""
    ready = core.ready()
    core.advance()
    return ready


def only(messages: Iterable[Message], type_: MessageType) -> list[Message]:
    """The messages of one type."""
    return [message for message in messages if message.type is type_]


def answer(core: RaftCore, message: Message, now: float) -> Message:
    """Steps a request and returns the one answer."""
    core.step(message, now)
    (response,) = take(core).messages
    return response


def request(type_: MessageType, from_: str, to: str, term: int, *, seq: int = 1, force: bool = False) -> Message:
    """A request that a peer sends."""
    return Message(type_, from_, to, term, seq, force=force)


def accept(message: Message, *, ok: bool = True, term: int | None = None) -> Message:
    """The answer that a peer would give."""
    type_ = MessageType(f"{message.type}_resp")
    answered_term = message.term if term is None else term
    return Message(type_, message.to, message.from_, answered_term, message.seq, ok=ok)


def win(core: RaftCore, now: float) -> list[Message]:
    """Elects a core with the consent of all peers; returns its first heartbeats."""
    core.campaign(now)
    for type_ in (MessageType.PREVOTE, MessageType.VOTE):
        for message in only(take(core).messages, type_):
            core.step(accept(message), now)
    return only(take(core).messages, MessageType.HEARTBEAT)
