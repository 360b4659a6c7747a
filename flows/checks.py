"""What is checked of a task's rows before anything heavy is loaded."""

from collections.abc import Iterable, Sequence

from flows.plan import Plan
from lori_core.audit import Audit, audit_task
from lori_core.base_folder import base_family
from lori_core.config import TaskConfig
from lori_core.metrics import metric_named
from lori_core.task_rows import TaskRows, labels, load_task


def check_rows(plan: Plan, positions: Iterable[int]) -> None:
    """Read, render and audit the rows of the tasks at `positions` (from 1).

    Raises:
        BadInput: a metric that cannot be imported, a row without a needed field, a leak, a label
            outside the set, ... : the first thing that spoils a lesson or a measurement.
    """
    family = base_family(plan.config.base)
    for position in positions:
        task = plan.config.tasks[position - 1]
        metric_named(task.metric, plan.file.absolute().parent)
        rows, audit = audited(task)
        audit.refuse()
        if family == "encoder":
            labels(rows.train)


def audited(task: TaskConfig) -> tuple[TaskRows, Audit]:
    """A task's rows, rendered, and what is wrong with them."""
    rows = load_task(task, plainly)
    return rows, audit_task(rows, task)


def plainly(messages: Sequence[object]) -> str:
    """Messages as text, without the base's template: enough to audit them, too little to learn."""
    return "\n".join(str(message) for message in messages)
