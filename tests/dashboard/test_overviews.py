"""All sequences: what each line says, how it is found, and that no number of them costs more statements."""

import html
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_cases import Browser
from arrival_cases import arrive
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from people import Person
from scored_cases import Learned
from statements import statements

from dashboard.app import make_app
from lori_core.intervals import paired_change
from registry.accounts import new_secret
from registry.arrivals import Arrivals
from registry.decisions import Actor
from registry.overviews import OverviewPage, SequenceOverview, overviews
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry

OWNER = Actor(name="os:root", role="admin", account=False)


@pytest.fixture
def bare(home: Path, tables: None, tmp_path: Path) -> Iterator[Registry]:
    folder = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        yield registry


def learned(
    registry: Registry, root: Path, name: str, tasks: int = 3, read: str = "inherited"
) -> Learned:
    made = Learned(
        registry=registry, root=root / "f", name=name, read=read,
        tasks=tuple(f"t{number}" for number in range(1, tasks + 1)),
    ).declare()  # fmt: skip
    made.level = "G2" if read == "inherited" else "G1"
    return made


def proved(registry: Registry, root: Path, name: str, tasks: int = 3) -> Learned:
    return learned(registry, root, name, tasks).proved(tasks)


def falling(registry: Registry, root: Path, name: str, tasks: int = 3, step: int = 10) -> Learned:
    made = learned(registry, root, name, tasks, "cumulative").falling(tasks, step=step)
    for version in range(1, tasks + 1):
        made.file(version)
    return made


def person(registry: Registry) -> Person:
    return Person(make_app(registry, token=new_secret(), errands=False))


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page)).split())


def line(page: OverviewPage, name: str) -> SequenceOverview:
    return next(row for row in page.rows if row.name == name)


def test_what_is_proved_and_what_is_measured_are_told_apart(bare: Registry, tmp_path: Path) -> None:
    proved(bare, tmp_path, "sure")
    falling(bare, tmp_path, "seen")
    page = overviews(bare)
    sure, seen = line(page, "sure").worst_forgetting, line(page, "seen").worst_forgetting
    assert sure is not None
    assert seen is not None
    assert sure.proved
    assert (sure.value, sure.low, sure.high, sure.basis) == (0.0, 0.0, 0.0, "proved")
    before, after = ([1] * 90 + [0] * 10), ([1] * 70 + [0] * 30)
    reference = paired_change(after, before)  # as a loss: from now back to the best
    assert (seen.task, seen.n, seen.basis, seen.proved) == ("t1", 100, "paired", False)
    assert seen.value == pytest.approx(0.2)
    assert seen.low == pytest.approx(reference.low, abs=0.01)
    assert seen.high == pytest.approx(reference.high, abs=0.01)
    shown = words(person(bare).get("/").text)
    assert "proved 0" in shown
    assert "+20.00" in shown


def test_the_worst_of_a_line_is_that_of_the_sequences_own_page(
    bare: Registry, tmp_path: Path
) -> None:
    falling(bare, tmp_path, "seen", tasks=4)
    mine = line(overviews(bare), "seen").worst_forgetting
    theirs = next(each for each in sequence_view(bare, "seen").reads if each.trained).worst
    assert mine is not None
    assert theirs is not None
    assert (mine.task, mine.value, mine.low, mine.high) == (
        theirs.task,
        theirs.change.value,
        theirs.change.low,
        theirs.change.high,
    )


def test_a_digest_that_differs_is_measured_whatever_the_certificate_says(
    bare: Registry, tmp_path: Path
) -> None:
    made = proved(bare, tmp_path, "s")
    made.score(3, "t1", 80)  # measured anew, under another function
    worst = line(overviews(bare), "s").worst_forgetting
    assert worst is not None
    assert not worst.proved
    assert (worst.task, worst.value) == ("t1", pytest.approx(0.1))


def test_equal_digests_without_a_certificate_have_an_interval(
    bare: Registry, tmp_path: Path
) -> None:
    made = learned(bare, tmp_path, "s")
    made.level = "G0"
    made.proved(3)
    worst = line(overviews(bare), "s").worst_forgetting
    assert worst is not None
    assert not worst.proved
    assert worst.low < worst.value == 0.0 < worst.high


def test_what_was_not_measured_is_said_to_be_missing_and_never_zero(
    bare: Registry, tmp_path: Path
) -> None:
    made = learned(bare, tmp_path, "s")
    made.file(1)
    made.file(2)
    found = line(overviews(bare), "s")
    assert found.missing
    assert found.worst_forgetting is None
    assert "not measured" in words(person(bare).get("/").text)


def test_nothing_can_be_forgotten_before_a_second_task(bare: Registry, tmp_path: Path) -> None:
    proved(bare, tmp_path, "s", tasks=1)
    found = line(overviews(bare), "s")
    assert found.worst_forgetting is None
    assert not found.missing
    assert "nothing before" in words(person(bare).get("/").text)


