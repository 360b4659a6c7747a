"""What the tests in a real browser share: the browser of this machine, and homes to look at."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from benchmarks.grown_dashboard import SIZES, grow
from tests.dashboard.browser.sites import Site, served
from tests.dashboard.browser.watching import the_browser


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """One browser for a file: playwright's loop must not outlive it."""
    with the_browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def many_tasks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """100 tasks in three read modes, in one sequence; nobody has an account."""
    with served(grown(tmp_path_factory.mktemp("tasks"), "tasks")) as site:
        yield site


@pytest.fixture(scope="module")
def many_versions(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """1,000 versions in 40 sequences."""
    with served(grown(tmp_path_factory.mktemp("versions"), "versions")) as site:
        yield site


def grown(folder: Path, what: str) -> Path:
    grow(folder / "home", folder / "files", SIZES[what])
    return folder / "home"
