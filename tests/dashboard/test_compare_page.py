"""Two versions side by side, in a browser without a script."""

import html
import json
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

import pytest
from fastapi import FastAPI
from folder_artifacts import FolderArtifacts
from gating.gate_cases import Lab, N, right
from httpx import Response
from people import Person, add_pages
from statements import counted

from dashboard.app import make_app
from dashboard.pages.compare import tally
from registry.accounts import new_secret
from registry.comparing import compare
from registry.store import Registry, open_registry


@pytest.fixture
def lab(home: Path, tables: None, tmp_path: Path) -> Iterator[Lab]:
    """`assistant` forgot safety and learned math; `other` learned the same two another way."""
    folder = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=folder) as registry:
        lab = Lab(registry, tmp_path / "made")
        for name in ("assistant", "other"):
            lab.declare(sequence=name)
            lab.file(2, sequence=name)
        lab.cell(1, "safety", right(360, N))
        lab.cell(2, "safety", right(300, N), low=0.705, high=0.79)
        lab.cell(2, "math", right(380, N), effective="math")
        lab.cell(
            2,
            "safety",
            right(360, N),
            sequence="other",
            effective="b",
            predictions=None,
            low=0.87,
            high=0.93,
        )
        lab.cell(2, "math", right(380, N), sequence="other", effective="math")
        yield lab


@lru_cache(maxsize=1)
def app_of(registry: Registry) -> FastAPI:
    return add_pages(make_app(registry, token=new_secret(), errands=False))


def get(lab: Lab, query: str) -> Response:
    return Person(app_of(lab.registry)).get(f"/compare{query}")


def words(answer: Response) -> str:
    body = re.sub(r"<(script|style).*?</\1>", " ", answer.text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", body)).split())


def test_nothing_asked_is_an_invitation(lab: Lab) -> None:
    page = get(lab, "")
    assert page.status_code == 200
    assert "Nothing is compared yet" in words(page)
    assert '<option value="assistant">' in page.text


def test_what_was_lost_stands_with_its_interval_and_rows(lab: Lab) -> None:
    page = get(lab, "?a=assistant/1&b=assistant/2")
    assert page.status_code == 200
    said = words(page)
    row = said[said.index("safety 90.0") :]
    assert "90.0" in row
    assert "75.0" in row
    assert "−15.00" in row
    assert "60 fell, 0 rose" in row
    assert "not measured at assistant/1" in said  # math: missing, and not zero
    assert "assistant/2 is better on 0" in said
    assert "worse on 1" in said


def test_same_bits_and_unpaired_are_told_apart_and_nothing_is_proved_of_two_sequences(
    lab: Lab,
) -> None:
    said = words(get(lab, "?a=assistant&b=other"))
    assert "proved equal on 0" in said
    assert "the same bits on 1 which no certificate covers" in said
    assert "unpaired: safety at version 2: its predictions were not kept" in said


def test_the_plot_draws_same_bits_as_neither_proved_nor_measured_and_holds_the_numbers_of_the_table(
    lab: Lab,
) -> None:
    page = get(lab, "?a=assistant&b=other")
    figure = json.loads(re.search(r'<script type="application/json">(.*?)</script>', page.text)[1])  # type: ignore[index]
    drawn = {
        name: (x, trace["name"])
        for trace in figure["data"]
        for x, name in zip(trace["x"], trace["y"], strict=True)
    }
    assert drawn == {"math": (0.0, "same bits"), "safety": (15.0, "measured")}
    assert "'unsafe-inline'" in page.headers["content-security-policy"]
    assert "'unsafe-inline'" not in get(lab, "").headers["content-security-policy"]


@pytest.mark.parametrize(
    ("query", "status", "line"),
    [
        ("?a=assistant&b=nothing", 404, "nothing"),
        ("?a=assistant/7&b=assistant", 404, "assistant/7"),
        ("?a=assistant@champion&b=assistant", 404, "champion"),
        ("?a=assistant&b=<b>x", 400, "x"),
        ("?a=assistant", 400, "expected both"),
        ("?a=assistant&b=other&read=sideways", 400, "read"),
    ],
)
def test_a_name_that_is_none_is_told_beside_the_form_and_kept(
    lab: Lab, query: str, status: int, line: str
) -> None:
    page = get(lab, query)
    assert page.status_code == status
    assert line in words(page)
    assert "<b>x" not in page.text
    if "read=" not in query:
        assert 'name="a" value="assistant' in page.text


def test_sequences_without_a_common_task_say_so(lab: Lab) -> None:
    lab.declare(sequence="apart", tasks=("code",), guards=())
    lab.file(1, sequence="apart")
    lab.cell(1, "code", right(200, N), sequence="apart")
    said = words(get(lab, "?a=assistant&b=apart"))
    assert "They have no task in common" in said
    assert "Not comparable" in said
    assert "undefined no task could be compared" in said


def test_tasks_that_both_know_and_neither_was_measured_on_are_not_called_none(lab: Lab) -> None:
    said = words(get(lab, "?a=assistant/1&b=assistant/2&read=isolated"))
    assert "no task in common" not in said
    assert (
        "2 tasks with one test set in both (safety, math) were measured neither at assistant/1 nor"
        " at assistant/2, under the isolated read: nothing is known of what changed."
    ) in said
    assert "lori evaluate assistant --read isolated" in said
    found = compare(lab.registry, "assistant/1", "assistant/2", "isolated")
    assert (found.common, found.unmeasured, found.differences) == (2, ("safety", "math"), ())


def test_a_version_beside_itself_is_said_to_be_itself_and_one_task_is_not_plural(lab: Lab) -> None:
    said = words(get(lab, "?a=assistant/1&b=assistant/1"))
    assert "Both are assistant/1: it is compared with itself, so nothing can differ." in said
    assert "points over 1 task " in said


def test_the_tally_counts_every_task_once(lab: Lab) -> None:
    found = compare(lab.registry, "assistant", "other")
    told = tally(found.differences)
    assert (told.better, told.worse, told.proved, told.same_bits) == (1, 0, 0, 1)
    assert (told.open, told.not_compared) == (0, 0)


def test_the_twin_says_what_the_page_shows(lab: Lab) -> None:
    twin = Person(app_of(lab.registry)).get("/api/compare?a=assistant&b=other", accept="*/*").json()
    assert [(d["task"], d["how"]) for d in twin["differences"]] == [
        ("safety", "unpaired"),
        ("math", "same_bits"),
    ]
    assert twin["a"]["name"] == "assistant/2"
    refused = Person(app_of(lab.registry)).get("/api/compare?a=assistant&b=none", accept="*/*")
    assert (refused.status_code, set(refused.json())) == (404, {"error"})


def test_the_number_of_queries_does_not_grow_with_tasks_or_sequences(lab: Lab) -> None:
    counts = []
    for many in (2, 60):
        for name in (f"p{many}", f"q{many}"):
            tasks = tuple(f"t{number:02}" for number in range(many))
            lab.declare(tasks=tasks, guards=(), sequence=name)
            lab.file(2, sequence=name)
            for task in tasks:
                lab.cell(2, task, right(30, 60), sequence=name, effective=f"{name}-{task}")
        with counted(lab.registry) as sent:
            page = get(lab, f"?a=p{many}&b=q{many}")
        assert page.status_code == 200
        counts.append(len(sent))
    assert counts[0] == counts[1]
    second = words(get(lab, "?a=p60&b=q60&page=2"))
    assert "51–60 of 60 tasks" in second