def test_lines_are_found_by_a_part_of_the_name_and_nothing_else(
    bare: Registry, tmp_path: Path
) -> None:
    for name in ("alpha", "beta", "al_ha"):
        proved(bare, tmp_path, name, tasks=1)
    assert {row.name for row in overviews(bare, q="al").rows} == {"alpha", "al_ha"}
    assert {row.name for row in overviews(bare, q="l_h").rows} == {"al_ha"}
    assert overviews(bare, q="%").total == 0
    shown = words(person(bare).get("/", {"q": "<script>"}).text)
    assert "No sequence of that name" in shown


def test_lines_are_put_in_the_order_asked_for(bare: Registry, tmp_path: Path) -> None:
    falling(bare, tmp_path, "b", tasks=2, step=30)
    proved(bare, tmp_path, "c", tasks=3)
    proved(bare, tmp_path, "a", tasks=1)
    falling(bare, tmp_path, "d", tasks=2, step=10)

    def names(sort: str) -> list[str]:
        return [row.name for row in overviews(bare, sort=sort).rows]  # type: ignore[arg-type]

    assert names("name") == ["a", "b", "c", "d"]
    assert names("activity") == ["d", "a", "c", "b"]
    assert names("versions") == ["c", "b", "d", "a"]
    assert names("forgetting") == ["b", "d", "c", "a"]  # what is not known comes last


def test_pages_hold_every_line_once(bare: Registry, tmp_path: Path) -> None:
    for number in range(7):
        learned(bare, tmp_path, f"s{number}")
    pages = [overviews(bare, sort="name", page=page, size=3) for page in (1, 2, 3, 4)]
    assert [len(page.rows) for page in pages] == [3, 3, 1, 0]
    assert [row.name for page in pages for row in page.rows] == [f"s{n}" for n in range(7)]
    assert {page.total for page in pages} == {7}


def test_the_queue_is_counted_and_what_has_not_begun_is_beside(
    bare: Registry, tmp_path: Path
) -> None:
    proved(bare, tmp_path, "known", tasks=1)
    queue = Arrivals(bare)
    arrive(queue, "more", sequence="known")
    arrive(queue, "first", sequence="fresh")
    page = overviews(bare)
    assert (line(page, "known").waiting, line(page, "known").running) == (1, 0)
    assert [(each.name, each.waiting) for each in page.arriving] == [("fresh", 1)]
    assert "fresh" in words(person(bare).get("/").text)


def test_a_fresh_registry_says_what_to_do(bare: Registry) -> None:
    shown = person(bare).get("/")
    assert shown.status_code == 200
    assert "lori run" in words(shown.text)


def test_a_name_that_is_markup_is_text(bare: Registry) -> None:
    shown = person(bare).get("/", {"q": '"><img src=x onerror=alert(1)>'}).text
    assert "<img src=x" not in shown


def test_the_number_of_statements_does_not_grow_with_the_sequences(
    bare: Registry, tmp_path: Path
) -> None:
    def counted() -> list[int]:
        numbers = []
        for sort in ("activity", "forgetting"):
            with statements(bare) as count:
                overviews(bare, sort=sort)  # type: ignore[arg-type]
            numbers.append(count.number)
        return numbers

    proved(bare, tmp_path, "p0", tasks=2)
    falling(bare, tmp_path, "f0", tasks=2)
    few = counted()
    for number in range(1, 6):
        proved(bare, tmp_path, f"p{number}", tasks=3)
        falling(bare, tmp_path, f"f{number}", tasks=4)
    assert counted() == few


def test_the_twin_says_the_same(bare: Registry, tmp_path: Path) -> None:
    proved(bare, tmp_path, "sure")
    falling(bare, tmp_path, "seen")
    with Browser(bare, new_secret()) as browser:
        found = browser.get("/api/overviews", sort="name").json
        assert browser.get("/api/overviews", sort="sideways").status == 400
        assert browser.get("/api/overviews", page="0").status == 400
    assert [row["name"] for row in found["rows"]] == ["seen", "sure"]
    assert found["rows"][1]["worst_forgetting"]["proved"] is True
    assert found["rows"][0]["worst_forgetting"]["basis"] == "paired"


def test_reading_pages_loads_neither_torch_nor_mlflow_nor_prefect(home: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from fastapi.testclient import TestClient\n"
        "from dashboard.app import make_app\n"
        "from registry.store import open_registry\n"
        f"with open_registry(Path({str(home)!r})) as registry:\n"
        "    app = make_app(registry, token='x' * 43, errands=False)\n"
        "    client = TestClient(app, base_url='http://127.0.0.1:8321')\n"
        "    assert client.get('/').status_code == 200\n"
        "print([name for name in ('torch', 'mlflow', 'prefect') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
