"""Every mistake a user can make in a sequence file: one line, exit 2, nothing left behind."""

import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from flows.checks import check_rows
from flows.cli import lori
from flows.plan import read_plan
from flows.reporter import Reporter
from flows.stages.inspect import inspect_stage
from lori_core.errors import BadInput
from lori_core.sequence_file import sequence_to_json
from tests.flows.conftest import ROOT, Lab


def edit(lab: Lab, old: str, new: str) -> None:
    text = lab.file.read_text()
    assert old in text
    lab.file.write_text(text.replace(old, new, 1))


def rows_file(lab: Lab, split: str = "train") -> Path:
    return lab.folder / "rows" / f"color-{split}.jsonl"


def truncated(lab: Lab) -> None:
    path = rows_file(lab)
    path.write_text(path.read_text()[:-10])


def without_a_field(lab: Lab) -> None:
    path = rows_file(lab)
    lines = path.read_text().splitlines()
    row = json.loads(lines[2])
    del row["completion"]
    lines[2] = json.dumps(row)
    path.write_text("\n".join(lines) + "\n")


def leaking(lab: Lab) -> None:
    rows_file(lab, "test").write_text(rows_file(lab).read_text())


def a_number_as_answer(lab: Lab) -> None:
    path = rows_file(lab)
    lines = path.read_text().splitlines()
    lines[4] = json.dumps({**json.loads(lines[4]), "completion": 5})
    path.write_text("\n".join(lines) + "\n")


def as_messages(lab: Lab) -> None:
    path = rows_file(lab)
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    turns = [
        [{"role": "user", "content": row["prompt"]}, {"role": "assistant", "content": "red"}]
        for row in rows
    ]
    made = [{"id": row["id"], "messages": turn} for row, turn in zip(rows, turns, strict=True)]
    path.write_text("".join(json.dumps(row) + "\n" for row in made))


def listing(home: Path) -> set[Path]:
    return set(home.rglob("*"))


LIGHT: dict[str, tuple[Callable[[Lab], object], str]] = {
    "an unknown key": (lambda lab: edit(lab, "lora_alpha", "lora_alpa"), "lora_alpha"),
    "a missing file of rows": (lambda lab: rows_file(lab).unlink(), "no such file"),
    "an empty file of rows": (lambda lab: rows_file(lab).write_text(""), "is empty"),
    "a truncated row": (truncated, "line 48"),
    "a row without a field": (without_a_field, "line 3"),
    "a number where text is learned": (
        a_number_as_answer,
        "line 5: row 'train-4': field `completion` is 5: expected text",
    ),
    "a second document": (
        lambda lab: lab.file.write_text(lab.file.read_text() + "---\na: 1\n"),
        "a second document begins",
    ),
    "a leak": (leaking, "allow_leak"),
    "sparsity 1.0": (lambda lab: edit(lab, "seed: 0", "seed: 0, sparsity: 1.0"), "sparsity"),
    "rank 0": (lambda lab: edit(lab, "{r: 8", "{r: 0"), "adapter.r"),
    "too many tasks": (
        lambda lab: edit(lab, "seed: 0", "seed: 0, sparsity: 0.2"),
        "more entries of B",
    ),
    "no base": (lambda lab: shutil.rmtree(lab.folder / "base"), "does not exist"),
    "no model": (lambda lab: (lab.folder / "base/config.json").write_text("{}"), "model_type"),
    "a metric that cannot be imported": (
        lambda lab: edit(lab, "max_new_tokens: 2", "metric: no_such_module:score"),
        "no_such_module",
    ),
    "code not allowed": (
        lambda lab: edit(lab, "max_new_tokens: 2", "metric: pass_at_k"),
        "allow_code_execution",
    ),
}


@pytest.mark.parametrize("mistake", LIGHT)
def test_a_mistake_is_told_in_one_line_before_anything_heavy(
    lab: Lab, mistake: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spoil, named = LIGHT[mistake]
    spoil(lab)
    monkeypatch.setenv("LORI_HOME", str(lab.home))
    answer = CliRunner().invoke(lori, ["run", str(lab.file)])
    assert answer.exit_code == 2, answer.stderr
    assert named in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""
    assert not lab.home.exists()


def test_a_home_that_was_there_is_as_it_was_after_a_light_mistake(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    (lab.home / "runs").mkdir(parents=True)
    (lab.home / "runs" / "other.lock").touch()
    before = listing(lab.home)
    leaking(lab)
    monkeypatch.setenv("LORI_HOME", str(lab.home))
    for command in ("run", "check"):
        answer = CliRunner().invoke(lori, [command, str(lab.file)])
        assert answer.exit_code == 2, answer.stderr
        assert listing(lab.home) == before


def cut_weights(lab: Lab) -> None:
    weights = lab.folder / "base" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])


HEAVY: dict[str, tuple[Callable[[Lab], object], str]] = {
    "unknown layers": (
        lambda lab: edit(lab, "seed: 0", "seed: 0, target_modules: [q_prj]"),
        "q_prj match no linear layer of the base",
    ),
    "a rank no layer has": (
        lambda lab: edit(lab, "{r: 8", "{r: 65536"),
        "adapter.r is 65536 but the widest adapted layer",
    ),
    "messages without a chat template": (as_messages, "a base with a chat template"),
    "a length the base cannot read": (
        lambda lab: edit(lab, "max_length: 32", "max_length: 65"),
        "at most 64",
    ),
    "an answer the base cannot read": (
        lambda lab: edit(lab, "max_new_tokens: 2", "max_new_tokens: 64"),
        "max_new_tokens is 64",
    ),
    "a config of another model": (
        lambda lab: (lab.folder / "base/config.json").write_text(
            (lab.folder / "base/config.json")
            .read_text()
            .replace('"num_hidden_layers": 2', '"num_hidden_layers": 3')
        ),
        "weights missing",
    ),
    "a broken tokenizer": (
        lambda lab: (lab.folder / "base/tokenizer.json").write_text('{"model": {"type": "Nope"}}'),
        "its tokenizer cannot be read",
    ),
    "cut weights": (cut_weights, "not a readable safetensors file"),
    "rows that do not fit": (
        lambda lab: edit(lab, "max_length: 32", "max_length: 8"),
        "do not fit",
    ),
}


