"""Single-task references: what a task reaches when nothing else was learned before it.

One is recorded where another sequence learned the same task (same base, data and settings) first of
all, or under `protection: separate`, where tasks never meet.
"""

from collections.abc import Callable

from sqlalchemy import select

from registry import lineage
from registry.models import Evaluation, Sequence, Task
from registry.records import Cell
from registry.store import Registry


def single_task_references(registry: Registry, sequence: str) -> Callable[[str], Cell | None]:
    """Task of `sequence` -> the best-scoring cell of a single-task reference, or None."""
    base = registry.sequence(sequence).base_digest
    tasks = {task.name: task for task in registry.tasks(sequence)}

    def reference(name: str) -> Cell | None:
        mine = tasks[name]
        with registry._database.reading() as session:
            rows = session.execute(
                select(Evaluation, Task, Sequence)
                .join(Sequence, Sequence.id == Evaluation.sequence_id)
                .join(Task, (Task.sequence_id == Sequence.id) & (Task.name == Evaluation.task))
                .where(
                    Sequence.name != sequence,
                    Evaluation.base_digest == base,
                    Evaluation.test_digest == str(mine.data.get("test")),
                    Evaluation.adapter_of == "",
                    Evaluation.version == Task.position,
                )
                .order_by(Evaluation.value.desc(), Evaluation.id)
            )
            for cell, task, owner in rows:
                alone = task.position == 1 or owner.adapter.get("protection") == "separate"
                settings = {**task.config, "name": mine.name} == {**mine.config, "name": mine.name}
                if alone and settings and task.data == mine.data:
                    return lineage.cell_record(cell, owner.name)
        return None

    return reference
