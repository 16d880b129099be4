"""The dashboard in Chromium, on a whole stack: every page, every button, live, by keyboard, with and without keys."""

import os
import re
import signal
import time
from collections.abc import Iterator
from typing import Any, Final, cast
from urllib.parse import quote

import httpx
import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from distriqueue.access.session import COOKIE, CSRF_COOKIE
from distriqueue.core.access import Scope, Token
from distriqueue.local.stack import Stack
from distriqueue.local.state import Role
from tests.acceptance.browser import AXE_RULES, CONTRAST, NARROW, WIDE, Tab, chromium, tab
from tests.acceptance.dashboard_doors import Doors
from tests.acceptance.dashboard_scene import HANDLERS, HOSTILE, Scene

pytestmark = pytest.mark.stack

PAGES: Final = {
    "overview": "/",
    "jobs": "/jobs",
    "jobs filtered": "/jobs?q=status:failed",
    "jobs wrong": "/jobs?q=statu:failed",
    "jobs none": "/jobs?q=type:nothing-of-the-kind",
    "job failed": "/jobs/{failed}",
    "job running": "/jobs/{running}",
    "job graph": "/jobs/{graph}",
    "job redacted": "/jobs/{redacted}",
    "job new": "/jobs/new?from={redacted}",
    "queues": "/queues",
    "workers": "/workers",
    "schedules": "/schedules",
    "schedule new": "/schedules/new",
    "schedule edit": "/schedules/nightly-report/edit",
    "batches": "/batches",
    "batch": "/batches/{batch}",
    "dead letters": "/dead-letters",
    "cluster": "/cluster",
    "audit": "/audit",
    "keys": "/keys",
}
ASKED: Final = {
    "cancel": ("/jobs/{running}", "Cancel"),
    "bulk retry": ("/jobs?q=status:failed", "Retry all…"),
    "bulk cancel": ("/jobs", "Cancel all…"),
    "limit": ("/queues", "New limit"),
    "change of a limit": ("/queues", "Edit the limit of mail.send"),
    "lift of a limit": ("/queues", "Lift the limit of mail.send"),
    "deletion of a schedule": ("/schedules", "Delete nightly-report"),
    "replay": ("/dead-letters", "Replay…"),
    "drain": ("/workers", "Drain"),
    "step-down": ("/cluster", "Step down"),
    "help": ("/", "Keyboard help"),
}
"""Actions that ask something first."""
DONE_AT_ONCE: Final = {
    "retry": ("/jobs/{failed}", "button", "Retry"),
    "clone": ("/jobs/{failed}", "link", "Clone and edit"),
    "pause": ("/queues", "button", "Pause"),
    "run": ("/schedules", "button", "Run now"),
    "edit of a schedule": ("/schedules", "link", "Edit nightly-report"),
    "theme": ("/", "button", "Theme: as the system"),
    "key": ("/keys", "button", "Make a key"),
    "submit": ("/jobs/new", "button", "Submit"),
    "schedule": ("/schedules/new", "button", "Make it"),
}
MOST_TABS: Final = 150
FIRST_VIEW_BYTES: Final = 150_000


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    home = tmp_path_factory.mktemp("dashboard") / "home"
    with Stack.start(home, workers=2, orchestrators=3, worker_app=HANDLERS) as started:
        yield started


@pytest.fixture(scope="module")
def scene(stack: Stack) -> Iterator[Scene]:
    with httpx.Client(base_url=stack.gateway_urls[0], timeout=20, trust_env=False) as client:
        made = Scene(client)
        made.fill()
        yield made


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as started:
        yield started


@pytest.fixture
def at(browser: Browser, scene: Scene, stack: Stack) -> Iterator[Tab]:
    with tab(browser, stack.gateway_urls[0]) as opened:
        yield opened


def tab_to(page: Page, control: Locator) -> None:
    """Press Tab until the control has the focus, and a ring around it."""
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if control.evaluate("(element) => element === document.activeElement"):
            break
    expect(control).to_be_focused()
    assert control.evaluate("(element) => getComputedStyle(element).outlineStyle") == "solid"


def toast(page: Page, text: str) -> None:
    expect(page.locator("#toasts")).to_contain_text(text)


