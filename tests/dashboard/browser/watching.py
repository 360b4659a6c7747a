"""A real browser that opens pages and remembers everything that is wrong with them."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    Request,
    Response,
    Route,
    sync_playwright,
)

from tests.dashboard.browser.sites import Site

CHROMIUMS = ("chromium", "chromium-browser", "google-chrome")
WIDE, NARROW = (1280, 900), (390, 844)
SERIOUS = {"serious", "critical"}
ALL_BUT_CONTRAST = {"resultTypes": ["violations"], "rules": {"color-contrast": {"enabled": False}}}
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}
FIRST_ROWS = {"include": [["html"]], "exclude": [["tbody tr:nth-child(n+9)"]]}
MOST_SHIFT = 0.02
DRAW_MS = 20_000

Scheme = Literal["light", "dark"]

# Runs before anything of a page: what breaks its policy, and what moves while it loads.
WATCH = """
window.watched = { shift: 0, moved: [], refused: [] };
document.addEventListener("securitypolicyviolation", (event) => {
  window.watched.refused.push(`${event.effectiveDirective} ${event.blockedURI} ${event.sourceFile}:${event.lineNumber} ${event.sample}`);
});
new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    if (entry.hadRecentInput) continue;
    window.watched.shift += entry.value;
    for (const source of entry.sources) {
      const node = source.node;
      if (node) window.watched.moved.push(`${node.nodeName} ${node.id || node.className || ""}`);
    }
  }
}).observe({ type: "layout-shift", buffered: true });
"""

# Down the page and back, so that what is drawn late is drawn.
SCROLL = """
async () => {
  const step = innerHeight * 0.8;
  for (let at = 0; at < document.documentElement.scrollHeight; at += step) {
    scrollTo({ top: at, behavior: "instant" });
    await new Promise((done) => requestAnimationFrame(() => setTimeout(done, 20)));
  }
  scrollTo({ top: 0, behavior: "instant" });
}
"""

DRAWN = "() => [...document.querySelectorAll('[data-plot]')].every((box) => box.matches('.drawn, .broken'))"


def chromium_path() -> str | None:
    """The Chromium of this machine, or None."""
    return next(filter(None, map(shutil.which, CHROMIUMS)), None)


@contextmanager
def the_browser() -> Iterator[Browser]:
    """The browser of this machine; without one the test is skipped, by name."""
    path = chromium_path()
    if path is None:
        pytest.skip(f"there is no Chromium here (none of {', '.join(CHROMIUMS)})")
    with a_browser(path) as browser:
        yield browser


@contextmanager
def a_browser(path: str) -> Iterator[Browser]:
    """A browser without a window."""
    hidden = ["--disable-dev-shm-usage", "--hide-scrollbars"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=path,
            args=[*hidden, "--no-sandbox"] if os.geteuid() == 0 else hidden,
        )
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Watched:
    """One window of a visitor, and what was found wrong in it so far, each with its path."""

    site: Site
    context: BrowserContext
    page: Page
    script: bool
    found: list[str] = field(default_factory=list)
    _expected: int = 200

    def __post_init__(self) -> None:
        self.context.route("**/*", self._pass)
        self.page.on("console", self._console)
        self.page.on("pageerror", lambda error: self.blame(f"script: {error}"))
        self.page.on("response", self._response)
        self.page.on("requestfailed", self._failed)

    def open(self, path: str, *, status: int = 200) -> Page:
        """Go to a page, and wait until everything on it is drawn."""
        self._expected = status
        answer = self.page.goto(self.site.url + path, wait_until="load")
        assert answer is not None
        if answer.status != status:
            self.blame(f"status {answer.status}, expected {status}")
        return self.settle()

    def expects(self, status: int) -> None:
        """What the next page will be answered with, where that is not asked for by `open`."""
        self._expected = status

    def settle(self) -> Page:
        """Wait until every plot of the page is drawn, and look whether one is not."""
        self.page.wait_for_load_state("load")  # a click returns where its page has only begun
        if self.script:
            self.page.evaluate(SCROLL)
            self.page.wait_for_function(DRAWN, timeout=DRAW_MS)
            for broken in self.page.query_selector_all("[data-plot].broken"):
                self.blame(f"plot {broken.get_attribute('id')} is broken")
        return self.page

    def look(self) -> None:
        """Everything that can be asked of a page once it stands."""
        watched: dict[str, Any] = self.page.evaluate("() => window.watched")
        for refused in watched["refused"]:
            self.blame(f"CSP: {refused}")
        if watched["shift"] >= MOST_SHIFT:
            self.blame(f"layout shift {watched['shift']:.3f}: {watched['moved'][:4]}")
        if (wide := self._overflow()) > 0:
            self.blame(f"{wide} px wider than the window")
        self._axe()

    def blame(self, what: str) -> None:
        """Write down a fault of the page at hand."""
        path = self.page.url.removeprefix(self.site.url)
        self.found.append(f"{path}: {what}")

    def _axe(self) -> None:
        """Every rule on all of the page; contrast, which takes seconds a thousand cells, on the first rows."""
        results = [
            *Axe().run(self.page, options=ALL_BUT_CONTRAST).response["violations"],
            *Axe().run(self.page, FIRST_ROWS, CONTRAST).response["violations"],
        ]
        for each in results:
            if each["impact"] in SERIOUS:
                nodes = [_told(node) for node in each["nodes"][:3]]
                many = f"{each['impact']}, {len(each['nodes'])}"
                self.blame(f"axe {each['id']} ({many}): {'; '.join(nodes)}")

    def _overflow(self) -> int:
        return int(
            self.page.evaluate(
                "() => document.documentElement.scrollWidth - document.documentElement.clientWidth"
            )
        )

    def _pass(self, route: Route, request: Request) -> None:
        """Nothing leaves for another host, and who wanted to is told of."""
        if urlsplit(request.url).netloc == urlsplit(self.site.url).netloc:
            route.continue_()
        else:
            self.blame(f"asks another host: {request.url}")
            route.abort()

    def _console(self, message: ConsoleMessage) -> None:
        own = message.location["url"] == self.page.url and "Failed to load resource" in message.text
        if message.type == "error" and not (own and self._expected >= 400):
            self.blame(f"console: {message.text}")

    def _response(self, response: Response) -> None:
        if response.status >= 400 and not response.request.is_navigation_request():
            self.blame(f"{response.url} answered {response.status}")

    def _failed(self, request: Request) -> None:
        left = request.failure == "net::ERR_ABORTED"  # the page was left while it loaded
        if not left and not request.is_navigation_request():
            self.blame(f"{request.url} failed: {request.failure}")


def _told(node: dict[str, Any]) -> str:
    """Where axe found something, and the first thing it says."""
    said = [*node.get("any", ()), *node.get("all", ()), *node.get("none", ())]
    return (
        f"{' '.join(map(str, node['target']))} ({said[0]['message'] if said else 'nothing said'})"
    )


@contextmanager
def a_window(
    browser: Browser,
    site: Site,
    *,
    scheme: Scheme = "light",
    size: tuple[int, int] = WIDE,
    script: bool = True,
) -> Iterator[Watched]:
    """A fresh visitor: nothing of an earlier one is remembered."""
    width, height = size
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme=scheme,
        java_script_enabled=script,
        reduced_motion="reduce",
    )
    try:
        context.add_init_script(WATCH)
        yield Watched(site, context, context.new_page(), script)
    finally:
        context.close()


def sign_in(window: Watched, name: str | None, secret: str) -> None:
    """By name and password, or by the token printed at start (no name)."""
    page = window.page
    page.goto(f"{window.site.url}/sign-in", wait_until="load")
    if name is not None:
        page.get_by_label("Name").fill(name)
    page.get_by_label("Password" if name is not None else "Token").fill(secret)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/sign-in" not in url)


def pages_of(sequence: str, newest: int, task: str) -> tuple[str, ...]:
    """Every page there is, of one sequence that forgot under its cumulative read."""
    place = f"/sequences/{sequence}"
    version = f"{place}/versions/{newest}"
    return (
        *("/", "/queue", f"/compare?a={sequence}&b={sequence}&read=cumulative", place),
        *(f"{place}?read=cumulative", f"{place}/versions", version),
        *(f"{version}/answers?task={task}&read=cumulative", f"{place}/promotions"),
    )
