"""The command line: `distriqueue up`, `down`, `status`, `cluster`, `apikey`, `export`, `migrate`, `worker`, `version`.

It starts services as programs and imports none of them. Every error is one line that says what is wrong and what to
do; the exit code is 2 for a wrong use or setting, 1 for a failure.
"""

import sys

from distriqueue.cli.app import app
from distriqueue.cli.errors import report
from distriqueue.core.errors import DistriQueueError


def main() -> None:
    """Run the command that the arguments name."""
    try:
        app(prog_name="distriqueue")
    except DistriQueueError as exc:
        sys.exit(report(exc))
    except KeyboardInterrupt:
        # A second Ctrl-C, or one in a command that has nothing to drain.
        sys.exit(130)