class TestPages:
    @pytest.mark.parametrize("name", PAGES)
    def test_opens_without_a_complaint_and_axe_finds_nothing(
        self, name: str, browser: Browser, scene: Scene, stack: Stack
    ) -> None:
        for dark, viewport in ((False, WIDE), (True, WIDE), (False, NARROW)):
            with tab(browser, stack.gateway_urls[0], dark=dark, viewport=viewport) as opened:
                opened.open(PAGES[name].format(**scene.ids))
                opened.page.wait_for_load_state("load")
                expect(opened.page.locator("h1").first).to_be_attached()
                assert opened.axe(CONTRAST if dark else AXE_RULES) == [], (name, dark, viewport)
                wider = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
                assert not opened.page.evaluate(wider), f"{name} is wider than its window"

    def test_an_address_of_nothing_is_a_page_too(self, at: Tab) -> None:
        page = at.open("/no/such/page")
        expect(page.get_by_role("heading", name="Not found")).to_be_visible()
        assert at.axe() == []
        at.complaints.clear()  # the browser itself notes the 404

    def test_a_job_that_is_not_there(self, at: Tab) -> None:
        page = at.open("/jobs/01890000-0000-7000-8000-000000000000")
        expect(page.locator("main")).to_contain_text("There is no job")
        assert at.axe() == []
        at.complaints.clear()

    def test_the_first_view_is_light(self, browser: Browser, stack: Stack) -> None:
        with tab(browser, stack.gateway_urls[0]) as opened:
            sizes: list[float] = []
            session = opened.context.new_cdp_session(opened.page)
            session.send("Network.enable")
            session.on("Network.loadingFinished", lambda event: sizes.append(event["encodedDataLength"]))
            opened.live("/")
            opened.page.wait_for_load_state("load")
            assert 60_000 < sum(sizes) < FIRST_VIEW_BYTES, sorted(sizes)

    def test_nothing_is_loaded_from_elsewhere_and_nothing_inline_may_run(self, at: Tab) -> None:
        answer = httpx.get(at.url, headers={"Accept": "text/html"}, trust_env=False)
        policy = answer.headers["content-security-policy"]
        assert "script-src 'self'" in policy
        assert "unsafe" not in policy
        at.live("/")
        at.live("/jobs")
        assert all(each.startswith("/") for each in at.asked), at.asked
        assert not re.search(r"<script(?![^>]*src=)|style=|onclick=", answer.text)

    def test_light_and_dark_by_hand(self, at: Tab) -> None:
        page = at.open("/queues")
        background = "getComputedStyle(document.body).backgroundColor"
        light = page.evaluate(background)
        page.get_by_role("button", name="Theme").click()
        assert page.evaluate(background) == light
        page.get_by_role("button", name="Theme: light").click()
        assert page.evaluate(background) != light
        page.reload()
        assert page.evaluate(background) != light, "the choice is kept"


