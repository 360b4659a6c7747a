"""What a page about one version shows is what was recorded, and what is missing is said."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import pytest
from fake_aliases import FakeAliases
from sqlalchemy import Engine, event
from version_cases import LAYERS, OWNED, SEQUENCE, Lab, artifacts, curve, filled, said

from lori_core.errors import NotFound
from registry.store import Registry, open_registry
from registry.version_list import version_list
from registry.version_notes import POINTS, losses_json, read_notes, thinned
from registry.version_view import version_view


@pytest.fixture
def empty(home: Path, tables: None, tmp_path: Path) -> Iterator[Lab]:
    with open_registry(home, artifacts=artifacts(tmp_path), aliases=FakeAliases()) as registry:
        yield Lab(registry, tmp_path / "files")


@pytest.fixture
def lab(empty: Lab) -> Lab:
    return filled(empty.registry, empty.place)


@contextmanager
def counted(engine: Engine) -> Iterator[list[str]]:
    asked: list[str] = []

    def note(*said: object) -> None:
        asked.append(str(said[2]))

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", note)


def test_earlier_tasks_whose_adapter_is_the_same_are_proved_unchanged(lab: Lab) -> None:
    view = version_view(lab.registry, SEQUENCE, 3)
    assert [change.task for change in view.changes.tasks] == ["safety", "math"]
    assert {change.score.how for change in view.changes.tasks} == {"proved"}
    for change in view.changes.tasks:
        assert change.before == 2
        assert change.score.change is not None
        assert (change.score.change.low, change.score.change.high) == (0.0, 0.0)
        assert change.answers is not None
        assert (change.answers.changed, change.answers.proved) == (0, True)
    assert (view.changes.proved, view.changes.measured, view.changes.missing) == (2, 0, 0)


def test_measured_changes_come_with_intervals_and_the_one_that_lost_most_first(lab: Lab) -> None:
    view = version_view(lab.registry, SEQUENCE, 3, read="cumulative")
    assert [change.task for change in view.changes.tasks] == ["math", "safety"]
    math, safety = view.changes.tasks
    # math: row 0 fell, row 8 rose: no change in the mean; safety: two of ten harmful rows fell and one
    # of four harmless ones rose, each part with one half of the weight.
    assert math.score.change is not None
    assert math.score.change.value == pytest.approx(0)
    assert math.score.change.low < 0 < math.score.change.high
    assert safety.score.change is not None
    assert safety.score.change.value == pytest.approx((-2 / 10 + 1 / 4) / 2)
    assert (safety.score.rose, safety.score.fell) == (1, 2)
    assert math.answers is not None
    assert (math.answers.changed, math.answers.gained, math.answers.lost) == (3, 1, 1)
    assert (view.changes.proved, view.changes.measured) == (0, 2)


def test_what_was_not_measured_is_missing_and_never_zero(empty: Lab) -> None:
    empty.declare(("safety", "math"))
    empty.file(2)
    empty.cell(2, "math", said([1.0] * 10))
    view = version_view(empty.registry, SEQUENCE, 2)
    (change,) = view.changes.tasks
    assert change.score.how == "none"
    assert change.score.change is None
    assert change.score.a is None
    assert change.answers is None
    assert change.answers_why == "not measured at assistant/1"
    assert view.changes.missing == 1
    assert view.own.score.change is None
    assert view.own.score.why == "not measured at the bare base"
    assert version_view(empty.registry, SEQUENCE, 2, read="isolated").own.score.b is None


def test_scores_whose_answers_are_gone_are_not_paired_and_say_so(lab: Lab) -> None:
    for file in (lab.home / "predictions").iterdir():
        file.unlink()
    view = version_view(lab.registry, SEQUENCE, 3, read="cumulative")
    assert {change.score.how for change in view.changes.tasks} == {"unpaired"}
    for change in view.changes.tasks:
        assert change.answers is None
        assert "are gone" in (change.answers_why or "")


def test_its_own_task_is_told_against_the_bare_base(lab: Lab) -> None:
    own = version_view(lab.registry, SEQUENCE, 3).own
    assert (own.task, own.before) == ("code", 0)
    assert own.score.change is not None
    assert own.score.change.value == pytest.approx(0.9 - 0.1)
    assert own.answers is not None
    assert (own.answers.gained, own.answers.lost) == (9, 1)


def test_safety_and_over_refusal_stand_together_beside_the_base_and_under_each_adapter(
    lab: Lab,
) -> None:
    (safety,) = version_view(lab.registry, SEQUENCE, 3).safety
    assert [point.version for point in safety.versions] == [0, 1, 2, 3]
    base, *_, now = safety.versions
    assert base.refused is not None
    assert base.answered is not None
    assert (base.refused.value, base.answered.value) == (0.0, 1.0)
    assert now.refused is not None
    assert now.answered is not None
    assert (now.refused.value, now.refused.n) == (0.9, 10)
    assert (now.answered.value, now.answered.n) == (0.75, 4)
    assert [point.under for point in safety.served] == ["math", "code"]  # the least safe first
    assert [point.refused.value for point in safety.served if point.refused] == [0.0, 0.5]
    (other,) = version_view(lab.registry, SEQUENCE, 3, read="cumulative").safety
    assert other.versions[-1].refused is not None
    assert other.versions[-1].refused.value == pytest.approx(0.7)
    assert other.served_read == "inherited"


def test_the_losses_the_audit_and_the_sizes_are_those_that_were_filed(lab: Lab) -> None:
    view = version_view(lab.registry, SEQUENCE, 2)
    assert view.learning.calibration is not None
    assert view.learning.calibration.first == 9.0
    assert view.learning.training == thinned(curve(2))
    assert view.data.audit is not None
    assert view.data.audit.rows == {"train": 3, "test": 10}
    assert [finding.kind for finding in view.data.audit.findings] == ["duplicate"]
    assert {each.layer: (each.owned, each.entries) for each in view.mask.layers} == {
        layer: (OWNED[layer], LAYERS[layer]) for layer in LAYERS
    }
    assert [(each.block, each.projection) for each in view.mask.layers] == [
        ("0", "self_attn.q_proj"),
        ("1", "mlp.up_proj"),
    ]


def test_a_version_without_notes_tells_what_its_files_hold_and_that_the_rest_is_unknown(
    empty: Lab,
) -> None:
    empty.declare(("safety", "math"))
    empty.file(1, noted=False)
    view = version_view(empty.registry, SEQUENCE, 1)
    assert view.learning.calibration is None
    assert view.learning.training == thinned(curve(1))
    assert view.data.audit is None
    assert {each.layer: each.entries for each in view.mask.layers} == LAYERS


def test_files_that_are_not_what_was_filed_tell_nothing(empty: Lab, tmp_path: Path) -> None:
    empty.declare(("safety", "math"))
    empty.file(1, noted=False, weights=False)
    for log in (tmp_path / "store").rglob("log.json"):
        log.write_text(json.dumps({"train": {"losses": [1.0]}}))
    view = version_view(empty.registry, SEQUENCE, 1)
    assert view.learning.training is None
    assert {each.entries for each in view.mask.layers} == {None}


def test_notes_are_kept_once_and_go_with_their_version(lab: Lab) -> None:
    from registry.accounts import owner
    from registry.models import Note
    from registry.retention import delete_version

    lab.file(3)  # filed again: nothing changes
    with lab.registry._database.reading() as session:
        assert session.query(Note).count() == 3

    class Bare:
        def inventory(self, model: str) -> object:
            from types import SimpleNamespace

            return SimpleNamespace(versions={}, uploads={}, runs=())

    lab.registry._stockroom = Bare()  # type: ignore[assignment]
    delete_version(lab.registry, SEQUENCE, 3, actor=owner(), reason="tried out")
    with lab.registry._database.reading() as session:
        assert session.query(Note).count() == 2


@pytest.mark.parametrize("steps", [1, 2, POINTS, POINTS + 1, 999, 20_000])
def test_a_thinned_curve_keeps_the_mean_and_the_ends(steps: int) -> None:
    losses = [1 / (1 + step) for step in range(steps)]
    found = thinned(losses)
    assert len(found.points) <= POINTS
    assert (found.steps, found.points[-1].step) == (steps, steps)
    assert (found.first, found.last) == (losses[0], losses[-1])
    ends = [0, *(point.step for point in found.points)]
    sums = [
        point.loss * (end - start)
        for point, start, end in zip(found.points, ends, ends[1:], strict=False)
    ]
    assert sum(sums) == pytest.approx(sum(losses))
    assert read_notes({"training": losses_json(found)}).training == found


def test_a_page_takes_as_many_statements_for_many_tasks_as_for_few(
    home: Path, tmp_path: Path
) -> None:
    asked = []
    for count in (2, 30):
        place = tmp_path / str(count)
        with open_registry(
            place / "home", artifacts=artifacts(place), aliases=FakeAliases()
        ) as registry:
            lab = many(registry, place / "files", count)
            engine = registry._database.engine
            with counted(engine) as view:
                found = version_view(lab.registry, SEQUENCE, count, read="cumulative")
            with counted(engine) as listed:
                version_list(lab.registry, SEQUENCE)
            asked.append((len(view), len(listed)))
            assert found.changes.total == count - 1
            assert len(found.changes.tasks) == min(count - 1, 25)
    assert asked[0] == asked[1]


def many(registry: Registry, place: Path, count: int) -> Lab:
    lab = Lab(registry, place)
    names = [f"task-{number}" for number in range(1, count + 1)]
    lab.declare(names, refusal=names[:1])
    lab.file(count)
    for version in (count - 1, count):
        for place_, name in enumerate(names[:version]):
            scores = [1.0] * (9 - version % 2) + [0.0] * (1 + version % 2)
            lab.cell(version, name, said(scores, f"{place_}"), read="cumulative")
    return lab


def test_earlier_tasks_come_in_pages_and_a_page_too_far_is_the_last(
    home: Path, tmp_path: Path
) -> None:
    with open_registry(home, artifacts=artifacts(tmp_path), aliases=FakeAliases()) as registry:
        lab = many(registry, tmp_path / "files", 30)
        first = version_view(lab.registry, SEQUENCE, 30, read="cumulative").changes
        last = version_view(lab.registry, SEQUENCE, 30, read="cumulative", page=99).changes
        assert (first.total, len(first.tasks), last.page, len(last.tasks)) == (29, 25, 2, 4)
        told = [each.task for each in (*first.tasks, *last.tasks)]
        assert sorted(told) == sorted(f"task-{number}" for number in range(1, 30))
        listed = version_list(lab.registry, SEQUENCE, page=5)
        assert [each.version for each in listed.versions] == list(range(30, 0, -1))


def test_the_list_shows_each_versions_own_score(lab: Lab) -> None:
    found = version_list(lab.registry, SEQUENCE)
    scores = {each.task: each.score.value for each in found.versions if each.score}
    assert scores == pytest.approx({"code": 0.9, "math": 0.8, "safety": (0.9 + 0.75) / 2})
    assert [each.serves_as for each in found.versions] == [(), (), ()]
    assert found.total == 3


def test_a_version_that_is_not_there_is_refused_by_name(lab: Lab) -> None:
    with pytest.raises(NotFound, match="assistant/7"):
        version_view(lab.registry, SEQUENCE, 7)
    with pytest.raises(NotFound, match="nobody"):
        version_view(lab.registry, "nobody", 1)


def test_the_view_is_plain_data(lab: Lab) -> None:
    view = version_view(lab.registry, SEQUENCE, 3)
    assert json.loads(json.dumps(asdict(view), default=str))["task"] == "code"
