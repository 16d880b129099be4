"""What the dashboard asks of orchestrators, and what it makes of their answers."""

import httpx
import pytest

from distriqueue.core.errors import Conflict, DistriQueueError, Forbidden, Unavailable
from gateway.dashboard.cluster import Cluster, Node

LEADER = Node("http://one", "one", {"role": "leader"})


def cluster(answer: httpx.Response | Exception) -> Cluster:
    def answered(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Cluster(("http://one", "http://two"), httpx.AsyncClient(transport=httpx.MockTransport(answered)))


async def test_who_follows_is_told_and_the_nodes_are_asked_anew() -> None:
    made = cluster(httpx.Response(200, json={"node": "one", "leader": "two", "role": "leader"}))
    assert len(await made.nodes()) == 2
    before = made._asked_at_s
    assert await made.step_down(LEADER) == "two"
    assert made._asked_at_s < before


@pytest.mark.parametrize(
    ("answer", "error", "said"),
    [
        (httpx.Response(401), Forbidden, "an API key with `operate`"),
        (httpx.Response(403), Forbidden, "an API key with `operate`"),
        (httpx.Response(409, json={"detail": "one is alone"}), Conflict, "one is alone"),
        (httpx.Response(503, json={}), Unavailable, "one answers 503"),
        (httpx.ConnectError("no"), Unavailable, "one does not answer"),
    ],
)
async def test_why_nobody_follows_is_said(
    answer: httpx.Response | Exception, error: type[DistriQueueError], said: str
) -> None:
    with pytest.raises(error, match=said):
        await cluster(answer).step_down(LEADER)


async def test_a_node_that_does_not_answer_says_why() -> None:
    (one, _) = await cluster(httpx.Response(401)).nodes()
    assert one.status is None
    assert "wants an API key" in (one.error or "")
