"""What the dashboard costs a browser and a gateway, and how soon it shows a million jobs.

*A tab in Chromium.* 5,000 jobs a minute are submitted (an open loop) and run by one worker. Chromium, headless, shows
one page for 15 s; `main thread` is what its main thread was busy for (`TaskDuration` of the protocol's
`Performance.getMetrics`: script, style, layout, paint), in % of the time. The overview, the list of jobs, the queues.

*20 tabs.* Two cores have no room for twenty real browsers beside the system. So the tabs are clients that ask for all
that Chromium does, by the same headers, and draw nothing (`benchmarks.systems.tabs`): 5 on the overview, 10 on the jobs
by 10 filters, and 5 on other pages, each with its stream. Single jobs are submitted over 64 connections as fast as the
gateway answers, and run: `end to end` is their rate. Before, at rest, `gateway at rest` is what the gateway takes of a
core with the tabs, at 5,000 jobs a minute. The contender without tabs does the same.

*A million jobs.* A gateway over a database with 1,000,000 jobs of a system in use (`benchmarks.systems.filled`), whose
page of jobs Chromium loads by one filter after another, from its cache but for the page itself: from the beginning of
the navigation until the list is drawn, and until the counts beside it are there, too. Each of every kind three times;
the figures are the slowest, and those of filters are until all is there. `facets` are all statuses, priorities and
types that the page offers; `nowhere` looks for `payload.user.id:7`, which no job has, and for a text that is in none.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Final
from urllib.parse import quote

from playwright.async_api import CDPSession, Page, async_playwright

from benchmarks.load.plan import Plan
from benchmarks.model import Contender, Metric, Scene, Suite, Target
from benchmarks.suites.growth import SETTINGS
from benchmarks.systems.filled import Filling, filled
from benchmarks.systems.meter import Meter
from benchmarks.systems.stack import Stack, stack
from benchmarks.systems.tabs import Tabs, open_tabs
from tests.acceptance.browser import executable

PER_MINUTE: Final = 5_000
MOST_MINUTES: Final = 5
CALLERS: Final = 64
CAPACITY: Final = 100
WARM_UP: Final = 200
ITEM: Final = '{"type":"calculate","payload":{"numbers":[@,1]}}'
SETTLE_S: Final = 3.0
WATCHED_S: Final = 15.0
QUICK_S: Final = 2.0
FLOOD: Final = 30_000
QUICK_FLOOD: Final = 300
OVER_S: Final = 120.0
MOST_BUSY: Final = 20.0
KEPT: Final = 0.9
MILLION: Final = Filling(1_000_000)
QUICK_MILLION: Final = Filling(5_000)
REPEATS: Final = 3
FIRST_MS: Final = 500.0
FILTER_MS: Final = 1_000.0
LOAD_MS: Final = 30_000.0
VIEWPORT: Final = {"width": 1400, "height": 900}

TABS: Final = (
    *["/"] * 5,
    *(
        f"/jobs?q={quote(text)}" if text else "/jobs"
        for text in (
            "",
            "status:failed",
            "status:running",
            "type:calculate",
            "type:calculate priority:high",
            "priority:medium",
            "tag:nightly",
            "created:<1h",
            "created:<1d status:completed",
            "payload.user.id:7",
        )
    ),
    *("/queues", "/workers", "/cluster", "/batches", "/dead-letters"),
)
WATCHED: Final = {"overview": "/", "jobs": "/jobs", "queues": "/queues"}

STATUSES: Final = (
    "scheduled blocked pending queued running retrying completed failed timeout cancelled".split()  # noqa: SIM905
)
TYPES: Final = ("calculate", "transform", "validate", "mail", "report", "resize")
FILTERS: Final[Mapping[str, Sequence[str]]] = {
    "facets": (
        *(f"status:{status}" for status in STATUSES),
        *(f"priority:{priority}" for priority in ("critical", "high", "medium", "low")),
        *(f"type:{type_}" for type_ in TYPES),
    ),
    "two facets": ("status:failed type:mail", "status:completed priority:high", "type:report priority:low"),
    "tag": ("tag:all", "tag:rare", "tag:old", "tag:none"),
    "worker": ("worker:worker-7", "worker:worker-of-old", "worker:nobody"),
    "created": ("created:<1h", "created:>1w", "created:<1d status:failed", "created:>1d type:type-of-old"),
    "payload": ("payload.n:999900,999800", "payload.n:999900 type:calculate"),
    "text": ('"no 7"', "mail"),
    "nowhere": ("payload.user.id:7", '"no such text"', "payload.user.id:7 status:failed"),
}
LIVE: Final = '#connection[data-state="live"]'
DRAWN: Final = "() => performance.getEntriesByName('first-contentful-paint')[0]?.startTime"
COMPLETE: Final = "() => !document.querySelector('#facets .skeleton') && performance.now()"


async def measure_tab(scene: Scene) -> Mapping[str, float]:
    """Launch with one tab in Chromium."""
    watched_s = QUICK_S if scene.quick else WATCHED_S
    figures: dict[str, float] = {}
    async with stack(scene, "rabbitmq", capacity=CAPACITY) as platform, _page() as page, _at_work(platform):
        for name, path in WATCHED.items():
            scene.progress(f"watching {path}")
            await page.goto(platform.url + path)
            await page.wait_for_selector(LIVE)
            await asyncio.sleep(SETTLE_S)
            figures[f"main_{name}"] = await _busy(page, watched_s)
    return figures


async def measure_tabs(paths: Sequence[str], scene: Scene) -> Mapping[str, float]:
    """Launch with these tabs open."""
    jobs, watched_s = (QUICK_FLOOD, QUICK_S) if scene.quick else (FLOOD, WATCHED_S)
    async with stack(scene, "rabbitmq", capacity=CAPACITY) as platform, _open(platform, paths) as tabs:
        await platform.submit(Plan(WARM_UP, CALLERS), ITEM)
        gateway = [platform.programs.pids["gateway"]]
        scene.progress(f"{PER_MINUTE} jobs a minute")
        async with _at_work(platform):
            await asyncio.sleep(SETTLE_S)
            meter = Meter(gateway)
            if tabs is not None:
                await tabs.reset()
            await asyncio.sleep(watched_s)
            at_rest = meter.read()[0]
            shown = await tabs.figures() if tabs is not None else None
        await platform.until_over(timeout_s=OVER_S)
        scene.progress(f"{jobs} jobs")
        submitted = await platform.submit(Plan(jobs, CALLERS), ITEM)
        await platform.until_over(timeout_s=OVER_S)
        last = (await platform.sql("SELECT extract(epoch FROM max(finished_at))::float8 AS at FROM jobs"))[0]["at"]
    first_s = (submitted.first_ns + submitted.wall_ns) / 1e9
    figures = {"rate": jobs / (last - first_s), "gateway": at_rest}
    return figures if shown is None else figures | {"frames": shown.frames / shown.took_s}


async def measure_million(scene: Scene) -> Mapping[str, float]:
    """Launch over a million jobs."""
    filling, repeats = (QUICK_MILLION, 1) if scene.quick else (MILLION, REPEATS)
    database_url = await filled(scene, filling)
    figures: dict[str, float] = {}
    async with (
        stack(scene, "postgres", workers=0, database_url=database_url, settings=SETTINGS) as platform,
        _page() as page,
    ):
        await _load(page, f"{platform.url}/")  # files come into the cache
        first = [await _load(page, f"{platform.url}/jobs") for _ in range(repeats)]
        figures["first"], figures["first_counts"] = max(drawn for drawn, _ in first), max(whole for _, whole in first)
        for kind, texts in FILTERS.items():
            scene.progress(f"filters: {kind}")
            taken = {
                text: max([(await _load(page, f"{platform.url}/jobs?q={quote(text)}"))[1] for _ in range(repeats)])
                for text in texts
            }
            slowest = max(taken, key=taken.__getitem__)
            scene.progress(f"filters: {kind}: {slowest} {taken[slowest]:.0f} ms")
            figures[kind] = taken[slowest]
    return figures


@asynccontextmanager
async def _page() -> AsyncIterator[Page]:
    """Yield a page of a browser of its own."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=["--no-sandbox"])
        try:
            page = await browser.new_page(viewport=VIEWPORT)  # type: ignore[arg-type]
            page.set_default_timeout(LOAD_MS)
            yield page
        finally:
            await browser.close()