class TestLive:
    def test_one_stream_for_a_tab_that_shows_what_changes(self, at: Tab, scene: Scene) -> None:
        page = at.live("/")
        job = scene.submit("report.build", {"takes_s": 0}, tags=["live"])
        before = page.locator("#stored").inner_text()
        scene.until_ended(job)
        page.wait_for_function("(before) => document.querySelector('#stored').innerText !== before", arg=before)
        assert [each for each in at.asked if each.startswith("/live/")] == ["/live/overview"]

    def test_a_job_from_its_start_to_its_end_at_most_four_updates_a_second(self, at: Tab, scene: Scene) -> None:
        job = scene.submit("thumbnail.render", {"steps": 120, "step_s": 0.03}, priority="HIGH")
        page = at.live(f"/jobs/{job}")
        at.note_updates()
        expect(page.locator("#head .state")).to_have_text("completed", timeout=20_000)
        expect(page.locator("#outcome")).to_contain_text("thumb-2.webp")
        expect(page.locator("#story")).to_contain_text("running")
        updates = at.updates()
        assert len(updates) >= 3, "its progress is seen"
        assert all(later - first >= 900 for first, later in zip(updates, updates[4:], strict=False)), updates

    def test_a_hidden_tab_is_left_alone_and_misses_nothing(self, at: Tab, scene: Scene) -> None:
        job = scene.submit("thumbnail.render", {"steps": 200, "step_s": 0.02}, priority="HIGH")
        page = at.live(f"/jobs/{job}")
        expect(page.locator("#head .state")).to_have_text("running")
        at.hide(hidden=True)
        expect(page.locator("#connection")).to_have_attribute("data-state", "paused")
        at.note_updates()
        scene.until_ended(job)
        assert page.locator("#head .state").inner_text() == "running"
        assert at.updates() == []
        at.hide(hidden=False)
        expect(page.locator("#head .state")).to_have_text("completed")

    def test_a_gateway_that_goes_and_comes_back(self, browser: Browser, scene: Scene, stack: Stack) -> None:
        with tab(browser, stack.gateway_urls[0], quiet=("ERR_", "Failed to load", "htmx:sse:error")) as opened:
            page = opened.live("/queues")
            old = stack.pids(Role.GATEWAY)[0]
            os.kill(old, signal.SIGKILL)
            expect(page.locator("#connection")).to_have_attribute("data-state", "lost")
            assert opened.axe() == []
            stack.replaced(Role.GATEWAY, old)
            expect(page.locator("#connection")).to_have_attribute("data-state", "live", timeout=30_000)
            scene.post("/api/queues/job.high/pause")
            expect(page.locator("#lanes")).to_contain_text("job.high")
            expect(page.get_by_role("region", name="job.high")).to_contain_text("paused")
            scene.post("/api/queues/job.high/resume")

    def test_new_jobs_are_announced_and_nothing_jumps(self, at: Tab, scene: Scene) -> None:
        page = at.live("/jobs?q=" + quote("tag:announced"))
        expect(page.locator("main")).to_contain_text("No job matches")
        first = scene.submit("report.build", {}, tags=["announced"])
        expect(page.locator("#news")).to_contain_text("1 new")
        page.locator("#news a").click()
        row = page.locator(f"#job-{first}")
        expect(row).to_be_visible()
        page.wait_for_selector('#connection[data-state="live"]')
        before = row.bounding_box()
        for _ in range(3):
            scene.submit("report.build", {}, tags=["announced"])
        scene.submit("report.build", {}, tags=["other"])
        expect(page.locator("#news")).to_contain_text("3 new")
        after = row.bounding_box()
        assert before is not None
        assert after is not None
        assert page.locator("tbody tr").count() == 1
        assert after["x"] == before["x"]

    def test_rows_go_on_in_their_place(self, at: Tab, scene: Scene) -> None:
        job = scene.submit("thumbnail.render", {"steps": 60, "step_s": 0.05}, tags=["in-place"], priority="HIGH")
        page = at.live("/jobs?q=" + quote("tag:in-place"))
        row = page.locator(f"#job-{job}")
        expect(row).to_contain_text("running")
        expect(row).to_contain_text("completed", timeout=15_000)


class TestFilter:
    def test_completion_by_keyboard_and_the_filter_in_the_address(self, at: Tab) -> None:
        page = at.open("/jobs")
        page.keyboard.press("/")
        field = page.locator("#q")
        expect(field).to_be_focused()
        page.keyboard.type("sta")
        expect(page.get_by_role("option", name="status:", exact=True)).to_be_visible()
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Enter")
        expect(field).to_have_value("status:")
        expect(page.get_by_role("option", name="status:failed")).to_be_visible()
        page.keyboard.type("fai")
        expect(page.get_by_role("option")).to_have_count(1)
        page.keyboard.press("ArrowDown")
        page.keyboard.press("Tab")
        expect(field).to_have_value("status:failed ")
        page.keyboard.type("type:import.rows")
        page.keyboard.press("Escape")
        page.keyboard.press("Enter")
        page.wait_for_url("**/jobs?q=status*")
        expect(page.locator("tbody tr").first).to_contain_text("import.rows")
        assert page.locator("tbody tr").count() == 3
        page.reload()
        assert page.locator("tbody tr").count() == 3

    def test_facets_count_and_narrow(self, at: Tab) -> None:
        page = at.open("/jobs?q=" + quote("type:import.rows"))
        failed = page.get_by_role("link", name="failed 3")
        failed.click()
        expect(page.locator("#q")).to_have_value("status:failed type:import.rows")
        assert page.locator("tbody tr").count() == 3
        page.locator("#facets").get_by_role("link", name=re.compile("^failed")).click()
        expect(page.locator("#q")).to_have_value("type:import.rows")

    def test_a_wrong_filter_says_where_and_offers_a_right_one(self, at: Tab) -> None:
        page = at.open("/jobs?q=" + quote("statu:failed"))
        expect(page.locator("mark")).to_have_text("statu:")
        page.get_by_role("link", name="Filter by").click()
        expect(page.locator("#q")).to_have_value("status:failed")

    def test_older_pages(self, at: Tab) -> None:
        page = at.open("/jobs")
        first = page.locator("tbody tr").first.get_attribute("id")
        page.get_by_role("link", name="Older").click()
        page.wait_for_url("**cursor=**")
        assert page.locator("tbody tr").first.get_attribute("id") != first
        page.get_by_role("link", name="Back to the newest").click()
        page.wait_for_url("**/jobs")


