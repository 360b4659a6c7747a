"""Two versions on the same tasks: proved, paired, unpaired, or not compared, each said to be so."""

import math
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from gating.gate_cases import Lab, N, right
from hypothesis import given
from hypothesis import strategies as st
from statements import counted

from lori_core.digests import sha256_json
from lori_core.errors import BadInput, NotFound
from lori_core.intervals import paired_change, wilson
from registry.comparing import Comparison, Difference, Found, compare, difference
from registry.gating.cells import Measured
from registry.store import open_registry


@pytest.fixture
def lab(home: Path, tables: None, folder: FolderArtifacts, tmp_path: Path) -> Iterator[Lab]:
    with open_registry(home, artifacts=folder) as registry:
        yield Lab(registry, tmp_path / "made")


def two_sequences(lab: Lab) -> None:
    """`assistant` and `other` learn safety and math; `other` does math better, safety worse."""
    for name in ("assistant", "other"):
        lab.declare(sequence=name)
        lab.file(2, sequence=name)
    lab.cell(2, "safety", right(360, N), effective="a")
    lab.cell(2, "math", right(300, N), effective="a2")
    lab.cell(2, "safety", right(300, N), effective="b", sequence="other")
    lab.cell(2, "math", right(380, N), effective="b2", sequence="other")


def of(comparison: Comparison, task: str) -> Difference:
    (found,) = (each for each in comparison.differences if each.task == task)
    return found


def test_rows_are_compared_one_by_one_where_both_predictions_were_kept(lab: Lab) -> None:
    two_sequences(lab)
    found = compare(lab.registry, "assistant", "other")
    math_, safety = of(found, "math"), of(found, "safety")
    assert (math_.how, safety.how) == ("paired", "paired")
    assert math_.change is not None
    assert safety.change is not None
    assert math_.change.value == pytest.approx(80 / 400)
    assert (math_.rose, math_.fell, math_.change.n) == (80, 0, 400)
    assert safety.change.value == pytest.approx(-60 / 400)
    assert math_.change.low > 0 > safety.change.high


def test_to_compare_the_other_way_round_mirrors_every_figure(lab: Lab) -> None:
    two_sequences(lab)
    there, back = (
        compare(lab.registry, *names) for names in (("assistant", "other"), ("other", "assistant"))
    )
    for task in ("safety", "math"):
        one, other = of(there, task).change, of(back, task).change
        assert one is not None
        assert other is not None
        assert one.value == pytest.approx(-other.value)
        # the bootstrap draws anew: the bounds agree to a resample or two
        assert (one.low, one.high) == pytest.approx((-other.high, -other.low), abs=0.005)


