"""For tests of what uses DistriQueue: jobs in this very process, and a stack of real ones.

    def test_a_picture_gets_its_sizes():
        small, large = run_until_idle(registry, NewJob(resize, Resize(width=80)), NewJob(resize, Resize(width=800)))
        assert small.result() == {"width": 80, "height": 60}

    def test_an_upload_orders_thumbnails():
        client = LocalClient(registry)                        # a Client for the code under test, without a server
        upload(picture, client)
        assert_submitted(client, resize, {"width": 80}, priority="high", times=1)
        client.run_until_idle()

    def test_it_really_works(distriqueue_client):             # by the pytest plugin: a whole stack for the session
        assert distriqueue_client.submit("resize", {"width": 80}).result(timeout=30)

    context       what a handler is given
    board         the jobs, and how they wait for each other
    runner        runs them, one at a time, in the order in which a worker would
    client        a `Client` on a board
    checks        `assert_submitted`
    plugin        the fixtures `distriqueue_stack` and `distriqueue_client`

In process no time is waited for: what is due later, or retried after a delay, runs when nothing else is left. Functions
for threads and child processes run in threads. Loaded when first used: pytest imports the plugin in every run.
"""

import importlib
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from distriqueue.sdk.submission import NewJob
    from distriqueue.testing.checks import assert_submitted
    from distriqueue.testing.client import LocalClient, LocalJob, run_until_idle, run_until_idle_async
    from distriqueue.testing.context import LocalContext

__all__ = [
    "LocalClient",
    "LocalContext",
    "LocalJob",
    "NewJob",
    "assert_submitted",
    "run_until_idle",
    "run_until_idle_async",
]

_HOME_OF: Final = {
    "LocalClient": "distriqueue.testing.client",
    "LocalContext": "distriqueue.testing.context",
    "LocalJob": "distriqueue.testing.client",
    "NewJob": "distriqueue.sdk.submission",
    "assert_submitted": "distriqueue.testing.checks",
    "run_until_idle": "distriqueue.testing.client",
    "run_until_idle_async": "distriqueue.testing.client",
}


def __getattr__(name: str) -> Any:
    """Load a public name when it is first used."""
    home = _HOME_OF.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(importlib.import_module(home), name)
    return found