class TestKeyboard:
    def test_rows_are_walked_and_opened(self, at: Tab) -> None:
        page = at.open("/jobs?q=status:failed")
        for key in ("j", "j", "k"):
            page.keyboard.press(key)
        at_row = page.locator("tr[data-at]")
        expect(at_row).to_have_count(1)
        assert at_row.get_attribute("id") == page.locator("tbody tr").first.get_attribute("id")
        page.keyboard.press("j")
        href = page.locator("tr[data-at]").get_attribute("data-href")
        page.keyboard.press("Enter")
        page.wait_for_url(f"**{href}")

    def test_r_retries_and_c_cancels_after_a_question(self, at: Tab, scene: Scene) -> None:
        job = scene.submit("invoice.charge", {"refuse": True}, maxRetries=0, tags=["by-key"])
        scene.until_ended(job)
        page = at.live("/jobs?q=" + quote("tag:by-key"))
        page.keyboard.press("j")
        page.keyboard.press("r")
        toast(page, "it runs again")
        scene.until(lambda: scene.client.get(f"/api/jobs/{job}").json()["attempt"] == 2, "its second attempt")
        page = at.live(f"/jobs/{scene.ids['retrying']}")
        page.keyboard.press("c")
        expect(page.locator("#confirm")).to_be_visible()
        page.get_by_role("button", name="Back").click()
        page.keyboard.press("c")
        page.keyboard.press("Escape")
        expect(page.locator("#confirm")).to_be_hidden()
        assert scene.status(scene.ids["retrying"]) == "retrying"
        page.keyboard.press("c")
        page.get_by_role("button", name="Cancel the job").click()
        toast(page, "it is cancelled")
        expect(page.locator("#head .state")).to_have_text("cancelled")
        assert scene.status(scene.ids["retrying"]) == "cancelled"

    @pytest.mark.parametrize("name", ASKED)
    def test_what_asks_first_is_asked_and_left_by_keyboard(self, name: str, at: Tab, scene: Scene) -> None:
        path, label = ASKED[name]
        page = at.open(path.format(**scene.ids))
        control = page.get_by_role("button", name=label, exact=True).first
        tab_to(page, control)
        page.keyboard.press("Enter")
        dialog = page.locator("dialog[open]")
        expect(dialog).to_be_visible()
        assert dialog.evaluate("(element) => element.contains(document.activeElement)")
        assert at.axe() == []
        page.keyboard.press("Escape")
        expect(dialog).to_have_count(0)
        expect(control).to_be_focused()

    @pytest.mark.parametrize("name", DONE_AT_ONCE)
    def test_every_other_action_is_reached_by_keyboard(self, name: str, at: Tab, scene: Scene) -> None:
        path, role, label = DONE_AT_ONCE[name]
        page = at.open(path.format(**scene.ids))
        tab_to(page, page.get_by_role(cast("Any", role), name=label, exact=True).first)

    def test_help(self, at: Tab) -> None:
        page = at.open("/")
        page.keyboard.press("?")
        expect(page.locator("#help")).to_be_visible()
        assert at.axe() == []
        page.keyboard.press("Escape")
        expect(page.locator("#help")).to_be_hidden()
        page.keyboard.press("g")
        page.keyboard.press("q")
        page.wait_for_url("**/queues")


