"""The page of a sequence: what a newcomer reads first, the tables beneath, and what it costs."""

import csv
import html
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest
from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts
from people import Person
from scored_cases import Learned
from sqlalchemy import update
from statements import statements

from dashboard.app import make_app
from dashboard.figures import matrix_json
from dashboard.pages.words import percent, points
from lori_core.intervals import paired_change, wilson
from registry.accounts import new_secret
from registry.decisions import Actor
from registry.desk import Desk
from registry.models import Evaluation
from registry.score_changes import NotComparable
from registry.sequence_records import Loss, SequenceView, TaskLine
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry

OWNER = Actor(name="os:root", role="admin", account=False)
PAGE = "/sequences/s"


@pytest.fixture
def bare(home: Path, tables: None, tmp_path: Path) -> Iterator[Registry]:
    folder = FolderArtifacts(tmp_path / "store")
    with open_registry(home, artifacts=folder, aliases=FakeAliases()) as registry:
        yield registry


@pytest.fixture
def both(bare: Registry, tmp_path: Path) -> Learned:
    """Three tasks, proved as they serve, falling under the cumulative read, with a guard."""
    made = Learned(
        registry=bare, root=tmp_path / "f", name="s", tasks=("safety", "b", "c"), guards=("safety",)
    ).declare()
    made.proved(3).falling(3, read="cumulative")
    made.score(2, "safety", 55, under="b")
    made.score(3, "safety", 55, under="b")
    made.score(3, "safety", 40, under="c")
    return made


def page(registry: Registry, path: str = PAGE, **query: str) -> str:
    person = Person(make_app(registry, token=new_secret(), errands=False))
    answer = person.get(path, query)
    assert answer.status_code == 200, answer.text
    return str(answer.text)


def words(text: str) -> str:
    plain = re.sub(r"<script[^>]*>.*?</script>", " ", text, flags=re.S)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", plain)).split())