async def _load(page: Page, url: str) -> tuple[float, float]:
    """Load a page of jobs; return in how many ms the list was drawn, and in how many the counts were there, too."""
    await page.goto(url, wait_until="domcontentloaded")
    if url.endswith("/"):
        return 0.0, 0.0
    complete = await page.wait_for_function(COMPLETE)
    drawn = await page.wait_for_function(DRAWN)
    return float(await drawn.json_value()), float(await complete.json_value())


async def _busy(page: Page, seconds: float) -> float:
    """Return for how much of the next seconds the page's main thread is busy, in %."""
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", {"timeDomain": "timeTicks"})
    before = await _ticks(session)
    await asyncio.sleep(seconds)
    after = await _ticks(session)
    await session.detach()
    return 100 * (after["TaskDuration"] - before["TaskDuration"]) / (after["Timestamp"] - before["Timestamp"])


async def _ticks(session: CDPSession) -> dict[str, float]:
    answer = await session.send("Performance.getMetrics")
    return {each["name"]: each["value"] for each in answer["metrics"]}


@asynccontextmanager
async def _at_work(platform: Stack) -> AsyncIterator[None]:
    """Submit jobs at the pace until the block is left."""
    plan = Plan(PER_MINUTE * MOST_MINUTES, CALLERS, per_s=PER_MINUTE / 60, timeout_s=60.0 * (MOST_MINUTES + 1))
    async with asyncio.TaskGroup() as group:
        working = group.create_task(platform.submit(plan, ITEM))
        yield
        working.cancel()


