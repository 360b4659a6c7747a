"""An open page follows a task that really trains on a worker."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, expect

from tests.dashboard.browser.sites import served
from tests.dashboard.browser.watching import a_window
from tests.flows.crew import TRAINER, a_crew, wait_until
from tests.flows.tiny import write_sequence

pytestmark = pytest.mark.slow

LONG = 3000
"""Epochs: minutes of training, of which the test sees the first."""


def test_progress_moves_on_an_open_page_while_a_task_trains(
    chromium: Browser, tmp_path: Path, prefect_store: Path
) -> None:
    file = write_sequence(tmp_path, ("color",))
    file.write_text(file.read_text().replace("num_train_epochs: 4", f"num_train_epochs: {LONG}"))
    with a_crew(tmp_path, prefect_store) as crew:
        crew.worker("worker", TRAINER)
        sent = subprocess.run(
            [sys.executable, "-m", "flows.cli", "submit", str(file)],
            env=crew.environment,
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert sent.returncode == 0, sent.stderr
        with served(crew.home) as site, a_window(chromium, site) as window:
            page = window.open("/queue")
            page.evaluate("() => { window.sameDocument = true; }")
            seen: list[tuple[str, int]] = []

            def moved() -> bool:
                now = progress(page)
                if now is not None and now not in seen:
                    seen.append(now)
                stages = {stage for stage, _ in seen}
                return any([stage for stage, _ in seen].count(each) >= 3 for each in stages)

            wait_until(moved, 180, crew.said)
            assert page.evaluate("() => window.sameDocument === true"), "the page was loaded anew"
            for each in {stage for stage, _ in seen}:
                steps = [done for stage, done in seen if stage == each]
                assert steps == sorted(steps), f"{each} went back: {steps}"
            window.look()
        assert not window.found, "\n".join(window.found)


def test_an_open_page_says_that_it_is_not_live_while_its_server_is_killed(
    chromium: Browser, tmp_path: Path
) -> None:
    home = tmp_path / ".lori"
    with served(home) as site, a_window(chromium, site) as window:
        page = window.open("/queue")
        state = page.locator("[data-live-state]")
        expect(state).to_have_text("live", timeout=10_000)
        os.kill(site.pid, signal.SIGKILL)
        expect(state).to_contain_text("not live", timeout=20_000)
        with served(home, port=urlsplit(site.url).port or 0):
            expect(state).to_have_text("live", timeout=30_000)


def progress(page: Page) -> tuple[str, int] | None:
    """The stage that the page shows, and how many steps of it are done."""
    found: tuple[str, int] | None = page.evaluate(
        """() => {
          const bar = document.querySelector("progress[value]");
          return bar && [bar.getAttribute("aria-label"), bar.value];
        }"""
    )
    return None if found is None else (found[0], found[1])
