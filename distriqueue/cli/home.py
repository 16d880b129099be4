"""What runs in the home, for commands that only look: who is to be called, and by which key."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from distriqueue.cli.exits import NoStack
from distriqueue.local.home import Home
from distriqueue.local.state import Phase, Role, StackState, read
from distriqueue.settings import AccessSettings

OPERATOR: Final = "operator.key"
_OVER: Final = frozenset({Phase.STOPPED, Phase.FAILED, Phase.LOST})


@dataclass(frozen=True, slots=True)
class Callee:
    """Addresses to call, and the API key to send."""

    urls: tuple[str, ...]
    key: str | None = field(repr=False)


def running(home: Path) -> StackState | None:
    """Return the state of the stack in the home; None when none runs there."""
    where = home.absolute()
    current = read(Home(where).state) if where.is_dir() else None
    return None if current is None or current.phase in _OVER or not current.supervisor.alive() else current


def gateway(home: Path, url: str | None, *, as_operator: bool = True) -> Callee:
    """Return the gateway: the named one, that of the stack in the home, or none (the transport's default).

    Of a stack's own keys there is one to read and operate; whoever is named gets only the key of the environment.
    """
    own_key = _own_key()
    if url:
        return Callee((url,), own_key)
    current = running(home)
    urls = tuple(each.url for each in current.of(Role.GATEWAY) if each.url)[:1] if current else ()
    return Callee(urls, own_key or (_operator_key(home) if urls and as_operator else None))


def orchestrators(home: Path, urls: str | None) -> Callee:
    """Return the orchestrators: the named ones, or those of the stack in the home; NoStack when there are neither."""
    own_key = _own_key()
    if urls:
        return Callee(tuple(part.strip().rstrip("/") for part in urls.split(",") if part.strip()), own_key)
    current = running(home)
    found = tuple(each.url for each in current.of(Role.ORCHESTRATOR) if each.url) if current else ()
    if not found:
        raise NoStack(f"no stack runs in {home.absolute()}: name its home by --home, or the nodes by --orchestrators")
    return Callee(found, own_key or _operator_key(home))


def database(home: Path, url: str | None) -> str:
    """Return the address of the Postgres that is named, or of the stack's; NoStack when there is neither."""
    if url:
        return url
    current = running(home)
    if current is None or current.database_url is None:
        raise NoStack(f"no stack runs in {home.absolute()}: name its home by --home, or the database by --database-url")
    return current.database_url


def _own_key() -> str | None:
    given = AccessSettings.load().api_key
    return given.get_secret_value() if given else None


def _operator_key(home: Path) -> str | None:
    try:
        return home.absolute().joinpath(OPERATOR).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None
