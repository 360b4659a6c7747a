"""How soon a page of a large registry is there, in a real Chromium: `python -m benchmarks.dashboard_speed`

100 tasks in three read modes, then 1,000 versions in 40 sequences (`grown_dashboard`), each served by
`lori dashboard`. Every visit is that of a new visitor: nothing is in the browser's cache, the registry's
own caches are warm. First byte is from the request to the answer's first byte; usable is when the page can
be read and worked with and every plot on the screen or near it is drawn, from the moment it was asked for.
"""

import argparse
import math
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from playwright.sync_api import Browser

from benchmarks.grown_dashboard import SIZES, grow
from benchmarks.results import Result, compared, write_results
from registry.settings import switch_telemetry_off
from tests.dashboard.browser.sites import Site, served
from tests.dashboard.browser.watching import WIDE, a_browser, a_window, chromium_path

VISITS = 20
FIRST = "/sequences/grown-0"


@dataclass(frozen=True)
class Limit:
    """What the median may take, in milliseconds."""

    first_byte: float
    usable: float


LIMITS = {"tasks": Limit(150, 1500), "versions": Limit(300, 2500)}
NAMES = {"tasks": "100 tasks", "versions": "1,000 versions"}
PAGES: Mapping[str, Mapping[str, str]] = {
    "tasks": {
        "sequences": "/",
        "sequence": FIRST,
        "sequence, cumulative": f"{FIRST}?read=cumulative",
        "sequence, far in the table": f"{FIRST}?rows=51&columns=51",
        "versions": f"{FIRST}/versions",
        "version": f"{FIRST}/versions/100",
        "promotions": f"{FIRST}/promotions",
        "compare": "/compare?a=grown-0&b=grown-0&read=cumulative",
        "queue": "/queue",
    },
    "versions": {
        "sequences": "/",
        "sequences, searched": "/?q=grown-1&sort=name",
        "sequence": FIRST,
        "versions": f"{FIRST}/versions",
        "version": f"{FIRST}/versions/25",
        "promotions": f"{FIRST}/promotions",
        "compare": "/compare?a=grown-0&b=grown-1&read=inherited",
        "queue": "/queue",
    },
}

USABLE = """
() => {
  if (document.readyState === "loading") return false;
  const there = [...document.querySelectorAll("[data-plot]")].filter((box) => {
    const place = box.getBoundingClientRect();
    return place.top < innerHeight + 400 && place.bottom > -400;
  });
  return there.every((box) => box.matches(".drawn")) && performance.now();
}
"""
FIRST_BYTE = """
() => {
  const [told] = performance.getEntriesByType("navigation");
  return told.responseStart - told.requestStart;
}
"""


@dataclass(frozen=True)
class Visit:
    """What one visit took, in milliseconds."""

    first_byte: float
    usable: float


def visit(browser: Browser, site: Site, path: str) -> Visit:
    """Open a page as somebody who was never here."""
    with a_window(browser, site, size=WIDE) as window:
        window.page.goto(site.url + path, wait_until="commit")
        usable = window.page.wait_for_function(USABLE, polling="raf", timeout=60_000)
        return Visit(window.page.evaluate(FIRST_BYTE), usable.json_value())


def results(what: str, page: str, visits: Sequence[Visit]) -> list[Result]:
    """Both figures of a page beside their limits."""
    limit, name = LIMITS[what], f"{NAMES[what]}, {page}"
    return [
        _row(f"{name}: first byte", [each.first_byte for each in visits], limit.first_byte),
        _row(f"{name}: usable", [each.usable for each in visits], limit.usable),
    ]


def _row(name: str, times: Sequence[float], limit: float) -> Result:
    p95 = sorted(times)[math.ceil(0.95 * len(times)) - 1]
    return compared(
        name,
        statistics.median(times),
        "ms",
        peer=f"at most {limit:.0f} ms",
        peer_value=limit,
        spread=f"{min(times):.0f} to {max(times):.0f} ms, p95 {p95:.0f} ms, {len(times)} visits",
    )


def main() -> list[Result]:
    """Measure, write benchmarks/results/dashboard_speed.json, return the rows."""
    switch_telemetry_off()
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--visits", type=int, default=VISITS)
    parser.add_argument("--dry", action="store_true", help="print, and write no results")
    given = parser.parse_args()
    path = chromium_path()
    if path is None:
        raise SystemExit("there is no Chromium here: apt-get install chromium")
    rows: list[Result] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lori-speed-")))
        browser = stack.enter_context(a_browser(path))
        for what, pages in PAGES.items():
            home = folder / what / "home"
            grow(home, folder / what / "files", SIZES[what])
            with served(home) as site:
                taken: dict[str, list[Visit]] = {page: [] for page in pages}
                for turn in range(given.visits + 1):  # pages take turns
                    for page, address in pages.items():
                        seen = visit(browser, site, address)
                        if turn:  # the first warms what the registry keeps
                            taken[page].append(seen)
            for page, visits in taken.items():
                rows += results(what, page, visits)
    if not given.dry:
        write_results("dashboard_speed", rows)
    for row in rows:
        over = "  OVER" if row.value > row.peer_value else ""
        print(f"{row.name:50} {row.value:8.0f} ms ({row.peer}; {row.spread}){over}")
    return rows


if __name__ == "__main__":
    main()
