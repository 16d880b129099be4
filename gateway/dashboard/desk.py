"""What the pages work with, and who asks."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from starlette.requests import Request

from distriqueue.access.trail import caller_of
from distriqueue.core.access import Caller, Scope
from distriqueue.filterlang import Field
from distriqueue.store.access import AccessStore
from distriqueue.store.dashboard import DashboardStore
from gateway.dashboard.assets import Assets
from gateway.dashboard.cluster import Cluster
from gateway.dashboard.render import Renderer
from gateway.dashboard.sampler import Sampler
from gateway.parts import Parts


@dataclass(frozen=True)
class Desk:
    """The dashboard's own parts; the gateway's are `parts`."""

    parts: Parts
    assets: Assets
    renderer: Renderer
    store: DashboardStore
    keys: AccessStore

    @classmethod
    def of(cls, parts: Parts) -> "Desk":
        """Put it together."""
        assets = Assets()
        return cls(parts, assets, Renderer(assets), DashboardStore(parts.database), AccessStore(parts.database))

    @property
    def sampler(self) -> Sampler:
        """The figures."""
        return self.parts.sampler

    @property
    def cluster(self) -> Cluster:
        """The orchestrators."""
        return self.parts.cluster


@dataclass(frozen=True)
class Ask:
    """One look at a page: at what, and who looks."""

    desk: Desk
    caller: Caller
    params: Mapping[str, str]
    """Of the address; of its path, too."""
    now: datetime = field(default_factory=lambda: datetime.now(UTC))

    @property
    def parts(self) -> Parts:
        """The gateway's parts."""
        return self.desk.parts

    @cached_property
    def context(self) -> dict[str, Any]:
        """What every template may use."""
        may = {scope.value: self.caller.may(scope) for scope in Scope}
        return {
            "may": may,
            "caller": self.caller,
            "is_open": self.parts.keyring.is_open,
            "csrf_cookie": self.parts.sessions.csrf_cookie,
            "now": self.now,
        }

    def param(self, name: str) -> str:
        """Return a parameter of the address; an empty text when it is not there."""
        return self.params.get(name, "")


def ask_of(request: Request, **path: object) -> Ask:
    """Return what a request asks."""
    desk: Desk = request.app.state.desk
    params = dict(request.query_params) | {name: str(value) for name, value in path.items()}
    return Ask(desk, caller_of(request), params)


def known_values(desk: Desk) -> dict[Field, list[str]]:
    """Return what filters may say, as far as the last figures know it."""
    sample = desk.sampler.latest
    if sample is None:
        return {}
    return {
        Field.TYPE: sorted(sample.figures.by_type),
        Field.WORKER: [row["id"] for row in sample.workers],
    }