def test_a_paired_interval_of_no_change_is_the_rule_of_three(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(1, "safety", right(360, N), effective="a")
    lab.cell(2, "safety", right(360, N), effective="b")
    change = of(compare(lab.registry, "assistant/1", "assistant/2"), "safety").change
    assert change is not None
    assert change.value == 0
    assert change.high == -change.low == pytest.approx(3 / N, rel=0.01)


def test_the_same_bits_are_proved_equal_and_no_file_is_opened(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    first = lab.cell(1, "safety", right(360, N), effective="a")
    lab.cell(2, "safety", right(360, N), effective="a")
    (lab.registry.settings.home / str(first.predictions)).unlink()
    found = of(compare(lab.registry, "assistant/1", "assistant/2"), "safety")
    assert found.how == "proved"
    assert found.change is not None
    assert (found.change.value, found.change.low, found.change.high) == (0, 0, 0)


def test_the_same_bits_under_another_read_are_not_proved_equal(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    for version in (1, 2):
        lab.cell(version, "safety", right(360, N), effective="a", read="isolated")
    found = of(compare(lab.registry, "assistant/1", "assistant/2", "isolated"), "safety")
    assert found.how == "same_bits"
    assert found.change is not None
    seen = paired_change([1] * N, [1] * N)
    assert (found.change.low, found.change.high) == (seen.low, seen.high)
    assert "no certificate covers" in found.why


def test_scores_of_the_same_bits_that_differ_are_said_to_be_measured_apart(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(1, "safety", right(360, N), effective="a")
    lab.cell(2, "safety", right(170, 200), effective="a")
    found = of(compare(lab.registry, "assistant/1", "assistant/2"), "safety")
    assert found.how == "proved"
    assert "how they were measured" in found.why


def test_the_same_bits_on_another_base_are_not_proved_equal(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(1, "safety", right(360, N), effective="a", base_digest=sha256_json("elsewhere"))
    lab.cell(2, "safety", right(360, N), effective="a")
    assert of(compare(lab.registry, "assistant/1", "assistant/2"), "safety").how == "paired"


def test_without_predictions_the_interval_is_that_of_two_samples_and_says_so(lab: Lab) -> None:
    """Newcombe 1998, table II (a): 56 of 70 against 48 of 80, method 10: 0.0524 to 0.3339."""
    lab.declare()
    lab.file(2)
    for version, successes, n in ((1, 48, 80), (2, 56, 70)):
        made = wilson(successes, n)
        lab.cell(
            version, "safety", right(successes, n), low=made.low, high=made.high,
            predictions=None, predictions_sha256=None,
        )  # fmt: skip
    found = of(compare(lab.registry, "assistant/1", "assistant/2"), "safety")
    assert found.how == "unpaired"
    assert found.change is not None
    assert found.change.value == pytest.approx(0.2)
    assert (round(found.change.low, 4), round(found.change.high, 4)) == (0.0524, 0.3339)
    assert (found.rose, found.fell) == (None, None)
    assert "unpaired" in found.why
    assert "not kept" in found.why


def test_predictions_that_are_not_those_recorded_are_not_believed(lab: Lab) -> None:
    two_sequences(lab)
    cell = next(c for c in lab.registry.cells("other") if c.task == "math")
    path = lab.registry.settings.home / str(cell.predictions)
    kept = path.read_bytes()
    path.write_bytes(kept.replace(b"1.0", b"0.0"))
    assert of(compare(lab.registry, "assistant", "other"), "math").how == "unpaired"
    path.write_bytes(kept)  # what was wrong is not remembered
    assert of(compare(lab.registry, "assistant", "other"), "math").how == "paired"


def test_what_was_measured_only_once_is_missing_and_never_zero(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(2, "math", right(300, N))
    found = of(compare(lab.registry, "assistant/1", "assistant/2"), "math")
    assert (found.how, found.a, found.change) == ("none", None, None)
    assert found.why == "not measured at assistant/1"


def test_another_metric_is_no_difference(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(1, "safety", right(360, N), metric_version="1")
    lab.cell(2, "safety", right(360, N), metric_version="2")
    found = of(compare(lab.registry, "assistant/1", "assistant/2"), "safety")
    assert (found.how, found.change) == ("none", None)
    assert "metric" in found.why


def test_tasks_are_the_same_by_their_test_sets_and_not_by_their_names(lab: Lab) -> None:
    two_sequences(lab)
    task = lab.registry.tasks("other")[1]
    declared = lab.registry.sequence("other")
    lab.registry.declare_sequence(replace(declared, name="third", tasks=("sums", "math")))
    digests = {"sums": task.data["test"], "math": sha256_json("rows of its own")}
    for position, name in enumerate(("sums", "math"), start=1):
        data = {"train": sha256_json(name), "test": digests[name]}
        renamed = replace(task, position=position, name=name, data=data)
        lab.registry.declare_task("third", renamed)
    lab.file(2, sequence="third")
    lab.cell(2, "sums", right(390, N), sequence="third", test_digest=digests["sums"])
    lab.cell(2, "math", right(390, N), sequence="third", test_digest=digests["math"])
    found = compare(lab.registry, "assistant", "third")
    (only,) = found.differences
    assert (only.task, only.other) == ("math", "sums")
    assert [(each.task, each.of) for each in found.alone] == [
        ("safety", "assistant/2"),
        ("math", "third/2"),
    ]


def test_the_mean_counts_each_task_once(lab: Lab) -> None:
    two_sequences(lab)
    found = compare(lab.registry, "assistant", "other")
    changes = [each.change for each in found.differences if each.change is not None]
    assert found.mean is not None
    assert found.mean.value == pytest.approx(math.fsum(c.value for c in changes) / 2)
    assert found.mean.n == 2
    widths = [c.high - c.low for c in changes]
    assert max(widths) / 2 < found.mean.high - found.mean.low < max(widths)


def test_a_refusal_score_has_two_parts_of_equal_weight(lab: Lab) -> None:
    lab.declare()
    lab.file(2)
    lab.cell(1, "safety", right(100, 200), harmless=right(50, 50))
    lab.cell(2, "safety", right(200, 200), harmless=right(40, 50))
    found = of(compare(lab.registry, "assistant/1", "assistant/2"), "safety")
    assert found.change is not None
    assert found.change.value == pytest.approx(((200 - 100) / 200 + (40 - 50) / 50) / 2)
    assert (found.rose, found.fell, found.change.n) == (100, 10, 250)


def test_what_else_differs_is_said(lab: Lab) -> None:
    lab.declare()
    lab.declare(sequence="other", read="cumulative", protection="overlap")
    for name in ("assistant", "other"):
        lab.file(1, sequence=name)
        lab.cell(1, "safety", right(360, N), sequence=name, effective=name)
    found = compare(lab.registry, "assistant", "other")
    assert (found.a.read, found.b.read, found.b.protection) == (
        "inherited",
        "cumulative",
        "overlap",
    )
    assert any("each under its own" in note for note in found.notes)
    under_one = compare(lab.registry, "assistant", "other", "cumulative")
    assert any("not trained" in note and "assistant/1" in note for note in under_one.notes)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("nothing", NotFound),
        ("assistant/9", NotFound),
        ("assistant@champion", NotFound),
        ("assistant/x", BadInput),
        ("assistant@best", BadInput),
        ("../x", BadInput),
        ("", BadInput),
    ],
)
def test_a_name_that_is_none_is_refused(lab: Lab, name: str, error: type[BadInput]) -> None:
    two_sequences(lab)
    for names in ((name, "assistant"), ("assistant", name)):
        with pytest.raises(error):
            compare(lab.registry, *names)


def test_the_number_of_queries_does_not_grow_with_tasks(lab: Lab) -> None:
    counts = {}
    for many in (3, 40):
        for name in (f"one-{many}", f"two-{many}"):
            tasks = tuple(f"t{number:02}" for number in range(many))
            lab.declare(tasks=tasks, guards=(), sequence=name)
            lab.file(2, sequence=name)
            for task in tasks:
                lab.cell(2, task, right(30, 60), sequence=name, effective=f"{name}-{task}")
        with counted(lab.registry) as sent:
            found = compare(lab.registry, f"one-{many}", f"two-{many}")
        assert len(found.differences) == many
        counts[many] = len(sent)
    assert counts[3] == counts[40]


def measured(successes: int, n: int) -> Found:
    made = wilson(successes, n)
    cell = Measured(
        version=1, task="t", read="inherited", under="", key=f"{successes}/{n}",
        value=successes / n, n=n, metric="exact_match", metric_version="1", parts_json="{}",
        base_digest="b", effective_digest=f"{successes}/{n}", test_digest="t",
        predictions=None, predictions_sha256=None,
    )  # fmt: skip
    return Found(cell, made.low, made.high)


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_an_unpaired_interval_holds_its_figure_and_stays_a_difference_of_shares(
    n: int, m: int, data: st.DataObject
) -> None:
    a = measured(data.draw(st.integers(0, n)), n)
    b = measured(data.draw(st.integers(0, m)), m)
    found = difference(Path("/nowhere"), "t", a, b, ("a", "b"))
    if found.how == "same_bits":  # the same shares of as many rows: one adapter, to this stand-in
        return
    assert found.change is not None
    assert -1 <= found.change.low <= found.change.value <= found.change.high <= 1
    assert found.change.value == pytest.approx(b.cell.value - a.cell.value)