class TestActions:
    def test_retry_of_all_that_match_after_a_count(self, at: Tab, scene: Scene) -> None:
        jobs = [scene.submit("invoice.charge", {"refuse": True}, maxRetries=0, tags=["bulk"]) for _ in range(4)]
        scene.until_ended(*jobs)
        page = at.live("/jobs?q=" + quote("tag:bulk"))
        page.get_by_role("button", name="Retry all…").click()
        expect(page.locator("#sheet")).to_contain_text("Retry 4 jobs?")
        assert at.axe() == []
        page.get_by_role("button", name="Retry 4").click()
        toast(page, "4 jobs retried")
        scene.until(
            lambda: all(scene.client.get(f"/api/jobs/{each}").json()["attempt"] == 2 for each in jobs), "attempts"
        )

    def test_cancel_of_all_that_match(self, at: Tab, scene: Scene) -> None:
        later = "2038-01-01T00:00:00Z"
        jobs = [scene.submit("report.build", {}, scheduleAt=later, tags=["bulk-cancel"]) for _ in range(3)]
        page = at.open("/jobs?q=" + quote("tag:bulk-cancel"))
        page.get_by_role("button", name="Cancel all…").click()
        page.get_by_role("button", name="Cancel 3").click()
        toast(page, "3 jobs cancelled")
        assert {scene.status(job) for job in jobs} == {"cancelled"}
        page.get_by_role("button", name="Cancel all…").click()
        expect(page.locator("#sheet")).to_contain_text("Nothing to cancel")

    def test_cancel_of_a_running_job(self, at: Tab, scene: Scene) -> None:
        job = scene.submit("thumbnail.render", {"steps": 900, "step_s": 0.1}, priority="HIGH")
        page = at.live(f"/jobs/{job}")
        expect(page.locator("#head .state")).to_have_text("running")
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel the job").click()
        toast(page, "its worker is told")
        expect(page.locator("#head .state")).to_have_text("cancelled", timeout=20_000)

    def test_a_clone_has_what_was_not_shown(self, at: Tab, scene: Scene) -> None:
        page = at.open(f"/jobs/{scene.ids['redacted']}")
        shown = page.content()
        assert "hunter2" not in shown
        assert "very_secret" not in shown
        assert "Bearer abc" not in shown
        page.get_by_role("link", name="Clone and edit").click()
        text = page.locator("textarea")
        assert "hunter2" not in text.input_value()
        text.fill(text.input_value().replace("4200", "4300"))
        page.get_by_role("button", name="Submit").click()
        page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
        job = page.url.rpartition("/")[2]
        assert job != scene.ids["redacted"]
        payload = scene.client.get(f"/api/jobs/{job}").json()["payload"]
        assert payload == {
            "amount": 4300,
            "customer": {"id": 7, "api_key": "sk_live_very_secret", "name": "Ada"},
            "password": "hunter2",
        }

    def test_a_wrong_job_is_told_of_in_the_form(self, at: Tab) -> None:
        page = at.open("/jobs/new")
        page.get_by_label("Type").fill("report.build")
        page.locator("textarea").fill("{nonsense")
        page.get_by_role("button", name="Submit").click()
        expect(page.locator("#form")).to_contain_text("The payload is not JSON")
        page.locator("textarea").fill("{}")
        page.get_by_label("Retries").fill("1000")
        page.get_by_role("button", name="Submit").click()
        expect(page.locator(".field-error")).to_contain_text("less than or equal to 100")
        assert at.axe() == []

    def test_a_lane_is_paused_with_a_reason_and_resumed(self, at: Tab, scene: Scene) -> None:
        page = at.live("/queues")
        page.get_by_label("Why job.medium is paused").fill("a <b>good</b> reason")
        page.get_by_role("region", name="job.medium").get_by_role("button", name="Pause").click()
        toast(page, "job.medium is paused")
        expect(page.get_by_role("region", name="job.medium")).to_contain_text("a <b>good</b> reason")
        lanes = {lane["name"]: lane for lane in scene.client.get("/api/queues").json()}
        assert lanes["job.medium"]["pausedReason"] == "a <b>good</b> reason"
        page.get_by_role("region", name="job.medium").get_by_role("button", name="Resume").click()
        toast(page, "job.medium goes on")

    def test_what_is_being_typed_outlives_updates(self, at: Tab, scene: Scene) -> None:
        page = at.live("/queues")
        page.get_by_label("Why job.critical is paused").fill("half a rea")
        at.note_updates()
        scene.post("/api/queues/job.high/pause")
        page.wait_for_function("() => window.updates.length > 0")
        assert page.get_by_label("Why job.critical is paused").input_value() == "half a rea"
        scene.post("/api/queues/job.high/resume")

    def test_schedules(self, at: Tab, scene: Scene) -> None:
        scene.post(
            "/api/schedules", {"name": "to be/gone".replace("/", " "), "cron": "0 0 1 1 *", "type": "report.build"}
        )
        page = at.live("/schedules")
        card = page.locator(".card", has_text="to be gone")
        card.get_by_role("button", name="Pause").click()
        expect(card).to_contain_text("paused")
        card.get_by_role("button", name="Resume").click()
        expect(card.get_by_role("button", name="Pause")).to_be_visible()
        card.get_by_role("button", name="Run now").click()
        toast(page, "a job of it is on its way")
        page.get_by_role("link", name="Open it").click()
        page.wait_for_url(re.compile(r"/jobs/[0-9a-f-]{36}$"))
        expect(page.locator("#facts")).to_contain_text("to be gone")
        page = at.live("/schedules")
        page.get_by_role("button", name="Delete to be gone").click()
        page.get_by_role("button", name="Delete", exact=True).click()
        toast(page, "is deleted")
        expect(page.locator(".card", has_text="to be gone")).to_have_count(0)

    def test_a_schedule_is_made_and_changed_in_sight_of_its_fires(self, at: Tab, scene: Scene) -> None:
        page = at.open("/schedules")
        page.get_by_role("link", name="New schedule").first.click()
        page.get_by_role("button", name="Make it").click()
        expect(page.locator(".field-error").first).to_be_visible()
        assert at.axe() == []
        page.get_by_label("Name", exact=True).fill("every quarter")
        page.get_by_label("Type").fill("report.build")
        page.get_by_label("Cron").fill("*/15 * * * x")
        expect(page.locator("#preview")).to_contain_text("five fields")
        page.get_by_label("Cron").fill("*/15 * * * *")
        expect(page.locator("#preview time")).to_have_count(4)
        page.locator("textarea").fill('{"month": 3, "password": "hunter2"}')
        page.get_by_role("button", name="Make it").click()
        page.wait_for_url("**/schedules")
        page.get_by_role("link", name="Edit every quarter").click()
        assert "hunter2" not in page.content()
        page.get_by_label("Time zone").fill("Europe/Nowhere")
        page.get_by_role("button", name="Save").click()
        expect(page.locator("#form")).to_contain_text("is not a time zone")
        page.get_by_label("Time zone").fill("Asia/Tokyo")
        page.get_by_label("Retries").fill("7")
        page.get_by_label("While an earlier job").select_option("skip")
        page.get_by_role("button", name="Save").click()
        page.wait_for_url("**/schedules")
        made = scene.client.get("/api/schedules/every quarter").json()
        assert (made["timezone"], made["maxRetries"], made["overlap"]) == ("Asia/Tokyo", 7, "skip")
        assert made["payload"] == {"month": 3, "password": "hunter2"}
        scene.client.delete("/api/schedules/every quarter")

    def test_a_rate_limit_is_set_changed_and_lifted(self, at: Tab, scene: Scene) -> None:
        page = at.live("/queues")
        page.get_by_role("button", name="New limit").click()
        page.get_by_role("button", name="Limit it").click()
        expect(page.locator("#sheet .field-error").first).to_be_visible()
        assert at.axe() == []
        page.get_by_label("Type", exact=True).fill("mail.bulk")
        page.get_by_label("Starts").fill("30")
        page.get_by_label("Per", exact=True).select_option("minute")
        page.get_by_role("button", name="Limit it").click()
        toast(page, "mail.bulk is limited")
        expect(page.locator("#sheet")).to_be_hidden()
        row = page.locator("#rules tr", has_text="mail.bulk")
        expect(row).to_contain_text("minute")
        row.get_by_role("button", name="Edit the limit of mail.bulk").click()
        page.get_by_label("Starts").fill("40")
        page.keyboard.press("Enter")
        expect(row).to_contain_text("40")
        limits = {each["type"]: each for each in scene.client.get("/api/rate-limits").json()}
        assert (limits["mail.bulk"]["permits"], limits["mail.bulk"]["perSeconds"]) == (40, 60)
        row.get_by_role("button", name="Lift the limit of mail.bulk").click()
        page.get_by_role("button", name="Lift", exact=True).click()
        toast(page, "is limited no more")
        expect(row).to_have_count(0)

    def test_the_leader_steps_down(self, at: Tab) -> None:
        page = at.live("/cluster")
        former = page.locator(".node.leads .node-name").inner_text()
        page.get_by_role("button", name="Step down").click()
        expect(page.locator("#confirm")).to_contain_text(former)
        page.locator("#confirm-yes").click()
        toast(page, "has handed over")
        expect(page.locator(".node.leads .node-name")).not_to_have_text(former)
        expect(page.locator("#elections tbody tr").first).not_to_contain_text(former)

    def test_replay_of_what_failed_alike(self, at: Tab) -> None:
        page = at.live("/dead-letters")
        card = page.locator(".card", has_text="import.rows")
        expect(card).to_contain_text("KeyError")
        card.get_by_role("button", name="Replay…").click()
        expect(page.locator("#sheet")).to_contain_text("Replay 3 jobs?")
        page.get_by_label("How many a second").fill("50")
        page.get_by_role("button", name="Replay 3").click()
        toast(page, "3 jobs run again")

    def test_drain(self, at: Tab, scene: Scene) -> None:
        page = at.live("/workers")
        expect(page.locator("#workers tbody tr").first).to_contain_text(re.compile(r"\d+ MB"))
        worker = page.locator("#workers tbody tr").first.locator("a").inner_text()
        page.locator("#workers tbody tr").first.get_by_role("button", name="Drain").click()
        page.locator("#confirm-yes").click()
        toast(page, "asked to drain")

        def stops() -> bool:
            return scene.client.get(f"/api/workers/{worker}").json()["state"] in ("STOPPED", "SHUTTING_DOWN")

        scene.until(stops, "the worker to stop")

    def test_what_is_refused_is_said(self, at: Tab, scene: Scene) -> None:
        job = scene.submit("report.build", {}, scheduleAt="2038-01-01T00:00:00Z")
        page = at.open(f"/jobs/{job}")
        at.hide(hidden=True)
        scene.post(f"/api/jobs/{job}/cancel")
        page.get_by_role("button", name="Cancel", exact=True).click()
        page.get_by_role("button", name="Cancel the job").click()
        toast(page, "it is cancelled")
        at.complaints.clear()

    def test_audit_knows_it_all(self, at: Tab) -> None:
        page = at.live("/audit")
        for action in (
            "queue.pause",
            "job.cancel",
            "jobs.retry",
            "dead_letters.replay",
            "worker.drain",
            "schedule.delete",
            "schedule.run",
            "schedule.create",
            "schedule.change",
            "rate_limit.set",
            "rate_limit.lift",
            "cluster.step_down",
        ):
            expect(page.locator("#entries").get_by_text(action, exact=True).first).to_be_visible()


