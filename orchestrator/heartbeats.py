"""`POST /api/workers/heartbeat`, in front of the app: a thousand workers send it every second."""

from typing import Final

from pydantic import ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from distriqueue.core.errors import DistriQueueError, PayloadTooLarge
from distriqueue.core.messages import Heartbeat, HeartbeatAnswer
from orchestrator.problems import problem, unreadable
from orchestrator.registry import Registry

PATH: Final = "/api/workers/heartbeat"
MAX_BODY_BYTES: Final = 262_144

_THANKS: Final = HeartbeatAnswer().model_dump_json(by_alias=True).encode()
_THANKS_START: Final[Message] = {
    "type": "http.response.start",
    "status": 200,
    "headers": [(b"content-type", b"application/json"), (b"content-length", str(len(_THANKS)).encode())],
}
_THANKS_BODY: Final[Message] = {"type": "http.response.body", "body": _THANKS}


class HeartbeatsFirst:
    """Answers heartbeats by itself and leaves the rest to the app, whose routing would cost more than they do."""

    def __init__(self, app: ASGIApp, registry: Registry) -> None:
        self._app = app
        self._registry = registry

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http" or scope["path"] != PATH or scope["method"] != "POST":
            await self._app(scope, receive, send)
            return
        try:
            answer = self._registry.hear(Heartbeat.model_validate_json(await _body(receive)))
        except ValidationError as exc:
            await problem(unreadable(exc), PATH)(scope, receive, send)
        except DistriQueueError as exc:
            await problem(exc, PATH)(scope, receive, send)
        else:
            await _reply(answer, send)


async def _reply(answer: HeartbeatAnswer | None, send: Send) -> None:
    if answer is None:
        await send(_THANKS_START)
        await send(_THANKS_BODY)
        return
    body = answer.model_dump_json(by_alias=True).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def _body(receive: Receive) -> bytes:
    body = b""
    while True:
        message = await receive()
        part: bytes = message.get("body", b"")
        body += part
        if len(body) > MAX_BODY_BYTES:
            raise PayloadTooLarge(f"a heartbeat has at most {MAX_BODY_BYTES} bytes")
        if not message.get("more_body"):
            return body
