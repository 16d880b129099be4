"""A detached supervisor: `python -m distriqueue.local`, with the options as one line of JSON on standard input."""

import asyncio
import json
import os
import sys
from pathlib import Path

from distriqueue.core.errors import DistriQueueError
from distriqueue.local.control import ERROR_PREFIX, exit_code
from distriqueue.local.home import Home
from distriqueue.local.logs import FileLines
from distriqueue.local.plan import Options
from distriqueue.local.run import run


def main() -> int:
    """Run the stack that the input describes, with every log in the home."""
    options = Options(**json.loads(_first_line()))
    lines = FileLines(Home.at(Path(options.home)))
    try:
        asyncio.run(run(options, lines=lines, announce=_announce))
    except DistriQueueError as exc:
        _announce(f"{ERROR_PREFIX}{exc.message}")
        return exit_code(exc)
    finally:
        lines.close()
    return 0


def _first_line() -> bytes:
    # Unbuffered: of a tied stack the end of this very input is the signal to stop.
    line = b""
    while not line.endswith(b"\n") and (byte := os.read(sys.stdin.fileno(), 1)):
        line += byte
    return line


def _announce(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