class TestHostile:
    def test_what_callers_say_is_text_and_nothing_else(self, at: Tab, scene: Scene) -> None:
        scene.add_hostile()
        ids = scene.ids
        paths = [
            "/",
            "/jobs",
            "/jobs?q=" + quote(f'type:"{HOSTILE}"'),
            "/jobs?q=" + quote(HOSTILE),
            "/jobs?q=" + quote("stat<img src=x onerror='window.hacked=9'>:x"),
            f"/jobs/{ids['hostile']}",
            f"/jobs/{ids['hostile_failed']}",
            f"/jobs/new?from={ids['hostile']}",
            "/jobs/new?schedule=" + quote("<script>hack"),
            "/queues",
            "/workers",
            "/schedules",
            "/batches",
            f"/batches/{ids['hostile_batch']}",
            "/dead-letters",
            "/audit",
            "/keys",
        ]
        for path in paths:
            page = at.open(path)
            page.wait_for_load_state("load")
            if page.locator("#live").count():
                page.wait_for_selector('#connection[data-state="live"]')
                page.wait_for_timeout(400)  # the first fill of the stream has been swapped in
            assert page.evaluate("() => window.hacked") is None, path
            assert page.locator("main script, main img, main i:not(:empty), main u, main s").count() == 0, path
        page = at.open(f"/jobs/{ids['hostile']}")
        expect(page.locator("h1")).to_have_text(HOSTILE)
        expect(page.locator("main")).to_contain_text("</code></pre><script>")


