"""Calls to the gateway, with errors that say what to do."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from distriqueue.cli.home import Callee, gateway
from distriqueue.core.errors import BadSetting, DistriQueueError, Forbidden, NotFound, Unauthorized, Unavailable
from distriqueue.sdk.errors import GatewayUnreachable, UnexpectedAnswer
from distriqueue.sdk.exchange import Answer, Query
from distriqueue.sdk.transport import TIMEOUT_S, Transport

PATIENCE_S: Final = 1.0
"""A person waits at the terminal: a call is tried again for no longer."""
PAGE: Final = 100
"""Most jobs of one answer."""
MAX_PAGES: Final = 100_000
"""A bound for loops over pages, far above what any database holds."""


class Gateway:
    """One gateway, for one command."""

    def __init__(
        self, callee: Callee, *, patience_s: float = PATIENCE_S, timeout_s: float = TIMEOUT_S, takes: str = "read"
    ) -> None:
        url = callee.urls[0] if callee.urls else None
        try:
            self._transport = Transport(url, api_key=callee.key, retry_for_s=patience_s, timeout_s=timeout_s)
        except BadSetting as exc:
            raise BadSetting(f"--url: {exc.message}" if url and "_URL: " in exc.message else exc.message) from exc
        self._takes = takes

    @classmethod
    def of(cls, home: Path, url: str | None, *, takes: str = "read") -> Self:
        """Find it; `takes` is the scope that the command's calls need, for the advice when it is refused."""
        return cls(gateway(home, url, as_operator=takes in ("read", "operate")), takes=takes)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._transport.close()

    @property
    def url(self) -> str:
        """Its address, without `/api`."""
        return self._transport.url

    def call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        missing: str = "",
    ) -> Any:
        """Return the JSON of an answer; `missing` is what to do when there is no such thing."""
        return self.ask(method, path, body=body, query=query, headers=headers, missing=missing).body

    def ask(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        query: Query | None = None,
        headers: Mapping[str, str] | None = None,
        missing: str = "",
    ) -> Answer:
        """As `call`; return the status and the headers too."""
        with advised(self.url, takes=self._takes, missing=missing):
            return self._transport.ask(method, f"/api{path}", body=body, query=query, headers=headers)

    def pages(self, path: str, query: Mapping[str, object], *, limit: int) -> Iterator[dict[str, Any]]:
        """Yield the pages of a list that goes by `nextCursor`, with `limit` rows in all at most."""
        left, cursor = limit, None
        for _ in range(MAX_PAGES):
            page = self.call("GET", path, query={**query, "size": min(left, PAGE), "cursor": cursor})
            yield page
            left -= len(page["content"])
            cursor = page["nextCursor"]
            if cursor is None or left <= 0:
                return


@contextlib.contextmanager
def advised(url: str, *, takes: str = "read", missing: str = "") -> Iterator[None]:
    """Add to an error what can be done about it."""
    key = f"`distriqueue apikey create NAME --scope {takes}` makes one, DISTRIQUEUE_API_KEY passes it"
    try:
        yield
    except GatewayUnreachable as exc:
        raise _with(
            exc,
            f"{url} does not answer ({_cause(exc)}): `distriqueue up` starts a stack here, --url names another"
            " gateway, `distriqueue doctor` looks for what is wrong",
        ) from exc
    except Unavailable as exc:
        raise _with(exc, f"{exc.message}: see `distriqueue doctor`") from exc
    except (Unauthorized, Forbidden) as exc:
        raise _with(exc, f"{exc.message}: {key}") from exc
    except NotFound as exc:
        raise _with(exc, f"{exc.message}: {missing}" if missing else exc.message) from exc
    except UnexpectedAnswer as exc:
        raise _with(exc, f"{url}: {exc.message}") from exc


def _with(error: DistriQueueError, message: str) -> DistriQueueError:
    error.message = message
    error.args = (message,)
    return error


def _cause(error: DistriQueueError) -> str:
    return str(error.__cause__ or "no answer").partition("\n")[0]
