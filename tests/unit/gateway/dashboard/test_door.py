"""The way in: from a key to a session, for a browser, from our own page only."""

import asyncio
from collections.abc import AsyncIterator
from urllib.parse import quote

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.types import Message, Receive, Scope, Send

from distriqueue.access.gate import Gate
from distriqueue.access.keyring import Keyring
from distriqueue.access.rules import PUBLIC, Rules
from distriqueue.access.session import COOKIE, CSRF_COOKIE, SessionSource
from distriqueue.core import access
from distriqueue.core.access import Token
from distriqueue.core.errors import DistriQueueError
from gateway.api.problems import problem
from gateway.dashboard import door
from tests.unit.access.fakes import FakeKeys, FakeTrail
from tests.unit.gateway.dashboard.desks import desk

HTML = {"Accept": "text/html"}
OWN = {"Sec-Fetch-Site": "same-origin"}


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Say who calls."""
    caller = scope["state"]["caller"]
    await PlainTextResponse(f"{caller.key_id}")(scope, receive, send)


async def _secret() -> bytes:
    return b"s" * 32


class House:
    """A door, a gate behind it, and keys."""

    def __init__(self) -> None:
        self.keys = FakeKeys()
        self.keyring = Keyring(self.keys, open_without_keys=True)
        self.sessions = SessionSource(_secret, database_url="postgresql://one/x")
        made = desk()
        rules = Rules({PUBLIC: (), access.Scope.READ: ("GET /jobs",), access.Scope.OPERATE: ("POST /jobs",)})

        def refusal(scope: Scope, error: DistriQueueError) -> Response:
            return door.refusal(scope, error, made) or problem(Request(scope), error)

        gate = Gate(app, keyring=self.keyring, rules=rules, trail=FakeTrail(), refusal=refusal, sessions=self.sessions)
        served = door.Door(gate, made, sessions=self.sessions, keyring=self.keyring)
        self.served = served
        self.client = httpx.AsyncClient(transport=httpx.ASGITransport(served), base_url="http://gateway")

    async def log_in(self, token: Token) -> httpx.Response:
        """Send the form."""
        return await self.client.post("/login?next=/jobs", data={"key": token.text}, headers=OWN)

    def csrf(self) -> dict[str, str]:
        """Return what our own script sends."""
        return OWN | {"X-CSRF-Token": self.client.cookies[self.sessions.csrf_cookie]}


@pytest.fixture
async def house() -> AsyncIterator[House]:
    made, stop = House(), asyncio.Event()
    async with made.client, asyncio.TaskGroup() as group:
        group.create_task(made.keyring.run(stop))
        yield made
        stop.set()


async def closed(house: House, *scopes: access.Scope) -> Token:
    token = house.keys.add(*scopes)
    await house.keyring.step()
    return token


async def test_without_keys_nobody_is_asked(house: House) -> None:
    assert (await house.client.get("/jobs", headers=HTML)).text == "None"
    answer = await house.client.get("/login?next=/jobs")
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")


async def test_a_browser_is_sent_to_the_login_and_a_program_is_told(house: House) -> None:
    await closed(house, access.Scope.READ)
    answer = await house.client.get("/jobs?q=a%20b", headers=HTML)
    assert (answer.status_code, answer.headers["location"]) == (303, f"/login?next={quote('/jobs?q=a%20b', safe='')}")
    answer = await house.client.get("/jobs")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    answer = await house.client.get("/jobs", headers=HTML | {"HX-Request": "true"})
    assert (answer.status_code, answer.headers["hx-redirect"]) == (401, "/login")


async def test_a_key_becomes_a_session_that_may_what_the_key_may(house: House) -> None:
    token = await closed(house, access.Scope.READ)
    answer = await house.log_in(token)
    assert (answer.status_code, answer.headers["location"]) == (303, "/jobs")
    cookie = next(each for each in answer.headers.get_list("set-cookie") if each.startswith(COOKIE))
    assert "HttpOnly" in cookie
    assert "SameSite=strict" in cookie
    assert token.secret not in "".join(answer.headers.get_list("set-cookie"))
    assert (await house.client.get("/jobs")).text == token.key_id
    assert (await house.client.post("/jobs", headers=house.csrf())).status_code == 403, "it may not operate"
    assert (await house.client.get("/login?next=/jobs")).status_code == 303, "no need to log in again"


async def test_writes_take_the_token_of_the_session(house: House) -> None:
    await house.log_in(await closed(house, access.Scope.READ, access.Scope.OPERATE))
    assert (await house.client.post("/jobs", headers=OWN)).status_code == 403
    assert (await house.client.post("/jobs", headers=house.csrf())).status_code == 200
    foreign = house.csrf() | {"Sec-Fetch-Site": "cross-site"}
    assert (await house.client.post("/jobs", headers=foreign)).status_code == 403


async def test_an_api_key_goes_before_a_session(house: House) -> None:
    await house.log_in(await closed(house, access.Scope.READ))
    other = await closed(house, access.Scope.READ)
    answer = await house.client.get("/jobs", headers={"Authorization": f"Bearer {other.text}"})
    assert answer.text == other.key_id


async def test_a_revoked_key_ends_its_sessions(house: House) -> None:
    token = await closed(house, access.Scope.READ)
    await house.log_in(token)
    del house.keys.live[token.key_id]
    await house.keyring.step()
    assert (await house.client.get("/jobs", headers=HTML)).status_code == 303
    assert "Log in" in (await house.client.get("/login")).text


async def test_a_wrong_key_is_told_of_and_gets_no_cookie(house: House) -> None:
    await closed(house, access.Scope.READ)
    for text in ("", "dq_", Token.new().text, "<script>"):
        answer = await house.client.post("/login", data={"key": text}, headers=OWN)
        assert answer.status_code == 401
        assert "set-cookie" not in answer.headers
        assert "<script>" not in answer.text.partition("<main")[2]


@pytest.mark.parametrize("headers", [{"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}])
async def test_another_sites_page_logs_nobody_in_or_out(house: House, headers: dict[str, str]) -> None:
    token = await closed(house, access.Scope.READ)
    answer = await house.client.post("/login", data={"key": token.text}, headers=headers)
    assert answer.status_code == 403
    assert "set-cookie" not in answer.headers
    await house.log_in(token)
    assert (await house.client.post("/logout", headers=headers)).status_code == 403
    assert (await house.client.post("/logout", headers=OWN)).status_code == 303
    assert not [name for name in house.client.cookies if name.startswith((COOKIE, CSRF_COOKIE))]


@pytest.mark.parametrize(
    "address", ["https://evil.example", "//evil.example", "/\\evil.example", "javascript:alert(1)", "", "/\n/evil"]
)
async def test_after_the_login_one_stays_here(house: House, address: str) -> None:
    token = await closed(house, access.Scope.READ)
    answer = await house.client.post("/login", params={"next": address}, data={"key": token.text}, headers=OWN)
    assert answer.headers["location"] == "/"


async def test_bounds_and_methods(house: House) -> None:
    await closed(house, access.Scope.READ)
    assert (await house.client.post("/login", content=b"k" * 100_000, headers=OWN)).status_code == 413
    assert (await house.client.put("/login")).status_code == 405
    assert (await house.client.get("/logout")).status_code == 405


async def test_files_take_no_key(house: House) -> None:
    await closed(house, access.Scope.READ)
    page = (await house.client.get("/login")).text
    for reference in page.split('"'):
        if reference.startswith("/assets/"):
            assert (await house.client.get(reference)).status_code == 200


async def test_who_may_not_is_told_on_a_page(house: House) -> None:
    await house.log_in(await closed(house, access.Scope.WORKER))
    answer = await house.client.get("/jobs", headers=HTML)
    assert answer.status_code == 403
    assert "Not allowed" in answer.text
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")


async def test_who_leaves_in_the_middle_of_the_form_is_no_mistake_of_ours(house: House) -> None:
    said: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        said.append(message)

    scope = {"type": "http", "method": "POST", "path": "/login", "query_string": b"", "headers": []}
    await house.served(scope, receive, send)
    assert said[0]["status"] == 400
