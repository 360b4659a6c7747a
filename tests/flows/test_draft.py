from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.cli import lori
from flows.draft import draft, parse_task
from lori_core.errors import BadInput
from lori_core.sequence_file import load_sequence


def test_a_draft_is_a_file_that_is_read_as_it_was_meant(tmp_path: Path) -> None:
    tasks = [
        parse_task("safety:rows/a b.jsonl:rows/t.jsonl:refusal"),
        parse_task("math:rows/m.jsonl:rows/n.jsonl:my.metrics:close"),
    ]
    file = tmp_path / "s.yaml"
    file.write_text(draft("assistant", "org/model", tasks))
    config = load_sequence(file)
    assert config.sequence == "assistant"
    assert config.base.path == "org/model"
    assert [task.metric for task in config.tasks] == ["refusal", "my.metrics:close"]
    assert config.tasks[0].train.path == str(tmp_path / "rows" / "a b.jsonl")
    assert config.guards == ("safety",)


@pytest.mark.parametrize("text", ["math", "math:a", "math:a:", "Not A Name:a:b"])
def test_a_task_that_is_not_whole_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_task(text)


def test_init_names_files_relative_to_the_file_it_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "rows").mkdir()
    (tmp_path / "rows" / "a.jsonl").touch()
    monkeypatch.chdir(tmp_path)
    flags = ["--base", "org/model", "--task", "a:rows/a.jsonl:rows/a.jsonl"]
    answer = CliRunner().invoke(lori, ["init", "sub/s.yaml", *flags])
    assert answer.exit_code == 0, answer.stderr
    config = load_sequence(tmp_path / "sub" / "s.yaml")
    assert Path(config.tasks[0].train.path or "").resolve() == tmp_path / "rows" / "a.jsonl"
    again = CliRunner().invoke(lori, ["init", "sub/s.yaml", *flags])
    assert again.exit_code == 2
    assert "exists" in again.stderr


def test_init_asks_for_nothing_where_nobody_can_answer(tmp_path: Path) -> None:
    answer = CliRunner().invoke(lori, ["init", str(tmp_path / "s.yaml")])
    assert answer.exit_code == 2
    assert answer.stderr.startswith("--base is missing")
    assert not (tmp_path / "s.yaml").exists()