def rows_of(text: str, table: str) -> list[list[str]]:
    found = re.search(rf'<table[^>]* id="{table}".*?</table>', text, re.S)
    assert found is not None
    lines = re.findall(r"<tr[^>]*>(.*?)</tr>", found.group(0), re.S)
    return [[words(c) for c in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", x, re.S)] for x in lines]


def loss(view: SequenceView, task: str) -> Loss:
    found = line(view, task).lost
    assert found is not None
    return found


def line(view: SequenceView, task: str) -> TaskLine:
    return next(each for each in view.tasks if each.task == task)


def test_the_first_words_say_what_is_known_what_was_lost_and_how_that_is_known(
    both: Learned,
) -> None:
    shown = words(page(both.registry))
    first = shown[: shown.index("What each version scores")]
    assert "Knows 3 tasks: safety, b and c." in first
    assert "proved Nothing was forgotten" in first
    assert "Zero forgetting holds with the task id given, in the reference runtime" in first
    assert "measured Under the cumulative read" in first
    assert "most was lost by safety: 20.0 points" in first
    assert (
        "It is the largest of 2 earlier tasks, against the best of 2 versions: the interval is not"
        " corrected for having been chosen."
    ) in first
    assert "Guard safety scores 40.0 [30.9, 49.8], n 100, under the adapter that serves c" in first
    assert "nothing was ever promoted" in first
    assert "not judged" in first


def test_a_loss_whose_interval_holds_zero_is_not_told_as_a_loss(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b", "c")).declare()
    made.level = "G0"
    for version, rights in enumerate(((8,), (8, 9), (7, 9, 9)), start=1):
        made.file(version)
        for task, right in zip("abc", rights, strict=False):
            made.score(version, task, right, of=10)
    first = words(page(bare)).split("What each version scores")[0]
    assert "No loss is shown at this n: the largest seen, of a, is 10.0 points" in first
    assert "and its interval holds zero" in first
    assert "Most was lost" not in first
    assert "not corrected for having been chosen" in first


def test_the_cells_that_are_counted_are_said_and_a_change_that_is_undefined_was_measured(
    both: Learned,
) -> None:
    shown = words(page(both.registry))
    assert "11 cells measured: 8 of versions, 3 of the bare base" in shown
    changes = page(both.registry, map="change")
    assert "no change is defined (the bare base" in words(changes)
    assert "<br>no change is defined" in html.unescape(changes).replace("\\u003c", "<").replace(
        "\\u003e", ">"
    )


def test_the_first_words_stay_when_another_read_mode_is_shown(both: Learned) -> None:
    first = words(page(both.registry)).split("What each version scores")[0]
    other = words(page(both.registry, read="cumulative")).split("What each version scores")[0]
    assert other == first


def test_a_proved_zero_has_no_interval_and_a_measured_one_has(both: Learned) -> None:
    sure = loss(sequence_view(both.registry, "s"), "safety").change
    seen = loss(sequence_view(both.registry, "s", "cumulative"), "safety").change
    assert (sure.value, sure.low, sure.high, sure.basis) == (0.0, 0.0, 0.0, "proved")
    reference = paired_change([1] * 70 + [0] * 30, [1] * 90 + [0] * 10)
    assert seen.basis == "paired"
    assert seen.value == pytest.approx(reference.value)
    assert (seen.low, seen.high) == pytest.approx((reference.low, reference.high), abs=0.005)
    proved = rows_of(page(both.registry), "task-lines")[1]
    assert "0.00 proved" in proved
    assert "proved" in proved
    measured = rows_of(page(both.registry, read="cumulative"), "task-lines")[1]
    assert any(each.startswith("+20.00 [") for each in measured)
    assert any(each.startswith("measured") for each in measured)


def test_a_task_without_a_later_one_has_lost_nothing_that_is_known(both: Learned) -> None:
    view = sequence_view(both.registry, "s")
    assert line(view, "c").lost is None
    assert "newest" in " ".join(rows_of(page(both.registry), "task-lines")[3])


def test_rows_that_cannot_be_compared_are_said_not_to_be_paired(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(
        registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b"), read="cumulative",
        level="G1",
    ).declare()  # fmt: skip
    made.score(1, "a", 90, kept=False)
    made.score(2, "a", 60)
    made.file(1)
    made.file(2)
    change = loss(sequence_view(bare, "s"), "a").change
    before, after = wilson(90, 100), wilson(60, 100)
    assert change.basis == "unpaired"
    assert change.why is not None
    assert "predictions were not kept" in change.why
    assert change.value == pytest.approx(0.3)
    below = ((before.value - before.low) ** 2 + (after.high - after.value) ** 2) ** 0.5
    assert change.low == pytest.approx(0.3 - below)
    assert "not paired" in words(page(bare))


def test_gains_are_from_the_base_and_ahead_is_from_the_tasks_before(both: Learned) -> None:
    b = line(sequence_view(both.registry, "s"), "b")
    assert b.gain is not None
    assert b.ahead is not None
    assert b.gain.value == pytest.approx(0.8)
    assert b.ahead.value == pytest.approx(0.05)
    assert line(sequence_view(both.registry, "s"), "safety").ahead is None


def test_the_table_has_the_numbers_of_the_matrix_with_intervals_and_rows(both: Learned) -> None:
    rows = rows_of(page(both.registry, read="cumulative"), "scores")
    assert rows[0] == ["after", "safety", "b", "c"]
    interval = wilson(70, 100)
    told = f"70.0 [{100 * interval.low:.1f}, {100 * interval.high:.1f}] n 100"
    assert rows[4][:2] == ["3 c", told]
    assert rows[2][2] == "–"
    assert rows[1][0] == "bare base"


def test_what_is_proved_to_be_the_same_function_is_marked_in_the_table(both: Learned) -> None:
    rows = rows_of(page(both.registry), "scores")
    assert rows[4][1].endswith("proved")
    assert not rows[2][1].endswith("proved")  # where it was learned, it is the reference itself
    assert 'class="diagonal"' in page(both.registry)


def test_a_read_mode_that_was_never_evaluated_says_how_it_is(both: Learned) -> None:
    shown = words(page(both.registry, read="isolated"))
    assert "Nothing was measured under the isolated read" in shown
    assert "lori evaluate s --read isolated" in shown


def test_guards_are_shown_under_every_adapter_that_serves(both: Learned) -> None:
    rows = rows_of(page(both.registry), "guard-lines")
    assert [row[0] for row in rows] == ["adapter of", "bare base", "1 safety", "2 b", "3 c"]
    assert [row[1][:4] for row in rows[1:]] == ["10.0", "90.0", "55.0", "40.0"]
    cumulative = sequence_view(both.registry, "s", "cumulative").guards
    assert cumulative is not None
    assert {row.cells[0].value for row in cumulative.rows if row.cells[0]} == {0.7}


def test_a_guard_that_was_not_measured_has_no_number(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("g", "b"), guards=("g",))
    made.declare().proved(2)
    assert rows_of(page(bare), "guard-lines")[3] == ["2 b", "–"]


def test_what_serves_and_what_the_gate_said_are_on_the_first_screen(both: Learned) -> None:
    report = Desk(both.registry, OWNER).gate("s", 3)
    view = sequence_view(both.registry, "s")
    assert view.gate is not None
    assert (view.gate.version, view.gate.ok) == (3, report.ok)
    shown = words(page(both.registry)).split("What each version scores")[0]
    assert "gate refused" in shown  # the files of these cases are none that certify anything
    assert all(why in shown for _, _, why in view.gate.refusing)


def test_means_are_shown_with_their_intervals(both: Learned) -> None:
    shown = words(page(both.registry, read="cumulative").partition('id="reads"')[2])
    view = sequence_view(both.registry, "s", "cumulative")
    cumulative = next(each for each in view.reads if each.read == "cumulative")
    for mean, write in ((cumulative.forgetting, points), (cumulative.average, percent)):
        assert mean is not None
        value, low, high = write(mean.value), write(mean.low), write(mean.high)
        assert f"{value} [{low}, {high}] {mean.terms} tasks" in shown


def test_separate_adapters_are_said_to_share_nothing(bare: Registry, tmp_path: Path) -> None:
    Learned(
        registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b"), protection="separate",
        read="isolated",
    ).declare().proved(2)  # fmt: skip
    assert "each task has an adapter, and a B, of its own" in words(page(bare))


def test_a_single_task_reference_shows_how_far_behind_a_task_stays(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b"), data="same")
    made.declare().proved(2)
    alone = Learned(registry=bare, root=tmp_path / "f", name="alone", tasks=("b",), data="same")
    alone.declare()
    alone.score(1, "b", 97)
    alone.file(1)
    gap = line(sequence_view(bare, "s"), "b").gap
    assert gap is not None
    assert (gap.sequence, gap.version, gap.alone.value) == ("alone", 1, 0.97)
    assert gap.change.value == pytest.approx(-0.07)
    assert gap.change.basis == "paired"
    assert line(sequence_view(bare, "s"), "a").gap is None
    assert "−7.00" in words(page(bare))


def test_the_whole_matrix_comes_as_json_as_the_command_prints_it(both: Learned) -> None:
    for read in ("inherited", "cumulative"):
        answer = json.loads(page(both.registry, f"{PAGE}/matrix.json", read=read))
        reference = json.loads(json.dumps(matrix_json(both.registry.matrix_cells("s", read))))
        assert answer == reference


def test_the_whole_matrix_comes_as_csv_with_every_place(both: Learned) -> None:
    text = page(both.registry, f"{PAGE}/matrix.csv", read="cumulative")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert len(rows) == 4 * 3
    last = next(row for row in rows if (row["version"], row["task"]) == ("3", "safety"))
    assert (last["value"], last["n"], last["kind"], last["learned"]) == (
        "0.7",
        "100",
        "measured",
        "c",
    )
    hole = next(row for row in rows if (row["version"], row["task"]) == ("1", "c"))
    assert (hole["value"], hole["low"], hole["n"], hole["kind"]) == ("", "", "", "unasked")


def test_the_window_is_moved_by_links(bare: Registry, tmp_path: Path) -> None:
    names = tuple(f"t{number}" for number in range(1, 31))
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=names, read="cumulative")
    made.declare()
    for number, task in enumerate(names, start=1):
        made.score(number, task, 50)
    shown = page(bare)
    assert rows_of(shown, "scores")[0][1:] == list(names[5:])  # the newest are in it
    assert "versions 6–30 of 30, tasks 6–30 of 30" in words(shown)
    link = re.search(r'<a href="([^"]+)">Earlier tasks</a>', shown)
    assert link is not None
    query = dict(parse_qsl(urlsplit(html.unescape(link.group(1))).query))
    earlier = page(bare, **query)
    assert rows_of(earlier, "scores")[0][1:] == list(names[:25])


def test_a_sequence_of_which_nothing_is_learned_yet_has_a_page(bare: Registry) -> None:
    Learned(registry=bare, root=Path(), name="s", tasks=("a", "b")).declare()
    shown = words(page(bare))
    assert "Nothing is learned yet of its 2 declared tasks." in shown
    assert "0.00" not in shown


def test_a_sequence_without_a_name_here_is_not_found(bare: Registry) -> None:
    person = Person(make_app(bare, token=new_secret(), errands=False))
    assert person.get("/sequences/none").status_code == 404
    assert person.get(f"{PAGE}/matrix.csv", {"read": "inherited"}).status_code == 404
    for query in ({"read": "sideways"}, {"rows": "0"}, {"columns": "-1"}, {"map": "3d"}):
        assert person.get(PAGE, query).status_code in {400, 404}


def test_the_twin_holds_what_the_page_shows(both: Learned) -> None:
    found = json.loads(page(both.registry, "/api/sequences/s/overview", read="cumulative"))
    assert found["read"] == "cumulative"
    assert [each["all_proved"] for each in found["reads"]] == [False, True, False]
    assert found["tasks"][0]["lost"]["change"]["basis"] == "paired"
    assert found["matrix"]["lines"][3]["cells"][0]["score"]["n"] == 100
    assert found["guards"]["rows"][2]["cells"][0]["value"] == pytest.approx(0.7)


@pytest.mark.parametrize("read", ["inherited", "cumulative"])
def test_the_number_of_statements_does_not_grow_with_the_tasks(
    bare: Registry, tmp_path: Path, read: str
) -> None:
    def counted(name: str) -> int:
        with statements(bare) as count:
            sequence_view(bare, name, read)  # type: ignore[arg-type]
        return count.number

    counts = []
    for size in (3, 12):
        names = tuple(f"t{number}" for number in range(1, size + 1))
        made = Learned(
            registry=bare, root=tmp_path / "f", name=f"s{size}", tasks=names, guards=("t1",),
            data="same",
        ).declare()  # fmt: skip
        made.proved(size).falling(size, read="cumulative", step=1)
        for number in range(2, size + 1):
            made.score(size, "t1", 40, under=f"t{number}")
            alone = Learned(
                registry=bare, root=tmp_path / "f", name=f"alone-{size}-{number}",
                tasks=(f"t{number}",), data="same",
            ).declare()  # fmt: skip
            alone.score(1, f"t{number}", 95)
        counts.append(counted(made.name))
    assert counts[0] == counts[1]
    assert counts[1] <= 32


def test_a_page_that_is_looked_at_again_reads_no_cell_twice(both: Learned) -> None:
    with statements(both.registry) as first:
        sequence_view(both.registry, "s", "cumulative")
    with statements(both.registry) as again:
        sequence_view(both.registry, "s", "cumulative")
    assert again.number < first.number


def test_what_is_not_measured_beside_what_is_proved_is_never_a_measured_zero(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b", "c")).declare()
    for version in (1, 2, 3):
        made.score(version, "a", 90, function="a")
        made.file(version)
    made.score(3, "c", 90)
    told = "1 of 2 earlier tasks proved, 1 not measured"
    shown = words(page(bare))
    assert told in shown
    assert "measured 0.0" not in shown
    assert told in words(page(bare, "/"))


def test_a_row_that_is_not_filed_says_so_and_links_nowhere(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b")).declare()
    made.proved(1)
    made.score(2, "a", 50)
    body = page(bare)
    assert "2 b not filed" in words(body)
    assert "/sequences/s/versions/1" in body
    assert "/sequences/s/versions/2" not in body


def test_scores_by_another_metric_have_no_difference(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b")).declare()
    made.falling(2)
    made.file(1)
    made.file(2)
    with bare._database.writing() as session:
        session.execute(
            update(Evaluation).where(Evaluation.version == 2).values(metric_version="2")
        )
    lost = loss(sequence_view(bare, "s"), "a").change
    assert lost == NotComparable(why="scored by different metrics, or versions of one")
    cells = rows_of(page(bare), "task-lines")[1]
    assert any("not comparable" in each for each in cells)
