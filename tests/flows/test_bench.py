"""What the workbench knows of a base: how far it reads, and what ends its answers."""

import json
from pathlib import Path

import pytest

from flows.stages.bench import Assignment, Bench
from flows.stages.evaluating import Scoring
from lori_core.cells import CellKey
from lori_core.errors import BadInput
from lori_core.sequence_file import load_sequence
from lori_core.shared_adapter import SharedAdapter
from lori_core.task_rows import load_task
from tests.flows.tiny import sequence_text


def written(folder: Path) -> Path:
    file = folder / "tiny.yaml"
    file.write_text(sequence_text(folder, ("color",)), encoding="utf-8")
    return file


def edited(file: Path, **changes: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))


def test_rows_longer_than_the_base_has_positions_are_refused(tmp_path: Path) -> None:
    file = written(tmp_path)
    edited(tmp_path / "base" / "tokenizer_config.json", model_max_length=10**30)
    file.write_text(file.read_text().replace("max_length: 32", "max_length: 65"))
    work = Bench(load_sequence(file), "base")
    task = work.config.tasks[0]
    with pytest.raises(BadInput, match=r"max_length is 65: expected at most 64, which is as far"):
        work.encode(task, load_task(task, None).train, ())


def key(file: Path) -> str:
    """Of the base's cell, with the digest of the base held still."""
    config = load_sequence(file)
    told = Assignment(
        home=file.parent,
        config=config,
        base_digest="base",
        position=1,
        data=(),
        earlier=(),
        before={},
    )
    scoring = Scoring(
        told=told,
        work=Bench(config, "base"),
        shared=SharedAdapter(()),
        metric_folder=file.parent,
        tests={"color": {"test": "t"}},
    )
    found = scoring.keyed(CellKey(row_version=0, task="color", read="inherited"))
    return str(found["key"])


def test_another_end_token_of_the_base_is_another_cell(tmp_path: Path) -> None:
    file = written(tmp_path)
    first = key(file)
    assert key(file) == first
    edited(tmp_path / "base" / "generation_config.json", eos_token_id=[1, 9])
    assert key(file) != first
