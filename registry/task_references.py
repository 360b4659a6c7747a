"""What each task of a sequence reaches alone, of all tasks at once: one statement, for pages.

The rule is that of `registry.gating.references`, which asks for one task at a time.
"""

from collections.abc import Collection, Mapping

from sqlalchemy import or_, select
from sqlalchemy.orm import Session, aliased

from registry.models import Evaluation, Sequence, Task
from registry.score_changes import SCORED, Alone, scored


def task_references(session: Session, own: Sequence, tasks: Collection[str]) -> Mapping[str, Alone]:
    """Task -> the best-scoring cell of a single-task reference; tasks without one are left out.

    Args:
        session: an open one.
        own: whose tasks.
        tasks: those that are asked about.
    """
    mine = aliased(Task)
    rows = session.execute(
        select(mine.name, mine.config, mine.data, Task.config, Task.data, Sequence.name, *SCORED)
        .select_from(mine)
        .join(Evaluation, Evaluation.test_digest == mine.data["test"].as_string())
        .join(Sequence, Sequence.id == Evaluation.sequence_id)
        .join(Task, (Task.sequence_id == Sequence.id) & (Task.name == Evaluation.task))
        .where(
            mine.sequence_id == own.id,
            mine.name.in_(sorted(tasks)),
            Sequence.id != own.id,
            Evaluation.base_digest == own.base_digest,
            Evaluation.adapter_of == "",
            Evaluation.version == Task.position,
            or_(Task.position == 1, Sequence.adapter["protection"].as_string() == "separate"),
        )
        .order_by(Evaluation.value.desc(), Evaluation.id)
    )
    found: dict[str, Alone] = {}
    for task, config, data, their_config, their_data, owner, *cell in rows:
        settings = {**their_config, "name": task} == {**config, "name": task}
        if task not in found and settings and their_data == data:
            found[task] = Alone(sequence=owner, scored=scored(cell))
    return found
