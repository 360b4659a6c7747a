"""A new version of a known task, and a task that is retired: through the real command."""

import json
from pathlib import Path

import pytest

from flows.keys import task_settings
from flows.plan import read_plan
from lori_core.errors import BadInput
from lori_core.sequence_file import load_sequence
from registry.records import TaskRecord
from registry.succession import predecessor, serving, superseded
from tests.flows.conftest import Lab
from tests.flows.tiny import rows, write_rows, write_sequence


def task(position: int, name: str, old: str | None = None) -> TaskRecord:
    return TaskRecord(
        position=position, name=name, config={"supersedes": old} if old else {}, data={}
    )


def test_the_newest_version_that_is_learned_answers_for_a_task() -> None:
    tasks = (task(1, "sql"), task(2, "code"), task(3, "sql-2", "sql"), task(4, "sql-3", "sql-2"))
    assert [serving(tasks, "sql", k) for k in (1, 2, 3, 4)] == ["sql", "sql", "sql-2", "sql-3"]
    assert serving(tasks, "sql-2", 4) == "sql-3"
    assert serving(tasks, "code", 4) == "code"
    assert superseded(tasks) == {"sql": "sql-2", "sql-2": "sql-3"}
    assert (predecessor(tasks, "sql-3"), predecessor(tasks, "sql")) == ("sql-2", None)


def with_successor(lab: Lab, old: str = "color", name: str = "color-2", more: str = "") -> Path:
    """The lab's file with a task after the others that supersedes one of them."""
    test = lab.folder / "rows" / f"{name}-test.jsonl"
    write_rows(test, rows("color", "test", 16))
    again = [{**row, "prompt": f"not {row['prompt']}"} for row in rows("color", "train", 48)]
    write_rows(lab.folder / "rows" / f"{name}-train.jsonl", again)
    text = write_sequence(lab.folder, ("color", "size")).read_text()
    lab.file.write_text(
        f"{text}  - name: {name}\n    train: {{path: rows/{name}-train.jsonl}}\n"
        f"    test: {{path: rows/{name}-test.jsonl}}\n    max_new_tokens: 2\n"
        f"    supersedes: {old}\n{more}"
    )
    return test


def test_what_supersedes_a_task_says_so_in_its_settings_and_others_do_not(lab: Lab) -> None:
    with_successor(lab)
    settings = [task_settings(each) for each in load_sequence(lab.file).tasks]
    assert "supersedes" not in settings[0]
    assert settings[2]["supersedes"] == "color"


@pytest.mark.parametrize(
    ("old", "more", "named"),
    [
        ("colour", "", "Did you mean `color`"),
        ("color-2", "", "no earlier task"),
        ("color", "    metric: exact_number\n", "metric exact_match, this one exact_number"),
    ],
)
def test_only_an_earlier_task_that_is_scored_alike_can_be_superseded(
    lab: Lab, old: str, more: str, named: str
) -> None:
    with_successor(lab, old, more=more)
    with pytest.raises(BadInput, match=named):
        load_sequence(lab.file)


def test_a_task_is_superseded_once(lab: Lab) -> None:
    with_successor(lab)
    again = lab.file.read_text().split("  - name: color-2\n")[1]
    lab.file.write_text(f"{lab.file.read_text()}  - name: color-3\n{again}")
    with pytest.raises(BadInput, match="Say `supersedes: color-2`"):
        load_sequence(lab.file)


def test_both_are_measured_on_the_same_rows(lab: Lab) -> None:
    write_rows(with_successor(lab), rows("color", "test", 15))
    with pytest.raises(BadInput, match="the gate compares"):
        read_plan(lab.file, lab.home)


@pytest.mark.slow
def test_a_new_version_serves_in_the_old_ones_place_once_promoted(lab: Lab) -> None:
    with_successor(lab, more="gate: {min_learning: -1.0, max_forgetting: 1.0}\n")
    learned = lab.lori("run", lab.file)
    assert learned.returncode == 0, learned.stderr
    asked = lab.lori("gate", "tiny/3", "--json")
    rules = {rule["rule"]: rule for rule in json.loads(asked.stdout)["rules"]}
    assert "gain over color" in rules["learning:color-2"]["why"] or (
        "proved equal" in rules["learning:color-2"]["why"]
    )

    def exported(name: str, task: str, to: str) -> str:
        answer = lab.lori("export", name, task, "--to", to, "--json")
        assert answer.returncode == 0, answer.stderr
        digest: str = json.loads((lab.folder / to / "lori.json").read_text())["effective_sha256"]
        return digest

    old, new = exported("tiny/3", "color", "a"), exported("tiny/3", "color-2", "b")
    assert old != new
    promoted = lab.lori("promote", "tiny/3", "--reason", "a better color")
    assert promoted.returncode == 0, promoted.stderr
    assert exported("tiny@champion", "color", "c") == new
    assert exported("tiny", "color", "d") == old
    retired = lab.lori("retire", "tiny", "color", "--reason", "color-2 is better")
    assert retired.returncode == 0, retired.stderr
    for command in (
        ("export", "tiny/3", "color", "--to", "e"),
        ("predict", "tiny", "color", "--rows", "rows/color-test.jsonl"),
        ("merge", "tiny", "color", "--to", "f"),
    ):
        refused = lab.lori(*command)
        assert refused.returncode == 2
        assert "is retired since" in refused.stderr
        assert "Ask for 'color-2'" in refused.stderr
        assert refused.stderr.count("\n") == 1
    assert exported("tiny@champion", "color", "g") == new
    assert "nothing to do" in lab.lori("run", lab.file).stdout
    assert lab.lori("verify", "tiny/3").returncode == 0
