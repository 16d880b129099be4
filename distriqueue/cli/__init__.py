"""The command line, `distriqueue`: jobs over the API, services as programs, a whole stack on this machine.

    app         the table of commands; imports one when it is to run
    options     what several commands take      completion  what the shell is offered
    arguments   payloads, times                 selecting   --filter
    output      tables and JSON                 exits       exit codes         errors   errors for people
    home        what runs in the home           gateway     calls, with advice
    waiting     until a job or batch has ended  bulk        many jobs, with a bar
    submitted   a job that was made, and its end
    database    Postgres, with advice           checks, probes   what `doctor` looks at, and asks

The other modules are commands, by their names. Services are started as programs and never imported. Every error says
what is wrong, where, and what to do.
"""

import sys


def main() -> None:
    """Run the command that the arguments name."""
    # Here and not above: whatever is imported before a command is known delays all of them.
    from distriqueue.cli.app import app  # noqa: PLC0415
    from distriqueue.core.errors import DistriQueueError  # noqa: PLC0415

    try:
        app(prog_name="distriqueue")
    except DistriQueueError as exc:
        from distriqueue.cli.errors import report  # noqa: PLC0415

        sys.exit(report(exc))
    except KeyboardInterrupt:
        # A second Ctrl-C, or one in a command that has nothing to drain.
        sys.exit(130)
