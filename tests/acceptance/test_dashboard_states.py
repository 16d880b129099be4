"""The dashboard over RabbitMQ, empty, loading, over HTTPS, and while what it needs is away: axe has nothing to say.

One stack for all, from when it is empty to when it asks for keys: the tests are in that order.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Page, Route, expect

from distriqueue.access.session import COOKIE, CSRF_COOKIE
from distriqueue.core.access import Scope
from distriqueue.local.stack import Stack
from distriqueue.local.state import Role
from tests.acceptance.browser import NARROW, WIDE, Tab, chromium, tab
from tests.acceptance.dashboard_doors import Doors, elsewhere
from tests.acceptance.dashboard_scene import HANDLERS, Scene
from tests.acceptance.dashboard_tls import https
from tests.conftest import forget_topology
from tests.servers.postgres import PostgresServer
from tests.servers.rabbitmq import RabbitMQServer

pytestmark = [pytest.mark.stack, pytest.mark.rabbitmq]

EMPTY: Final = {
    "/": "No jobs yet",
    "/jobs": "No jobs yet",
    "/batches": "No batches",
    "/schedules": "No schedules",
    "/dead-letters": "Nothing has failed for good",
    "/queues": "No type is limited",
    "/audit": "embedded stack: gateways",
    "/keys": "New key",
    "/workers": "places taken",
    "/cluster": "leader",
}
AWAY_S: Final = 20_000
PACKED: Final = 120
OUTAGE: Final = ("Failed to load", "ERR_", "htmx:sse:error", "htmx:error", "htmx:response:error", "503")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresServer]:
    """One of its own, which may be stopped."""
    server = PostgresServer()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture(scope="module")
def stack(
    tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer, rabbitmq_server: RabbitMQServer
) -> Iterator[Stack]:
    elsewhere(forget_topology(rabbitmq_server.url))
    database_url = postgres.url(elsewhere(postgres.create_database()))
    home = tmp_path_factory.mktemp("states") / "home"
    with Stack.start(
        home,
        workers=1,
        worker_capacity=2,
        worker_app=HANDLERS,
        database_url=database_url,
        broker_url=rabbitmq_server.url,
        env={"DISTRIQUEUE_STORE_TIMEOUT": "3"},
    ) as started:
        yield started


@pytest.fixture(scope="module")
def scene(stack: Stack) -> Iterator[Scene]:
    with httpx.Client(base_url=stack.gateway_urls[0], timeout=20, trust_env=False) as client:
        yield Scene(client)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def at(browser: Browser, stack: Stack) -> Iterator[Tab]:
    with tab(browser, stack.gateway_urls[0], quiet=OUTAGE) as opened:
        yield opened


@pytest.mark.parametrize("path", EMPTY)
def test_pages_with_nothing_on_them(path: str, browser: Browser, stack: Stack) -> None:
    for dark, viewport in ((False, WIDE), (True, NARROW)):
        with tab(browser, stack.gateway_urls[0], dark=dark, viewport=viewport) as opened:
            page = opened.live(path) if path != "/keys" else opened.open(path)
            expect(page.locator("main")).to_contain_text(EMPTY[path])
            assert opened.axe() == [], (path, dark)


def test_while_it_loads(at: Tab) -> None:
    held: list[Route] = []

    def hold(route: Route) -> None:  # no builtin: Playwright asks a handler for its parameters
        held.append(route)

    for later in ("**/jobs/facets*", "**/live/**"):
        at.page.route(later, hold)
    page = at.open("/jobs")
    expect(page.locator("#facets .skeleton")).to_be_visible()
    expect(page.locator("#connection")).to_have_text("Connecting")
    assert at.axe() == []
    for route in held:
        route.continue_()
    expect(page.locator("#facets .skeleton")).to_have_count(0)
    expect(page.locator("#connection")).to_have_text("Live")


def test_a_job_goes_its_way_over_rabbitmq(at: Tab, scene: Scene) -> None:
    job = scene.submit("thumbnail.render", {"steps": 40, "step_s": 0.05}, priority="HIGH")
    page = at.live(f"/jobs/{job}")
    expect(page.locator("#head .state")).to_have_text("running")
    expect(page.locator("#head .state")).to_have_text("completed", timeout=AWAY_S)


def test_jobs_are_counted_not_the_messages_that_hold_several(at: Tab, scene: Scene, stack: Stack) -> None:
    worker = stack.pids(Role.WORKER)[0]
    os.kill(worker, signal.SIGSTOP)
    try:
        jobs = [{"type": "report.build", "payload": {"takes_s": 0}, "priority": "LOW"} for _ in range(PACKED)]
        batch = scene.post("/api/jobs/batch", {"jobs": jobs})["batchId"]
        page = at.live("/queues")
        low = page.get_by_role("region", name="job.low")
        expect(low.locator("dd").first).to_have_text(str(PACKED))
        assert {lane["name"]: lane["ready"] for lane in scene.client.get("/api/queues").json()}["job.low"] < PACKED
    finally:
        os.kill(worker, signal.SIGCONT)
    expect(low.locator("dd").first).to_have_text("0", timeout=AWAY_S)
    page = at.live(f"/batches/{batch}")
    expect(page.locator("#batch")).to_contain_text(f"{PACKED} of {PACKED} ended")


def test_a_rare_job_is_found_by_what_is_in_its_payload(at: Tab, scene: Scene) -> None:
    found = scene.submit("report.build", {"user": {"id": 7}, "takes_s": 0})
    page = at.open("/jobs?q=" + quote("payload.user.id:7"))
    expect(page.locator(f"#job-{found}")).to_be_visible()
    assert page.locator("tbody tr").count() == 1
    page.locator("#q").fill("payl")
    expect(page.get_by_role("option", name="payload.")).to_be_visible()


def test_while_rabbitmq_is_away(at: Tab, rabbitmq_server: RabbitMQServer) -> None:
    page = at.live("/queues")
    rabbitmq_server.stop()
    try:
        expect(page.locator("#lanes")).to_contain_text("The broker does not answer", timeout=AWAY_S)
        assert at.axe() == []
    finally:
        rabbitmq_server.start()
    expect(page.locator("#lanes")).not_to_contain_text("does not answer", timeout=2 * AWAY_S)


def test_while_postgres_is_away_what_is_shown_stays(at: Tab, scene: Scene, postgres: PostgresServer) -> None:
    page = at.live("/jobs")
    rows = page.locator("tbody tr").count()
    postgres.stop()
    try:
        expect(page.locator("#notice")).to_contain_text("goes on by itself", timeout=AWAY_S)
        assert page.locator("tbody tr").count() == rows
        assert at.axe() == []
        button = page.get_by_role("button", name="Retry all…")
        button.click()
        expect(page.locator("#toasts")).to_contain_text("Postgres does not answer", timeout=AWAY_S)
        assert at.axe() == []
        with page.context.expect_page() as opened:
            page.evaluate("() => { window.open('/batches') }")
        other = opened.value
        expect(other.get_by_role("heading", name="Not now")).to_be_visible(timeout=AWAY_S)
        assert Tab(other, page.context, at.url).axe() == []
    finally:
        postgres.start()
    expect(page.locator("#notice")).to_be_empty(timeout=AWAY_S)
    other.get_by_role("link", name="Try again").click()
    expect(other.get_by_role("heading", name="Batches")).to_be_visible(timeout=AWAY_S)
    scene.until(lambda: scene.client.get("/health/ready").status_code == 200, "the gateway to be ready")


def test_over_https_cookies_are_secure_and_everything_works(
    browser: Browser, stack: Stack, scene: Scene, tmp_path: Path
) -> None:
    doors = Doors(stack.database_url)
    token = doors.key(Scope.READ, Scope.OPERATE, Scope.SUBMIT)
    scene.until(lambda: scene.client.get("/api/jobs").status_code == 401, "the gate to close")
    with https(stack.gateway_urls[0], tmp_path) as url, tab(browser, url, insecure=True) as opened:
        page = opened.open("/queues")
        page.get_by_label("API key").fill(token.text)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_selector('#connection[data-state="live"]')
        cookies = [each for each in opened.context.cookies() if each["name"].startswith((COOKIE, CSRF_COOKIE))]
        assert [each["secure"] for each in cookies] == [True, True]
        _pause_and_resume(page)
        page = opened.live("/jobs")
        page.get_by_role("button", name="Retry all…").click()
        expect(page.locator("#sheet")).to_be_visible()


def _pause_and_resume(page: Page) -> None:
    lane = page.get_by_role("region", name="job.critical")
    lane.get_by_role("button", name="Pause").click()
    expect(page.locator("#toasts")).to_contain_text("job.critical is paused")
    lane.get_by_role("button", name="Resume").click()
    expect(page.locator("#toasts")).to_contain_text("job.critical goes on")
