"""A stage that two processes share: its spec, and a program that runs it until it is killed."""

import sys
from dataclasses import replace
from pathlib import Path

from flows.stage_process import StageProcess
from flows.stage_protocol import StageProgress
from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    ResourcesConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)
from lori_core.sequence_file import sequence_to_json
from lori_core.task_rows import snapshot_task
from tests.flows.tiny import rows, tiny_base, write_rows

TWO = ResourcesConfig(processes=2)
FOR_EVER = 10_000.0


def calibrate_spec(folder: Path, *, epochs: float) -> dict[str, object]:
    """What the child is told to calibrate the tiny task `color`, in steps of six rows."""
    if not (folder / "base" / "config.json").exists():
        tiny_base(folder / "base")
    source = DataSource(path=str(write_rows(folder / "rows.jsonl", rows("color", "train", 48))))
    training = TrainingConfig(
        train_batch_size=6, num_train_epochs=epochs, learning_rate_dense=1e-2, max_length=32
    )
    task = TaskConfig(name="color", train=source, test=source, training=training, resources=TWO)
    config = SequenceConfig(
        sequence="s",
        base=BaseConfig(path=str(folder / "base")),
        adapter=AdapterConfig(r=8, tasks_planned=4),
        tasks=(replace(task, allow_leak=True),),
    )
    snapshot_task(task, folder / "data")
    return {
        "home": str(folder),
        "sequence": sequence_to_json(config),
        "base": "b" * 64,
        "position": 1,
        "data": [str(folder / "data")],
        "earlier": [],
        "before": {},
    }


def main(folder: str) -> None:
    """Calibrate for ever in two processes; say a word once they do."""
    home = Path(folder)

    def told(progress: StageProgress) -> None:
        (home / "works").touch()

    with StageProcess(home, "s") as stages:
        spec = calibrate_spec(home, epochs=FOR_EVER)
        stages.run("calibrate", home / "stage", spec, told, TWO)


if __name__ == "__main__":
    main(*sys.argv[1:])
