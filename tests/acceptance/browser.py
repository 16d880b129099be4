"""Debian's Chromium, driven by Playwright, and a page that keeps what it complained of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Request, ViewportSize, sync_playwright

CHROMIUM: Final = ("chromium", "chromium-browser", "google-chrome")
WIDE: Final[ViewportSize] = {"width": 1400, "height": 900}
NARROW: Final[ViewportSize] = {"width": 360, "height": 740}
TIMEOUT_MS: Final = 10_000
AXE_RULES: Final = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
}
CONTRAST: Final = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}


def executable() -> str:
    """Return where Chromium is."""
    path = next((found for name in CHROMIUM if (found := shutil.which(name))), None)
    assert path is not None, "no Chromium: apt-get install chromium, as ./build-run.sh test does"
    return path


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start a browser."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Tab:
    """A page, what it asked for, and what went wrong in it."""

    page: Page
    context: BrowserContext
    url: str
    complaints: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    def open(self, path: str) -> Page:
        """Go to a page of the dashboard, and wait until its stream is there."""
        self.page.goto(self.url + path)
        return self.page

    def live(self, path: str) -> Page:
        """Go to a page, and wait until its stream has begun."""
        self.open(path)
        self.page.wait_for_selector('#connection[data-state="live"]', timeout=TIMEOUT_MS)
        return self.page

    def axe(self, rules: Any = AXE_RULES) -> list[str]:
        """Return what axe finds on the page as it is."""
        found = Axe().run(self.page, options=rules).response["violations"]
        return [
            f"{each['id']}: {node['html'][:160]} {node['failureSummary']}" for each in found for node in each["nodes"]
        ]

    def note_updates(self) -> None:
        """Note from now on when the stream changes the page."""
        self.page.evaluate(
            """() => {
                window.updates = [];
                document.addEventListener("htmx:sse:after:message", () => window.updates.push(performance.now()));
            }"""
        )

    def updates(self) -> list[float]:
        """Return when it did, in milliseconds."""
        found: list[float] = self.page.evaluate("() => window.updates")
        return found

    def hide(self, *, hidden: bool) -> None:
        """Let the page believe that it went to the background, or came back."""
        self.page.evaluate(
            """(hidden) => {
                Object.defineProperty(document, "hidden", { configurable: true, get: () => hidden });
                const state = hidden ? "hidden" : "visible";
                Object.defineProperty(document, "visibilityState", { configurable: true, get: () => state });
                document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )


@contextmanager
def tab(
    browser: Browser,
    url: str,
    *,
    viewport: ViewportSize = WIDE,
    dark: bool = False,
    quiet: tuple[str, ...] = (),
    insecure: bool = False,
) -> Iterator[Tab]:
    """Open a tab of its own; at the end nothing may have been complained of but what contains one of `quiet`.

    `insecure` takes any certificate.
    """
    context = browser.new_context(
        viewport=viewport,
        color_scheme="dark" if dark else "light",
        timezone_id="Europe/Berlin",
        locale="en-GB",
        ignore_https_errors=insecure,
    )
    context.set_default_timeout(TIMEOUT_MS)
    page = context.new_page()
    opened = Tab(page, context, url)

    def ask(request: Request) -> None:
        opened.asked.append(request.url.removeprefix(url))

    page.on("request", ask)
    page.on("pageerror", lambda error: opened.complaints.append(f"error: {error}"))
    page.on("console", lambda said: opened.complaints.append(said.text) if said.type in ("error", "warning") else None)
    try:
        yield opened
    finally:
        context.close()
    left = [each for each in opened.complaints if not any(word in each for word in quiet)]
    assert left == [], left
