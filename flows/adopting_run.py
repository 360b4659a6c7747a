"""The work of an adoption: adopt, certify, evaluate, file; the corridor's own stages, one child."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.adopting import Adoption, Planned, plan_adoption, rows_of
from flows.deciding import judge, promote_as_allowed
from flows.edge import signals_end_this
from flows.filing import audit_note, certificate_record, learned_notes, mask_record
from flows.free_hand import refuse_free_plan
from flows.keys import stage_key
from flows.measuring import record_cells
from flows.prior_run import only_run
from flows.progress import Narrator
from flows.recorded import recorded
from flows.room import FullDiskTold, HomeOfARun
from flows.stage_process import StageProcess
from lori_core.peft_folder import read_peft_folder
from lori_core.sequence_file import sequence_to_json
from lori_core.task_rows import snapshot_measured
from registry.desks import acting, opened, refuse_unless_allowed
from registry.home import find_home
from registry.records import VersionRecord
from registry.roles import allow, may
from registry.store import Registry, open_registry

Facts = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Adopted:
    """Where a LoRA is now."""

    sequence: str

    version: int

    task: str

    already: bool
    """It was there before."""

    home: Path


def adopt(ask: Adoption, *, quiet: bool = False) -> Adopted:
    """Adopt a PEFT folder; asked again, say where it is.

    Raises:
        BadInput: it is no plain LoRA, not of this base or this sequence, or its rows are not right;
            nothing was changed.
        CheckFailed: who acts may not adopt.
    """
    source = read_peft_folder(ask.folder)
    home = find_home()
    with HomeOfARun(home) as place:
        refuse_unless_allowed(home, "adopt")
        planned = plan_adoption(ask, source, home)
        name, position = planned.plan.name, planned.position
        if planned.filed:
            return Adopted(name, position, ask.task, True, home)
        folder = planned.plan.file.parent
        named = rows_of(planned.task, planned.plan.config.base, folder)
        with signals_end_this():
            place.prepare()
            with FullDiskTold(home), _work(home, planned, quiet) as work:
                adopted = work.adopt(source.labels if named and source.labels else named)
                place.accept()
                with open_registry(home) as registry:
                    allow(acting(registry), "adopt")  # a store on a server was not asked before
                    if not may(acting(registry), "promote"):
                        refuse_free_plan(registry, planned.plan)
                    work.file(registry, adopted)
                    work.decide(registry)
    return Adopted(name, position, ask.task, False, home)


@contextmanager
def _work(home: Path, planned: Planned, quiet: bool) -> Iterator["_Work"]:
    name = planned.plan.name
    with (
        only_run(home, name) as record,
        StageProcess(home, name) as stages,
        Narrator(quiet=quiet) as narrator,
    ):
        record.add(stages.start())
        yield _Work(home, planned, stages, narrator)


@dataclass(frozen=True, slots=True)
class _Work:
    """One adoption, everything open."""

    home: Path

    planned: Planned

    stages: StageProcess

    narrator: Narrator

    def adopt(self, labels: tuple[str, ...]) -> Facts:
        """The LoRA as a task adapter of ours, held against the base."""
        source = self.planned.source
        about = {"folder": source.path.name, "files": dict(source.digests), "base": source.base}
        more = {
            "peft": str(source.path.absolute()),
            "source": about,
            "task": self.planned.task.name,
            "labels": list(labels),
        }
        return self._run("adopt", {**self._spec(self.planned.plan.config, ""), **more})

    def file(self, registry: Registry, adopted: Facts) -> None:
        """Declare, certify, evaluate and file."""
        plan, position, task = self.planned.plan, self.planned.position, self.planned.task
        base = adopted["base"]
        record, told = plan.sequence_record(base), self.planned.task_record()
        registry.refuse_changes(record, [told])
        snapshot_measured(task, plan.data_folder(self.home, position))
        registry.declare_sequence(record)
        registry.declare_task(plan.name, told)
        spec = self._spec(recorded(registry, plan.name).config(), base)
        spec["before"] = {"train": adopted["folder"]}
        certified = self._run("certify", spec)
        spec["before"]["certify"] = certified["folder"]
        self._measure(registry, base, spec)
        version = VersionRecord(
            sequence=plan.name,
            version=position,
            task=task.name,
            adapter_sha256=adopted["adapter_sha256"],
            mask=mask_record(adopted),
            certificate=certificate_record("isolated", certified, Path(certified["folder"])),
            params={"task": task.name, "adopted_from": self.planned.source.path.name},
            notes=learned_notes(
                None, adopted, audit_note(task, plan.data_folder(self.home, position), adopted=True)
            ),
        )
        self.narrator.begin(f"{task.name}: file")
        registry.file_version(version, Path(certified["folder"]) / "version")
        self.narrator.end(f"as {plan.name}/{position}")
        for stage in (adopted, certified):  # the version holds what came of them
            shutil.rmtree(stage["folder"], ignore_errors=True)

    def decide(self, registry: Registry) -> None:
        """Judge the version and promote it as far as the sequence allows, as `lori run` does."""
        name, version = self.planned.plan.name, self.planned.position
        desk = opened(registry, acting(registry)).desk
        self.narrator.begin(f"{self.planned.task.name}: gate")
        verdict = judge(desk, name, version)
        self.narrator.end("passed" if verdict.ok else "refused")
        allowed = self.planned.plan.config.promotion
        for line in promote_as_allowed(desk, name, version, verdict, allowed):
            self.narrator.say(f"  {line}")

    def _measure(self, registry: Registry, base: str, spec: Facts) -> None:
        """The version's row of R and its guards, those cells scored that nobody knows."""
        plan = self.planned.plan
        tests = {t.name: dict(d) for t, d in zip(plan.config.tasks, plan.data, strict=True)}
        spec = {**spec, "tests": tests, "metric_folder": str(plan.file.parent), "cells": []}
        cells = self._run("cells", spec)["cells"]
        unknown = [cell for cell in cells if registry.known_cell(cell["key"]) is None]
        results: dict[str, Facts] = {}
        if unknown:
            results = self._run("evaluate", {**spec, "cells": unknown})["results"]
        record_cells(registry, plan.name, base, tests, cells, results)

    def _spec(self, config: Any, base: str) -> Facts:
        plan, position = self.planned.plan, self.planned.position
        positions = range(1, len(plan.data) + 1)
        return {
            "home": str(self.home),
            "sequence": sequence_to_json(config),
            "base": base,
            "position": position,
            "data": [str(plan.data_folder(self.home, each)) for each in positions],
            "earlier": [str(folder) for folder in self.planned.earlier],
            "before": {},
        }

    def _run(self, stage: str, spec: Facts) -> Facts:
        plan = self.planned.plan
        digests = sorted(self.planned.source.digests.values())
        key = stage_key(stage, plan.name, str(self.planned.position), *digests)
        folder = self.home / "stages" / f"{stage}-{key[:16]}"
        if stage == "adopt":  # may refuse, and then says so in one line and nothing else
            found = self.stages.run(stage, folder, spec, lambda progress: None)
        else:
            self.narrator.begin(f"{self.planned.task.name}: {stage}")
            found = self.stages.run(stage, folder, spec, self.narrator.progress)
            self.narrator.end()
        return {**found, "folder": str(folder)}
