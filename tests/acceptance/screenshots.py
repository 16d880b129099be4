"""Pictures of every page of the dashboard, light, dark and 360 pixels wide.

`python -m tests.acceptance.screenshots DIR` starts a stack of its own, gives it work for about a minute, so that the
charts have something to show, and stops it.
"""

import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx
from playwright.sync_api import Browser
from rich.progress import track

from distriqueue.core.access import Scope
from distriqueue.local.stack import Stack
from tests.acceptance.browser import NARROW, WIDE, Tab, chromium, tab
from tests.acceptance.dashboard_doors import Doors
from tests.acceptance.dashboard_scene import HANDLERS, Scene
from tests.acceptance.test_dashboard import PAGES

LOOKS: Final = {"light": (False, WIDE), "dark": (True, WIDE), "narrow": (False, NARROW)}
WORK_S: Final = 60.0
SETTLE_MS: Final = 1_200
READ_ONLY: Final = ("jobs filtered", "job failed", "queues")
SHEETS: Final = {
    "sheet-limit": ("/queues", "New limit"),
    "sheet-bulk": ("/jobs?q=status:failed", "Retry all…"),
    "confirm": ("/cluster", "Step down"),
}
EMPTY: Final = ("overview", "jobs", "batches", "schedules", "dead letters")


@contextmanager
def at_work(url: str) -> Iterator[None]:
    """Submit jobs at an uneven pace, by a client of its own, until the end of the block."""
    over = threading.Event()

    def work() -> None:
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            scene, number = Scene(client), 0
            while not over.wait(1.0):
                for _ in range(4 + number % 7):
                    number += 1
                    scene.submit("report.build", {"month": number % 12 + 1, "takes_s": 0.02 * (number % 5)})
                    scene.submit("invoice.charge", {"amount": number, "refuse": number % 23 == 0}, maxRetries=0)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(30)


def shoot(opened: Tab, path: str, file: Path) -> None:
    """Take a picture of a whole page, once it has settled."""
    opened.open(path)
    opened.page.wait_for_load_state("load")
    opened.page.wait_for_timeout(SETTLE_MS)
    opened.page.screenshot(path=file, full_page=True)
    opened.complaints.clear()


def everything(browser: Browser, url: str, scene: Scene, to: Path) -> None:
    """Take a picture of every page in every look."""
    pages = PAGES | {"nothing": "/nothing"}
    for look, (dark, viewport) in LOOKS.items():
        with tab(browser, url, dark=dark, viewport=viewport) as opened:
            for name, path in track(pages.items(), description=look):
                shoot(opened, path.format(**scene.ids), to / f"{name.replace(' ', '-')}-{look}.png")
            opened.open("/")
            opened.page.keyboard.press("?")
            opened.page.screenshot(path=to / f"help-{look}.png")
            for name, (path, button) in SHEETS.items():
                opened.live(path)
                opened.page.get_by_role("button", name=button).first.click()
                opened.page.locator("dialog[open]").wait_for()
                opened.page.screenshot(path=to / f"{name}-{look}.png")


def nothing_yet(browser: Browser, url: str, to: Path) -> None:
    """Take pictures of a stack that has no jobs."""
    with tab(browser, url) as opened:
        for name in EMPTY:
            shoot(opened, PAGES[name], to / f"{name.replace(' ', '-')}-empty.png")


def with_keys(browser: Browser, stack: Stack, scene: Scene, to: Path) -> None:
    """Take pictures of the login, and of what a key that may only read sees."""
    token = Doors(stack.database_url).key(Scope.READ)
    scene.until(lambda: scene.client.get("/api/jobs").status_code == 401, "the gate to close")
    for look, (dark, viewport) in LOOKS.items():
        with tab(browser, stack.gateway_urls[0], dark=dark, viewport=viewport) as opened:
            shoot(opened, "/login", to / f"login-{look}.png")
            opened.page.get_by_label("API key").fill(token.text)
            opened.page.get_by_role("button", name="Log in").click()
            opened.page.wait_for_selector('#connection[data-state="live"]')
            for name in READ_ONLY:
                shoot(opened, PAGES[name].format(**scene.ids), to / f"{name.replace(' ', '-')}-read-only-{look}.png")


def main(to: Path) -> None:
    """Start a stack, and take the pictures."""
    to.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="dq-screenshots-") as home,
        Stack.start(Path(home) / "home", workers=2, orchestrators=3, worker_app=HANDLERS) as stack,
        chromium() as browser,
    ):
        url = stack.gateway_urls[0]
        nothing_yet(browser, url, to)
        with (
            httpx.Client(base_url=url, timeout=20, trust_env=False) as client,
            at_work(url),
            tab(browser, url) as watching,
        ):
            scene = Scene(client)
            scene.fill()
            watching.live("/")  # so that the gateway takes figures often
            time.sleep(WORK_S)
            everything(browser, url, scene, to)
        with httpx.Client(base_url=url, timeout=20, trust_env=False) as client:
            with_keys(browser, stack, Scene(client, scene.ids), to)
    print(f"{len(list(to.glob('*.png')))} pictures in {to}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tests.acceptance.screenshots DIR")
    main(Path(sys.argv[1]))
