import json
from dataclasses import replace
from pathlib import Path

import pytest

from lori_core.config import DataSource, TaskConfig
from lori_core.errors import BadInput
from lori_core.prompts import Example
from lori_core.task_rows import (
    data_digests,
    label_index,
    labels,
    load_snapshot,
    load_task,
    snapshot_task,
    target_needed,
)


def written(folder: Path, name: str, rows: list[dict[str, object]]) -> DataSource:
    path = folder / f"{name}.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return DataSource(path=str(path))


@pytest.fixture
def task(tmp_path: Path) -> TaskConfig:
    return TaskConfig(
        name="topic",
        train=written(
            tmp_path, "train", [{"q": "a goal", "a": "Sports"}, {"q": "a vote", "a": "World"}]
        ),
        test=written(tmp_path, "test", [{"q": "a match", "a": "Sports"}]),
        prompt="{q}?",
        completion="{a}",
        metric="accuracy",
    )


def an_example(name: str, completion: str, **changes: object) -> Example:
    plain = Example(id=name, prefix="", input="text", suffix="", completion=completion)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_a_tasks_rows_are_rendered_by_role_and_in_order(task: TaskConfig) -> None:
    rows = load_task(task, None)
    assert [example.prompt for example in rows.train] == ["a goal?", "a vote?"]
    assert [example.completion for example in rows.test] == ["Sports"]
    assert (rows.validation, rows.over_refusal) == ((), ())


def test_a_snapshot_gives_the_same_rows_when_the_source_is_gone(
    task: TaskConfig, tmp_path: Path
) -> None:
    rows, digests = load_task(task, None), data_digests(task)
    assert snapshot_task(task, tmp_path / "snapshot") == digests
    assert set(digests) == {"train", "test"}
    for source in (task.train, task.test):
        Path(str(source.path)).unlink()
    assert load_snapshot(task, tmp_path / "snapshot", None) == rows


def test_a_limit_is_part_of_the_snapshot(task: TaskConfig, tmp_path: Path) -> None:
    short = replace(task, train=replace(task.train, limit=1))
    assert snapshot_task(short, tmp_path / "s")["train"] != data_digests(task)["train"]
    assert len(load_snapshot(short, tmp_path / "s", None).train) == 1


def test_messages_name_task_file_and_line(task: TaskConfig, tmp_path: Path) -> None:
    bad = replace(task, train=written(tmp_path, "bad", [{"q": "x", "a": "y"}, {"q": "x"}]))
    with pytest.raises(BadInput) as caught:
        load_task(bad, None)
    assert str(caught.value).startswith(
        f"task topic: {tmp_path}/bad.jsonl line 2: row 'row-000002': field `a` is missing"
    )
    gone = replace(task, test=DataSource(path=str(tmp_path / "gone.jsonl")))
    for read in (lambda: load_task(gone, None), lambda: data_digests(gone)):
        with pytest.raises(BadInput, match=r"task topic: .*gone\.jsonl: no such file"):
            read()


@pytest.mark.parametrize(
    ("metric", "needed"),
    [
        ("accuracy", {"train", "test", "validation"}),
        ("exact_match", {"train", "test", "validation"}),
        ("refusal", {"train"}),
        ("pass_at_k", {"train"}),
        ("mine:score", {"train"}),
    ],
)
def test_an_answer_is_needed_where_it_is_learned_or_compared(
    metric: str, needed: set[str], task: TaskConfig
) -> None:
    roles = ("train", "test", "validation", "over_refusal")
    judged = replace(task, metric=metric)
    assert {role for role in roles if target_needed(judged, role)} == needed


# Labels


def test_the_label_set_is_the_rows_own_choices_in_their_order() -> None:
    choices = ("b", "a", "c")
    assert labels([an_example("1", "a", choices=choices, label=1)]) == choices


def test_a_label_set_holds_each_label_once() -> None:
    with pytest.raises(BadInput, match=r"label set a, a: expected each label once"):
        labels([an_example("r", "a", choices=("a", "a"))])


def test_without_choices_the_label_set_is_the_sorted_completions() -> None:
    assert labels([an_example("1", "b"), an_example("2", "a"), an_example("3", "b")]) == ("a", "b")


def test_one_task_has_one_label_set() -> None:
    with pytest.raises(BadInput, match=r"row '2': choices a, c: expected those of the rows before"):
        labels([an_example("1", "a", choices=("a", "b")), an_example("2", "a", choices=("a", "c"))])


@pytest.mark.parametrize("completions", [[], ["a"], ["a", "a"]])
def test_one_label_is_nothing_to_tell_apart(completions: list[str]) -> None:
    with pytest.raises(BadInput, match="expected two or more labels"):
        labels([an_example(str(i), text) for i, text in enumerate(completions)])


def test_a_label_is_found_by_name() -> None:
    known = ("yes", "no")
    assert label_index(an_example("1", "no"), known) == 1
    numbered = an_example("1", "answer1", choices=("no", "yes"), label=1)
    assert label_index(numbered, known) == 0
    with pytest.raises(BadInput, match=r"row '1': label 'maybe' is outside the set: expected one"):
        label_index(an_example("1", "maybe"), known)
