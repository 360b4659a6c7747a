"""The stage that shows what LoRI is compared with: one plain LoRA, trained on the tasks in turn."""

from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from flows.reporter import Reporter
from flows.stages.bench import Bench
from flows.stages.learning import CHECKPOINTS, watching
from lori_core.baselines import SequentialLora, show
from lori_core.config import SequenceConfig, TaskConfig
from lori_core.evaluation import CellResult
from lori_core.sequence_file import sequence_from_json

Facts = dict[str, Any]


def baseline_stage(spec: Facts, folder: Path, reporter: Reporter) -> Facts:
    """Train one plain LoRA on every task in turn; score every task learned so far after each.

    Returns rows as R has them: after each task a cell for every task learned by then.
    """
    config = plain_lora(sequence_from_json(spec["sequence"]))
    work = Bench(config, spec["base"])
    plain = SequentialLora(work.model, work.ground())
    tasks = [at_rate(task, spec["learning_rates"][task.name]) for task in config.tasks]
    folders = [Path(each) for each in spec["data"]]
    rows: list[list[Facts]] = []
    for count, (task, data) in enumerate(zip(tasks, folders, strict=True), start=1):
        lesson = work.lesson(task, data)
        plain.learn(
            lesson, output=folder / CHECKPOINTS / task.name, watch=watching(reporter, task.training)
        )
        cells = []
        for seen, where in zip(tasks[:count], folders, strict=False):
            show(work.model, plain.state(seen.name))
            cells.append(_scored(work, seen, where, config.eval_rows, reporter))
        rows.append(cells)
    return {"files": {}, "rows": rows}


def plain_lora(config: SequenceConfig) -> SequenceConfig:
    """The sequence with its adapter replaced by a plain LoRA of the same rank on the same layers."""
    adapter = replace(
        config.adapter, method="lora", protection="separate", read="isolated", sparsity=None
    )
    return replace(config, adapter=adapter)


def at_rate(task: TaskConfig, learning_rate: float) -> TaskConfig:
    """The task at the baseline's own rate, for as many rows as LoRI's two phases see."""
    training = replace(
        task.training,
        learning_rate=learning_rate,
        num_train_epochs=2 * task.training.num_train_epochs,
    )
    return replace(task, training=training)


def _scored(
    work: Bench, task: TaskConfig, data: Path, eval_rows: int | None, reporter: Reporter
) -> Facts:
    rows = work.rows(task, data)

    def tell(done: int, total: int) -> None:
        reporter.progress(done, total, f"scoring {task.name}")

    result = work.score(task, rows, work.labels_of(rows), tell, eval_rows=eval_rows)
    return _facts(result)


def _facts(result: CellResult) -> Facts:
    return {
        "value": result.value,
        "n": result.n,
        "low": result.low,
        "high": result.high,
        "parts": {name: asdict(part) for name, part in result.parts.items()},
        "scores": [each.score for each in result.predictions],
    }