@pytest.fixture(scope="module")
def doors(stack: Stack, scene: Scene) -> Doors:
    made = Doors(stack.database_url)
    made.key(Scope.ADMIN)
    scene.until(lambda: scene.client.get("/api/jobs").status_code == 401, "the gate to close")
    return made


class TestAccess:
    """Last, for the first key closes the gate for good."""

    def log_in(self, at: Tab, token: Token, path: str = "/") -> Page:
        page = at.open(path)
        page.get_by_label("API key").fill(token.text)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**{path}")
        return page

    def test_the_way_in_and_out(self, at: Tab, doors: Doors, scene: Scene) -> None:
        page = at.open(f"/jobs/{scene.ids['failed']}")
        assert page.url.startswith(f"{at.url}/login?next=%2Fjobs%2F")
        assert at.axe() == []
        page.get_by_label("API key").fill("dq_wrong")
        page.get_by_role("button", name="Log in").click()
        expect(page.get_by_role("alert")).to_contain_text("no API key")
        assert at.axe() == []
        page.get_by_label("API key").fill(doors.key(Scope.READ, Scope.OPERATE).text)
        page.get_by_role("button", name="Log in").click()
        page.wait_for_url(f"**/jobs/{scene.ids['failed']}")
        page.wait_for_selector('#connection[data-state="live"]')
        session, csrf = (
            next(each for each in at.context.cookies() if each["name"].startswith(name))
            for name in (COOKIE, CSRF_COOKIE)
        )
        assert session["httpOnly"]
        assert session["sameSite"] == "Strict"
        assert csrf["sameSite"] == "Strict"
        assert page.evaluate("() => document.cookie").count(COOKIE) == 0
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login*")
        page = at.open("/queues")
        assert "/login" in page.url
        at.complaints.clear()  # the 401 of the wrong key

    def test_a_key_that_may_only_read_sees_and_cannot_act(self, at: Tab, doors: Doors, scene: Scene) -> None:
        page = self.log_in(at, doors.key(Scope.READ), "/jobs?q=status:failed")
        expect(page.locator(".readonly")).to_be_visible()
        for path in (
            "/jobs?q=status:failed",
            f"/jobs/{scene.ids['failed']}",
            "/queues",
            "/workers",
            "/schedules",
            "/dead-letters",
            "/cluster",
        ):
            page = at.live(path)
            assert page.locator("[hx-post], [hx-get*=bulk], [hx-get*=replay], [hx-get*=form]").count() == 0, path
            assert at.axe() == [], path
        page.keyboard.press("r")
        page = at.open("/audit")
        expect(page.get_by_role("heading", name="Not allowed")).to_be_visible()
        at.complaints.clear()  # its 403

    def test_writes_take_the_pages_own_token(self, at: Tab, doors: Doors) -> None:
        page = self.log_in(at, doors.key(Scope.READ, Scope.OPERATE), "/queues")
        post = "(headers) => fetch('/queues/job.low/resume', {method: 'POST', headers}).then((answer) => answer.status)"
        assert page.evaluate(post, {"HX-Request": "true"}) == 403
        assert page.evaluate(post, {"HX-Request": "true", "X-CSRF-Token": "0" * 64}) == 403
        page.get_by_role("region", name="job.low").get_by_role("button", name="Resume").click()
        toast(page, "job.low goes on")
        at.complaints.clear()  # both 403

    def test_the_cluster_is_known_and_steps_down_with_keys_too(self, at: Tab, doors: Doors) -> None:
        page = self.log_in(at, doors.key(Scope.READ, Scope.OPERATE), "/cluster")
        expect(page.locator("#strip")).to_contain_text("follower")
        expect(page.locator("#duties tbody tr").first).to_be_visible()
        page.get_by_role("button", name="Step down").click()
        page.locator("#confirm-yes").click()
        toast(page, "has handed over")

    def test_another_installation_on_the_host_has_a_session_of_its_own(self, at: Tab, doors: Doors) -> None:
        other = {"name": f"{COOKIE}00000000", "value": "a.1.b.c", "url": at.url}
        at.context.add_cookies([other])  # type: ignore[list-item]
        page = self.log_in(at, doors.key(Scope.READ), "/queues")
        page.get_by_role("button", name="Log out").click()
        page.wait_for_url("**/login*")
        assert [each["name"] for each in at.context.cookies()] == [other["name"]]

    def test_a_session_ends_with_its_key(self, at: Tab, doors: Doors) -> None:
        token = doors.key(Scope.READ)
        page = self.log_in(at, token, "/queues")
        doors.revoke(token)
        time.sleep(1.5)  # keys are read every second
        page.reload()
        page.wait_for_url("**/login*")

    def test_keys_are_made_shown_once_and_revoked(self, at: Tab, doors: Doors) -> None:
        page = self.log_in(at, doors.key(Scope.ADMIN), "/keys")
        page.get_by_label("Name").fill("<b>deploy</b>")
        page.get_by_label("Lasts, days").fill("30")
        page.get_by_label("submit").check()
        page.get_by_role("button", name="Make a key").click()
        made = page.locator(".secret").inner_text()
        assert Token.parse(made) is not None
        assert (
            httpx.get(f"{at.url}/api/jobs", headers={"Authorization": f"Bearer {made}"}, trust_env=False).status_code
            == 200
        )
        assert at.axe() == []
        page.reload()
        assert made not in page.content()
        row = page.locator("#keys tr", has_text="<b>deploy</b>")
        row.get_by_role("button", name="Revoke").click()
        page.locator("#confirm-yes").click()
        toast(page, "is revoked")
        expect(row).to_contain_text("revoked")
