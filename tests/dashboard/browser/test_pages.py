"""Every page on two large registries: nothing refused, nothing broken, nothing asked elsewhere."""

from collections.abc import Sequence

import pytest
from playwright.sync_api import Browser

from tests.dashboard.browser.sites import Site
from tests.dashboard.browser.watching import NARROW, WIDE, Scheme, a_window, sign_in

pytestmark = pytest.mark.slow

FIRST = "/sequences/grown-0"
EVERYWHERE = ("/", "/queue", "/compare", "/sign-in")
TASKS = (
    *(f"{FIRST}", f"{FIRST}?read=cumulative&rows=51&columns=26", f"{FIRST}?read=isolated"),
    *(f"{FIRST}/versions", f"{FIRST}/versions/100", f"{FIRST}/versions/1"),
    *(f"{FIRST}/promotions", "/compare?a=grown-0&b=grown-0&read=inherited"),
)
LARGEST = (FIRST, f"{FIRST}/versions/100", "/compare?a=grown-0&b=grown-0&read=inherited")
LAST = "/sequences/grown-39"
VERSIONS = (
    *("/?page=2", "/?q=grown-1", "/?sort=name"),
    *(LAST, f"{LAST}/versions", f"{LAST}/versions/25", f"{LAST}/promotions", f"{FIRST}/promotions"),
    "/compare?a=grown-0&b=grown-1&read=inherited",
)


def test_every_page_of_many_tasks_is_without_a_fault(chromium: Browser, many_tasks: Site) -> None:
    _look(chromium, many_tasks, [*EVERYWHERE, *TASKS], "light", WIDE)


def test_every_page_of_many_versions_is_without_a_fault(
    chromium: Browser, many_versions: Site
) -> None:
    _look(chromium, many_versions, ["/", "/queue", *VERSIONS], "light", WIDE)


def test_a_page_of_each_kind_is_without_a_fault_in_the_dark_and_narrow(
    chromium: Browser, many_tasks: Site, many_versions: Site
) -> None:
    _look(chromium, many_tasks, ["/queue", "/sign-in", *LARGEST], "dark", NARROW)
    _look(chromium, many_versions, ["/", f"{LAST}/versions", f"{LAST}/promotions"], "dark", NARROW)


def test_who_may_write_sees_no_fault_either(chromium: Browser, many_versions: Site) -> None:
    token = many_versions.token
    assert token is not None
    with a_window(chromium, many_versions) as window:
        sign_in(window, None, token)
        for path in (LAST, f"{LAST}/promotions", "/queue"):
            window.open(path)
            window.look()
        answers = f"{LAST}/versions/25/answers?task=task-1"
        window.open(answers)
        window.look()
    assert not window.found, "\n".join(window.found)


def test_what_is_not_there_is_said_on_a_page(chromium: Browser, many_tasks: Site) -> None:
    with a_window(chromium, many_tasks) as window:
        for path in ("/sequences/nobody", f"{FIRST}/versions/4000", "/nowhere"):
            page = window.open(path, status=404)
            window.look()
            assert page.get_by_role("main").is_visible()
            assert "Traceback" not in page.content()
    assert not window.found, "\n".join(window.found)


def _look(
    browser: Browser, site: Site, paths: Sequence[str], scheme: Scheme, size: tuple[int, int]
) -> None:
    with a_window(browser, site, scheme=scheme, size=size) as window:
        for path in paths:
            window.open(path)
            window.look()
    assert not window.found, "\n".join(window.found)
