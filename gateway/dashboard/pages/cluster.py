"""`/cluster`: who leads and who led, each node's contact to the others, the duties; an order to hand over."""

from typing import Final

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from distriqueue.core.errors import Conflict
from gateway.api.access import audit
from gateway.dashboard.answers import PageRoute, done, page
from gateway.dashboard.cluster import Node
from gateway.dashboard.desk import Ask, ask_of
from gateway.dashboard.views import Context, View

router: Final = APIRouter(route_class=PageRoute)

ELECTIONS: Final = 25
LATE_S: Final = 2.0
"""A node that was not heard for so long is not well."""


async def strip(ask: Ask) -> Context:
    """Read who leads, and how the nodes are."""
    nodes = await ask.desk.cluster.nodes()
    elections = await ask.desk.store.elections(limit=ELECTIONS)
    leader = next((node for node in nodes if node.leads), None)
    heard = {} if leader is None or leader.status is None else _heard(leader)
    return {
        "nodes": nodes,
        "leader": leader,
        "elections": elections,
        "term": elections[0].epoch if elections else None,
        "leads": leader.name if leader else (elections[0].node if elections else None),
        "heard": heard,
        "late_s": LATE_S,
    }


async def _read(ask: Ask) -> Context:
    found = await strip(ask)
    leader = found["leader"]
    duties = [] if leader is None or leader.status is None else sorted(leader.status["duties"].items())
    return {"title": "Cluster", "duties": duties} | found


def _heard(leader: Node) -> dict[str, float | None]:
    """Return how long ago the leader heard each of the others."""
    assert leader.status is not None  # noqa: S101 -- it leads
    return {peer["node"]: peer["lastContactSeconds"] for peer in leader.status["peers"]}


VIEW: Final = View(
    "cluster",
    "cluster.html",
    _read,
    {
        "order": "cluster/_order.html",
        "strip": "cluster/_strip.html",
        "duties": "cluster/_duties.html",
        "elections": "cluster/_elections.html",
    },
    pace_s=2.0,
)


@router.get("/cluster", include_in_schema=False)
async def cluster(request: Request) -> Response:
    """Show the orchestrators."""
    return await page(request, VIEW)


@router.post("/cluster/step-down", include_in_schema=False)
async def step_down(request: Request) -> Response:
    """Let the leader hand over to another node."""
    ask = ask_of(request)
    leader = next((node for node in await ask.desk.cluster.nodes() if node.leads), None)
    if leader is None:
        raise Conflict("no orchestrator that leads has answered: there is nobody to hand over")
    await audit(request, "cluster.step_down", leader.name)
    following = await ask.desk.cluster.step_down(leader)
    return await done(ask, VIEW, f"{leader.name} has handed over: {following} leads")
