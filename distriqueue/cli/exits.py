"""What the exit code of a command means. Stable: scripts rely on it."""

from enum import IntEnum

from distriqueue.core.errors import (
    BadSetting,
    Conflict,
    DistriQueueError,
    Forbidden,
    InvalidRequest,
    NotFound,
    Overloaded,
    PayloadTooLarge,
    Unauthorized,
    Unavailable,
)


class Exit(IntEnum):
    """The codes; `docs/cli.md` has the same table."""

    OK = 0
    FAILED = 1
    """It was done, and the answer is no: the job failed, the stack is not well, nobody leads; or it went wrong."""
    USAGE = 2
    """An argument, an option or a setting is wrong."""
    UNREACHABLE = 3
    """What the command needs does not answer: no stack runs, no gateway, no database."""
    REFUSED = 4
    """No API key, a wrong one, or one without the scope that this takes."""
    NOT_FOUND = 5
    """There is no such job, batch, schedule, …"""
    CONFLICT = 6
    """Its state does not allow it."""
    LATER = 7
    """Not now: too much waits, the API key's rate is used up, or the time to wait was over."""
    INTERRUPTED = 130
    """By Ctrl-C."""


class NoStack(NotFound):
    """No stack runs in the home."""

    code = "no_stack"


_CODES: tuple[tuple[type[BaseException], Exit], ...] = (
    (BadSetting, Exit.USAGE),
    (InvalidRequest, Exit.USAGE),
    (PayloadTooLarge, Exit.USAGE),
    (NoStack, Exit.UNREACHABLE),
    (Unavailable, Exit.UNREACHABLE),
    (Unauthorized, Exit.REFUSED),
    (Forbidden, Exit.REFUSED),
    (NotFound, Exit.NOT_FOUND),
    (Conflict, Exit.CONFLICT),
    (Overloaded, Exit.LATER),
    (TimeoutError, Exit.LATER),
)
"""The first that fits; all other errors are failures."""


def exit_code(error: DistriQueueError) -> int:
    """Return the code that stands for the error; one that knows its own, as a stack that did not start, has it."""
    own = getattr(error, "status", None) if error.code == "not_started" else None
    return own or next((int(code) for kind, code in _CODES if isinstance(error, kind)), int(Exit.FAILED))
