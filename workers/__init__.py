"""The worker: takes dispatches from the broker, claims them at the gateway, runs handlers, reports.

`Registry` and `JobContext` are what a handler's author needs, with the `Parent`s that a context knows and `Retries`, a
policy for exceptions; `Retry` and `Discard` are what a handler raises to steer its own job. `runtime` is the machine,
`handlers` what ships, `webhooks` how those get out. A worker never touches the jobs tables: what may run, and how it
ended, is decided by the gateway's answers. The flow, the trade-offs and their figures are in
`docs/adr/0004-worker-runtime.md`.
"""

from distriqueue.core.context import JobCancelled, JobContext
from distriqueue.core.errors import Discard, Retry
from distriqueue.core.messages import Parent
from workers.handlers.registry import Registry
from workers.runtime.retries import Retries

__all__ = ["Discard", "JobCancelled", "JobContext", "Parent", "Registry", "Retries", "Retry"]
