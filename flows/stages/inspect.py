"""The stage that looks at everything before anything is learned: what needs the base to be known."""

from pathlib import Path
from typing import Any

from flows.reporter import Reporter
from flows.stages.bench import bench
from lori_core.adapters import adapter_shapes, refuse_wide_rank
from lori_core.base import load_tokenizer, meta_model
from lori_core.base_identity import identify_base
from lori_core.capacity import plan_capacity
from lori_core.config import SequenceConfig, task_sparsity
from lori_core.errors import BadInput
from lori_core.evaluation import answer_length
from lori_core.metrics import metric_named
from lori_core.sequence_file import sequence_from_json
from lori_core.task_rows import load_task


def inspect_stage(spec: dict[str, Any], folder: Path, reporter: Reporter) -> dict[str, Any]:
    """Plan capacity, identify and load the base, and see that the rows of every new task fit.

    Raises:
        BadInput: the base is not one we can use, layers are unknown or narrower than r, the tasks
            need more entries than there are, or a task's rows do not fit.
    """
    config = sequence_from_json(spec["sequence"])
    base = config.base
    shapes = adapter_shapes(meta_model(base), config.adapter)
    refuse_wide_rank(shapes, config.adapter.r)
    load_tokenizer(base)
    sparsities = [task_sparsity(config.adapter, task) for task in config.tasks]
    plan = plan_capacity(shapes, config.adapter, sparsities)
    identity = identify_base(base.path, base.revision, base.dtype)  # reads every weight
    metrics = Path(spec["metric_folder"])
    fits = [_fits(config, identity.digest, each, metrics) for each in spec["positions"]]
    _ = bench(config, identity.digest).reference_model  # weights that do not fit its config.json
    return {"base": identity.digest, "entries": plan.total, "tasks": fits}


def _fits(
    config: SequenceConfig, base_digest: str, position: int, metric_folder: Path
) -> dict[str, Any]:
    task = config.tasks[position - 1]
    work = bench(config, base_digest)
    if task.resources.gpus and work.device == "cpu":
        raise BadInput(
            f"tasks.{task.name}.resources.gpus is {task.resources.gpus} and this host shows no GPU",
            "a GPU for each training process",
            "Say `gpus: 0`, or `lori submit` it to a worker that has them.",
        )
    rows = load_task(task, work.chat)
    known = work.labels_of(rows)
    encoded = work.encode(task, rows.train, known)
    if work.family == "encoder":
        work.encode(task, rows.test, known)
    else:
        answer_length(task, work.tokenizer, metric_named(task.metric, metric_folder))
    return {
        "task": task.name,
        "rows": len(encoded.rows),
        "cut": encoded.cut,
        "dropped": len(encoded.dropped),
        "test": len(rows.test),
    }
