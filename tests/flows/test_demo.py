"""The demo, as a newcomer runs it and looks at it: the problem and the cure, as they are measured."""

import json
from pathlib import Path

import pytest

from flows.stage_protocol import read_result
from tests.dashboard.browser.sites import served
from tests.dashboard.browser.watching import (
    NARROW,
    a_window,
    pages_of,
    sign_in,
    the_browser,
)
from tests.flows.conftest import Lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> tuple[Lab, str]:
    """A home where the demo ran, and what it printed."""
    lab = Lab(tmp_path_factory.mktemp("demo"))
    answer = lab.lori("demo", timeout=1200)
    assert answer.returncode == 0, answer.stderr[-2000:]
    return lab, answer.stdout


def matrix(lab: Lab, read: str) -> dict[str, object]:
    return json.loads(lab.lori("matrix", "demo", "--read", read, "--json").stdout)  # type: ignore[no-any-return]


def test_every_adapter_lifts_its_own_task_by_thirty_points(shown: tuple[Lab, str]) -> None:
    rows = matrix(shown[0], "inherited")["rows"]
    for i in range(4):
        base, learned = rows[0]["cells"][i]["value"], rows[i + 1]["cells"][i]["value"]  # type: ignore[index]
        assert learned - base >= 0.30, (i, base, learned)


def test_the_inherited_read_forgets_nothing_and_is_certified(shown: tuple[Lab, str]) -> None:
    summary = matrix(shown[0], "inherited")["summary"]
    assert summary["forgetting"] == 0.0  # type: ignore[index]
    assert summary["backward_transfer"] == 0.0  # type: ignore[index]
    versions = json.loads(shown[0].lori("versions", "demo", "--json").stdout)
    assert [each["certificate"] for each in versions] == ["G2"] * 4


def test_one_plain_lora_learns_as_well_and_loses_what_it_learned(shown: tuple[Lab, str]) -> None:
    lab = shown[0]
    ours = matrix(lab, "inherited")["rows"]
    (folder,) = (lab.home / "stages").glob("baseline-*")
    plain = read_result(folder)["rows"]
    for i in range(4):
        assert plain[i][i]["value"] >= ours[i + 1]["cells"][i]["value"] - 0.02  # type: ignore[index]
    lost = [i for i in range(3) if plain[3][i]["high"] < plain[i][i]["low"] - 0.10]
    assert lost, "a newcomer should see a loss well outside its interval"


def test_it_says_what_is_proved_what_is_measured_and_what_to_do_next(
    shown: tuple[Lab, str],
) -> None:
    said = " ".join(shown[1].split())
    assert "Zero forgetting holds with the task id given, in the reference runtime" in said
    assert "one plain LoRA per task would be zero as well" in said
    assert "safety under topics" in said
    assert said.count("lori ") >= 3


def test_a_second_run_finds_nothing_to_do(shown: tuple[Lab, str]) -> None:
    file = Path(__file__).parents[2] / "examples" / "demo.yaml"
    answer = shown[0].lori("run", file, timeout=15)
    assert answer.returncode == 0
    assert "nothing to do" in answer.stdout


def test_every_page_of_it_is_without_a_fault(shown: tuple[Lab, str]) -> None:
    """Dark and narrow: the same pages of another sequence are looked at in both ways (test_story)."""
    with (
        served(shown[0].home) as site,
        the_browser() as chromium,
        a_window(chromium, site, scheme="dark", size=NARROW) as window,
    ):
        assert site.token is not None
        sign_in(window, None, site.token)
        for path in pages_of("demo", 4, "topics"):
            window.open(path)
            window.look()
    assert not window.found, "\n".join(window.found)
