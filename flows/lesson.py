"""One task on its way through the corridor: its place, its keys, and the orders for its stages."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flows.keys import stage_key, task_identity
from flows.running import Running
from flows.steps import Order, Result
from lori_core.config import TaskConfig
from lori_core.sequence_file import sequence_to_json


@dataclass(frozen=True, slots=True)
class TaskLesson:
    """What the stages of one task have in common."""

    run: Running

    position: int
    """Of the task, from 1; also the version it becomes."""

    identity: str
    """Digest of everything that decides the task's adapter."""

    earlier: tuple[Path, ...]
    """Folder of every version filed before, checked, in order."""

    @property
    def task(self) -> TaskConfig:
        """The task's settings."""
        return self.run.plan.config.tasks[self.position - 1]

    @property
    def chooses(self) -> bool:
        """Whether there are entries to choose: plain LoRA trains all of its own."""
        return self.run.plan.config.adapter.method == "lori"

    def order(self, stage: str, **before: Result) -> Order:
        """The order for one stage, which builds on the results of the stages named."""
        return self.order_under(stage_key(stage, self.identity), stage, before, {})

    def order_under(
        self, key: str, stage: str, before: Mapping[str, Result], more: Mapping[str, object]
    ) -> Order:
        """As `order`, under a key of the caller's and with more to be told."""
        home, plan = self.run.home, self.run.plan
        positions = range(1, len(plan.config.tasks) + 1)
        spec = {
            "home": str(home),
            "sequence": sequence_to_json(plan.config),
            "base": self.run.base,
            "position": self.position,
            "data": [str(plan.data_folder(home, each)) for each in positions],
            "earlier": [str(folder) for folder in self.earlier],
            "before": {name: str(home / result["folder"]) for name, result in before.items()},
            **more,
        }
        return Order(stage=stage, key=key, sequence=plan.name, task=self.task.name, spec=spec)


def arrive(run: Running, task: str) -> TaskLesson:
    """A task takes its place: after the versions filed before it, every file of theirs checked.

    Raises:
        DigestMismatch: a file of an earlier version is not what was filed.
    """
    plan = run.plan
    position = [each.name for each in plan.config.tasks].index(task) + 1
    filed = run.registry.versions(plan.name)[: position - 1]
    identity = task_identity(
        plan.config,
        position,
        base=run.base,
        data=plan.data[position - 1],
        earlier=[version.adapter_sha256 for version in filed],
    )
    earlier = tuple(run.registry.artifact_path(plan.name, each.version) for each in filed)
    return TaskLesson(run, position, identity, earlier)
