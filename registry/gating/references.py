"""Single-task references: what a task reaches when nothing else was learned before it.

One is recorded where another sequence learned the same task (same base, data and settings) first of
all, or under `protection: separate`, where tasks never meet.
"""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import select

from registry import lineage
from registry.gating.cells import COLUMNS, Measured
from registry.models import Evaluation, Sequence, Task
from registry.store import Registry


@dataclass(frozen=True, slots=True)
class Reference:
    """What a task reached alone, in another sequence."""

    sequence: str
    cell: Measured

    def __str__(self) -> str:
        """Say whose, where."""
        return f"{self.sequence}'s R[{self.cell.version}, {self.cell.task}]"


def single_task_references(registry: Registry, sequence: str) -> Callable[[str], Reference | None]:
    """Task of `sequence` -> the best-scoring cell of a single-task reference, or None."""

    def reference(name: str) -> Reference | None:
        with registry._database.reading() as session:
            own = lineage.known_sequence(session, sequence)
            mine = session.scalars(
                select(Task).where(Task.sequence_id == own.id, Task.name == name)
            ).one()
            rows = session.execute(
                select(Task, Sequence, *COLUMNS)
                .join(Sequence, Sequence.id == Evaluation.sequence_id)
                .join(Task, (Task.sequence_id == Sequence.id) & (Task.name == Evaluation.task))
                .where(
                    Sequence.name != sequence,
                    Evaluation.base_digest == own.base_digest,
                    Evaluation.test_digest == str(mine.data.get("test")),
                    Evaluation.adapter_of == "",
                    Evaluation.version == Task.position,
                )
                .order_by(Evaluation.value.desc(), Evaluation.id)
            )
            for task, owner, *cell in rows:
                alone = task.position == 1 or owner.adapter.get("protection") == "separate"
                settings = {**task.config, "name": mine.name} == {**mine.config, "name": mine.name}
                if alone and settings and task.data == mine.data:
                    return Reference(owner.name, Measured._make(cell))
        return None

    return reference
