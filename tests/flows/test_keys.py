from dataclasses import replace

import pytest

from flows.keys import data_key, stage_key, task_identity, task_settings
from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    ResourcesConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)

SOURCE = DataSource(path="/somewhere/train.jsonl")
TASK = TaskConfig(name="math", train=SOURCE, test=SOURCE)
CONFIG = SequenceConfig(sequence="s", base=BaseConfig(path="/base"), tasks=(TASK,))
KNOWN = {"base": "b" * 64, "data": {"train": "1", "test": "2"}, "earlier": ["e"]}


def identity(config: SequenceConfig = CONFIG, **changed: object) -> str:
    known = {**KNOWN, **changed}
    return task_identity(config, 1, **known)  # type: ignore[arg-type]


def with_task(**changed: object) -> SequenceConfig:
    return replace(CONFIG, tasks=(replace(TASK, **changed),))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "other",
    [
        identity(base="c" * 64),
        identity(data={"train": "1", "test": "3"}),
        identity(earlier=[]),
        identity(replace(CONFIG, adapter=AdapterConfig(seed=1))),
        identity(replace(CONFIG, adapter=AdapterConfig(r=16))),
        identity(with_task(name="maths")),
        identity(with_task(prompt="{question}", completion="{answer}")),
        identity(with_task(sparsity=0.5)),
        identity(with_task(training=TrainingConfig(learning_rate=1e-3))),
        identity(with_task(training=TrainingConfig(num_train_epochs=2.0))),
    ],
)
def test_everything_that_decides_an_adapter_is_in_its_key(other: str) -> None:
    assert other != identity()


def test_what_decides_nothing_is_not_in_the_key() -> None:
    elsewhere = DataSource(path="/elsewhere/rows.jsonl")
    moved = with_task(
        train=elsewhere,
        test=elsewhere,
        allow_leak=True,
        training=TrainingConfig(save_steps=7, checkpoint_minutes=1.0),
        resources=ResourcesConfig(gpus=2, processes=2, max_hours=1.0, evaluate_workers=3),
    )
    assert identity(moved) == identity()
    assert identity(replace(CONFIG, sequence="other", guards=("math",))) == identity()


def test_but_for_the_method_a_plain_tasks_key_is_what_it_was_before_it_could_ask_for_resources(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Or what was half learned until then would be begun again, though its bits are the same."""
    monkeypatch.setattr("flows.keys.METHOD", 1)
    assert identity() == "064119e6a655482e530d5d42d0f803df1f0bbd88e22c55fed2bd9c3c748d63d4"


def test_each_stage_has_a_key_of_its_own() -> None:
    keys = {stage_key(stage, "x") for stage in ("calibrate", "mask", "train")}
    assert len(keys) == 3
    assert stage_key("train", "x") == stage_key("train", "x") != stage_key("train", "y")


def test_a_snapshot_is_named_by_its_rows_alone() -> None:
    assert data_key({"train": "1", "test": "2"}) == data_key({"test": "2", "train": "1"})
    assert data_key({"train": "1"}) != data_key({"test": "1"})


def test_a_tasks_settings_hold_no_path() -> None:
    assert "/somewhere" not in str(task_settings(TASK))
