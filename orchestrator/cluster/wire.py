"""What nodes put on the wire, and how it is signed.

A request is one message with everything that says whose it is, for whom, and that it is new; the header `DQ-Signature`
is the HMAC-SHA256 of the whole body by the cluster's secret, so nothing is even parsed of a stranger's. A reply is
signed too, together with the signature of its request: it answers that one and no other. Nothing is encrypted, as
nothing is secret.
"""

import hashlib
import hmac
from typing import Annotated, Final, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from orchestrator.cluster.contacts import Vitals
from orchestrator.cluster.storage import MAX_TERM
from orchestrator.raft import Message, MessageType

PATH: Final = "/raft/v1/step"
SIGNATURE: Final = "dq-signature"
MAX_BODY_BYTES: Final = 4096
ANSWERS: Final = {
    MessageType.PREVOTE: MessageType.PREVOTE_RESP,
    MessageType.VOTE: MessageType.VOTE_RESP,
    MessageType.HEARTBEAT: MessageType.HEARTBEAT_RESP,
}
"""What answers what; `timeout_now` has no answer."""

_ASKED: Final = (*ANSWERS, MessageType.TIMEOUT_NOW)


def _is_asked(type_: MessageType) -> MessageType:
    if type_ not in _ASKED:
        raise ValueError("an answer is sent as one")
    return type_


Asked = Annotated[MessageType, AfterValidator(_is_asked)]
Name = Annotated[str, Field(min_length=1, max_length=100)]
Token = Annotated[str, Field(max_length=64)]
Count = Annotated[int, Field(ge=0, le=MAX_TERM)]
Refusal = Literal["malformed", "too_large", "secret", "cluster", "stranger", "session", "replayed", "busy"]
"""Why a request was not acted on."""


class _Wire(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


WireT = TypeVar("WireT", bound=_Wire)


class _Speaker(_Wire):
    """What every node says of itself."""

    boot: Token
    session: Token
    """In a request the receiver's, as far as known; in a reply the speaker's own."""
    reaches_store: bool
    epoch: Count | None

    @property
    def vitals(self) -> Vitals:
        """What it says of its health."""
        return Vitals(self.reaches_store, self.epoch)


class Request(_Speaker):
    """A message to a peer."""

    cluster: Name
    sender: Name
    receiver: Name
    number: Count
    """Counts the requests of one life of the sender."""
    type: Asked
    term: Count
    seq: Count
    force: bool = False

    def message(self) -> Message:
        """Return what the core is to step."""
        return Message(self.type, self.sender, self.receiver, self.term, self.seq, force=self.force, boot=self.boot)


class Answer(_Wire):
    """What a message was answered."""

    term: Count
    ok: bool


class Reply(_Speaker):
    """What comes back; without an answer where none is due, or the request named another session."""

    answer: Answer | None = None


class Malformed(ValueError):
    """Signed by the cluster's secret, and no such message."""


class Seal:
    """Signs and checks by the cluster's secret."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret

    def of_request(self, body: bytes) -> str:
        """Return the signature of a request."""
        return self._sign(b"request", body)

    def of_reply(self, body: bytes, *, to: str) -> str:
        """Return the signature of the reply to the request with the signature `to`."""
        return self._sign(b"reply\n" + to.encode(), body)

    def _sign(self, context: bytes, body: bytes) -> str:
        signed = b"distriqueue raft v1 " + context + b"\n" + body
        return hmac.new(self._secret, signed, hashlib.sha256).hexdigest()


def is_same(signature: str, expected: str) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(signature.encode(), expected.encode())


def request_of(body: bytes) -> Request:
    """Read a request whose signature was checked; Malformed."""
    return _read(Request, body)


def reply_of(body: bytes) -> Reply:
    """Read a reply whose signature was checked; Malformed."""
    return _read(Reply, body)


def _read(form: type[WireT], body: bytes) -> WireT:
    try:
        return form.model_validate_json(body)
    except ValidationError as exc:
        raise Malformed(f"{exc.error_count()} fields are wrong") from exc