@pytest.mark.parametrize("mistake", HEAVY)
def test_what_only_the_base_can_tell_is_told_before_anything_is_learned(
    lab: Lab, mistake: str
) -> None:
    spoil, named = HEAVY[mistake]
    spoil(lab)
    plan = read_plan(lab.file, lab.home)
    check_rows(plan, [1, 2])
    spec = {
        "sequence": sequence_to_json(plan.config),
        "positions": [1, 2],
        "metric_folder": str(lab.folder),
    }
    with pytest.raises(BadInput) as told:
        inspect_stage(spec, lab.folder, Reporter(io.BytesIO()))
    assert named in str(told.value)
    assert "\n" not in str(told.value)


@pytest.mark.slow
@pytest.mark.parametrize("mistake", ["unknown layers", "messages without a chat template"])
def test_what_only_the_base_can_tell_is_one_line_too_and_leaves_nothing(
    lab: Lab, mistake: str
) -> None:
    spoil, named = HEAVY[mistake]
    spoil(lab)
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 2, answer.stderr
    assert named in answer.stderr
    assert answer.stderr.count("\n") == 1
    assert answer.stdout == ""
    assert not lab.home.exists()


@pytest.mark.slow
def test_a_home_that_was_there_is_as_it_was_and_lists_no_sequence(learned: Lab) -> None:
    """The same with an empty home, which has no server yet, and with one something is in."""
    empty = learned.folder / "empty"
    empty.mkdir()
    other = learned.folder / "other.yaml"
    text = learned.file.read_text().replace("sequence: tiny", "sequence: other")
    other.write_text(text.replace("seed: 0", "seed: 0, target_modules: [q_prj]"))
    for home in (empty, learned.home):
        before = listing(home)
        answer = learned.lori("run", other, home=home)
        assert answer.returncode == 2, answer.stderr
        assert "q_prj match no linear layer" in answer.stderr
        assert listing(home) == before
    shown = learned.lori("status", "--json")
    assert [each["sequence"] for each in json.loads(shown.stdout)] == ["tiny"]


@pytest.mark.usefixtures("with_prefect")
@pytest.mark.slow
def test_folders_named_as_our_packages_are_are_not_taken_for_them(lab: Lab) -> None:
    """A folder `flows` is what most who use Prefect stand beside."""
    for name in ("flows", "registry", "lori_core", "dashboard"):
        (lab.folder / name).mkdir()
        (lab.folder / name / "__init__.py").write_text("raise SystemExit('not ours')")
    ours = {key: value for key, value in os.environ.items() if key != "PYTHONSAFEPATH"}
    answer = subprocess.run(
        [str(Path(sys.executable).with_name("lori")), "run", str(lab.file)],
        env={**ours, "LORI_HOME": str(lab.home), "PYTHONPATH": str(ROOT)},
        cwd=lab.folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (answer.returncode, "learned tiny/1" in answer.stdout) == (0, True), answer.stderr


@pytest.mark.usefixtures("with_prefect")
@pytest.mark.slow
def test_a_loss_that_is_no_number_is_told_in_the_last_line(lab: Lab) -> None:
    edit(lab, "learning_rate_dense: 2e-2", "learning_rate_dense: 1e30")
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.splitlines()[-1].startswith("task 'color', phase 'calibrate', step ")
    assert "Traceback" not in answer.stderr


def test_a_home_beneath_a_file_is_one_line(lab: Lab) -> None:
    (lab.folder / "home").write_text("a file")
    answer = subprocess.run(
        [sys.executable, "-m", "flows.cli", "run", str(lab.file)],
        env={**os.environ, "LORI_HOME": str(lab.home / "x"), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.count("\n") == 1
    assert "Not a directory" in answer.stderr


LIMITED = """
import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), resource.RLIM_INFINITY))
from flows.cli import lori
lori(["run", sys.argv[2]])
"""


@pytest.mark.parametrize("limit", [0, 1000, 1 << 20])
def test_a_limit_on_file_sizes_is_one_line_and_leaves_nothing(lab: Lab, limit: int) -> None:
    answer = subprocess.run(
        [sys.executable, "-c", LIMITED, str(limit), str(lab.file)],
        env={**os.environ, "LORI_HOME": str(lab.home), "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 2, answer.stderr
    assert answer.stderr.count("\n") == 1
    assert not lab.home.exists()


@pytest.mark.parametrize(
    "arguments",
    [
        ["versions", "tiny"],
        ["matrix", "tiny", "--json"],
        ["verify", "tiny"],
        ["status"],
        ["export", "tiny", "color", "--to", "x"],
        ["predict", "tiny", "color", "--rows", "x"],
        ["evaluate", "tiny", "--read", "isolated"],
    ],
)
def test_readers_make_nothing_where_nothing_was_learned(
    tmp_path: Path, arguments: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "home"
    monkeypatch.setenv("LORI_HOME", str(home))
    answer = CliRunner().invoke(lori, arguments)
    assert answer.exit_code == 2
    assert answer.stderr.count("\n") == 1
    assert not home.exists()