@asynccontextmanager
async def _open(platform: Stack, paths: Sequence[str]) -> AsyncIterator[Tabs | None]:
    if not paths:
        yield None
        return
    async with open_tabs(platform.url, paths) as tabs:
        yield tabs
        if ended := (await tabs.figures()).ended:
            raise RuntimeError(f"{ended} of {len(paths)} streams were cut off")


TAB: Final = "a tab in Chromium"
WITHOUT: Final = "no tabs"
WITH: Final = f"{len(TABS)} tabs"
STORED: Final = "1,000,000 jobs"
SUITE: Final = Suite(
    name="dashboard",
    title="the dashboard's cost, and its page of a million jobs",
    metrics=(
        *(Metric(f"main_{name}", f"main thread: {name}", "%", "less") for name in WATCHED),
        Metric("rate", "end to end", "/s", "more"),
        Metric("gateway", "gateway at 5,000 jobs/min", "%", "less"),
        Metric("frames", "to all tabs", "/s", "more"),
        Metric("first", "first view", "ms", "less"),
        Metric("first_counts", "with counts", "ms", "less"),
        *(Metric(kind, f"slowest: {kind}", "ms", "less") for kind in FILTERS),
    ),
    contenders=(
        Contender(TAB, measure_tab),
        Contender(WITHOUT, partial(measure_tabs, ())),
        Contender(WITH, partial(measure_tabs, TABS)),
        Contender(STORED, measure_million),
    ),
    targets=(
        *(
            Target(f"{name}: the main thread is busy < {MOST_BUSY:g} %", f"main_{name}", TAB, "<=", MOST_BUSY)
            for name in WATCHED
        ),
        Target(f"{WITH}: the gateway keeps > {KEPT:g} × its throughput", "rate", WITH, ">=", KEPT, WITHOUT),
        Target(f"{STORED}: first view < {FIRST_MS:g} ms", "first", STORED, "<=", FIRST_MS),
        *(Target(f"{STORED}: {kind} < {FILTER_MS:g} ms", kind, STORED, "<=", FILTER_MS) for kind in FILTERS),
    ),
)
