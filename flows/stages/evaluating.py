"""The stages that score: which cells a version needs and under which keys, and the scoring itself.

A scored cell is kept in `HOME/cells/<key>.json` the moment it is known, and every row's answer in
`HOME/predictions/<sha256>.jsonl`: a run that is killed in the middle of a row of R loses one cell.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from flows.cell_claims import POLL_SECONDS, Claims, side_by_side
from flows.reporter import Reporter
from flows.stages.bench import Assignment, Bench, assignment, bench, shared_adapter
from flows.stages.certifying import VERSION
from lori_core.adapters import read_b, write_b
from lori_core.cells import CellKey, Served, cell_digest, needed_cells, read_modes, served_in
from lori_core.config import TaskConfig
from lori_core.digests import sha256_bytes, sha256_file, sha256_json, write_atomic, write_json
from lori_core.effective import load_effective
from lori_core.evaluation import CellResult
from lori_core.generation import stop_ids
from lori_core.heads import load_head
from lori_core.metrics import metric_named
from lori_core.shared_adapter import NO_ADAPTER, EffectiveAdapter, SharedAdapter
from lori_core.tensor_digests import sha256_tensors

Facts = dict[str, Any]


@dataclass(frozen=True)
class Scoring:
    """A version whose cells are scored."""

    told: Assignment

    work: Bench

    shared: SharedAdapter

    metric_folder: Path
    """Where one's own metrics may lie: beside the sequence file."""

    tests: Mapping[str, Mapping[str, str]]
    """task -> role -> digest of its rows."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all tasks."""
        return tuple(task.name for task in self.told.config.tasks)

    def task(self, name: str) -> TaskConfig:
        """A task by name."""
        return self.told.config.tasks[self.names.index(name)]

    def effective(self, served: Served | None) -> EffectiveAdapter | None:
        """What is in the model while a cell is scored; None for the bare base."""
        if served is None:
            return None
        return self.shared.effective(served.position, served.version, served.read)

    def keyed(self, cell: CellKey) -> Facts:
        """A cell with everything that identifies it."""
        effective = self.effective(served_in(cell, self.names))
        digest = None if effective is None or effective.digest == NO_ADAPTER else effective.digest
        task = self.task(cell.task)
        metric = metric_named(task.metric, self.metric_folder)
        writes = self.work.family == "causal" and metric.asks != "choose"
        key = cell_digest(
            base=self.told.base_digest,
            effective=digest,
            task=task,
            tests=self.tests[cell.task],
            metric_version=metric.version,
            eval_rows=self.told.config.eval_rows,
            seed=self.told.config.adapter.seed,
            stop=stop_ids(self.work.model, self.work.tokenizer) if writes else (),
        )
        if self.work.family == "encoder" and cell.adapter_of is not None:
            own = self.shared.adapter_of(cell.task).head or {}
            key = sha256_json([key, sha256_tensors(own)])  # its own head, under another's adapter
        return {**asdict(cell), "key": key, "effective": digest}


def cells_stage(spec: dict[str, Any], folder: Path, reporter: Reporter) -> Facts:
    """The cells a version needs, or those asked for, each with its key."""
    scoring = _scoring(spec)
    asked = spec.get("reads")
    config = scoring.told.config
    reads = tuple(asked) if asked else read_modes(config.adapter)
    cells = needed_cells(
        scoring.names,
        scoring.told.position,
        reads,
        evaluate=config.evaluate,
        guards=config.guards if reads[0] == config.adapter.read else (),
        family=scoring.work.family,
    )
    return {"cells": [scoring.keyed(cell) for cell in cells]}


def evaluate_stage(spec: dict[str, Any], folder: Path, reporter: Reporter) -> Facts:
    """Score the cells the registry does not know; of each key one."""
    scoring = _scoring(spec)
    home = scoring.told.home
    wanted: dict[str, Facts] = {cell["key"]: cell for cell in spec["cells"]}
    numbers = {key: f"{number}/{len(wanted)}" for number, key in enumerate(wanted, start=1)}

    def score(key: str, still: Callable[[], None]) -> None:
        kept = _scored(scoring, wanted[key], numbers[key], reporter, still)
        write_json(home / "cells" / f"{key}.json", kept)

    def wait(missing: int) -> None:
        reporter.progress(0, missing, f"waiting for {missing} cells that others score")
        time.sleep(POLL_SECONDS)

    side_by_side(
        tuple(wanted),
        scored=lambda key: _kept(home, key) is not None,
        score=score,
        claims=Claims(home / "cells") if spec.get("workers", 1) > 1 else None,
        wait=None if spec.get("helper") else wait,
    )
    found = {key: _kept(home, key) for key in wanted}
    return {"files": {}, "results": {key: kept for key, kept in found.items() if kept}}


def _scoring(spec: dict[str, Any]) -> Scoring:
    told = assignment(spec)
    newest = spec.get("version")
    version = Path(newest) if newest else told.before["certify"] / VERSION
    return Scoring(
        told=told,
        work=bench(told.config, told.base_digest),
        shared=shared_adapter((*told.earlier, version)),
        metric_folder=Path(spec["metric_folder"]),
        tests=spec["tests"],
    )


def _scored(
    scoring: Scoring, cell: Facts, number: str, reporter: Reporter, still: Callable[[], None]
) -> Facts:
    """Score one cell and keep its predictions; `still` is called as long as it goes on."""
    work, told = scoring.work, scoring.told
    key = CellKey(
        row_version=cell["row_version"],
        task=cell["task"],
        read=cell["read"],
        adapter_of=cell["adapter_of"],
    )
    place = "base" if key.row_version == 0 else f"version {key.row_version}"
    under = f" under {key.adapter_of}" if key.adapter_of else ""
    text = f"cell {number}: {key.task}{under}, {place}, {key.read}"

    def tell(done: int, total: int) -> None:
        still()
        reporter.progress(done, total, text)

    task = scoring.task(key.task)
    rows = work.rows(task, told.data[scoring.names.index(key.task)])
    effective = scoring.effective(served_in(key, scoring.names))
    if effective is None:
        write_b(work.model, {n: torch.zeros_like(b) for n, b in read_b(work.model).items()})
    else:
        load_effective(work.model, effective)
    classes: Sequence[str] = ()
    if work.family == "encoder":
        own = scoring.shared.adapter_of(key.task)
        classes = own.labels
        if own.head is not None:  # a guard's own head, under another task's adapter
            load_head(work.model, own.head)
    result = work.score(
        task,
        rows,
        classes,
        tell,
        eval_rows=told.config.eval_rows,
        metric_folder=scoring.metric_folder,
    )
    return _facts(told.home, result)


def _facts(home: Path, result: CellResult) -> Facts:
    lines = [json.dumps(asdict(each), sort_keys=True) for each in result.predictions]
    data = "".join(f"{line}\n" for line in lines).encode()
    digest = sha256_bytes(data)
    path = Path("predictions") / f"{digest}.jsonl"
    write_atomic(home / path, data)
    return {
        "value": result.value,
        "n": result.n,
        "low": result.low,
        "high": result.high,
        "metric": result.metric,
        "metric_version": result.metric_version,
        "parts": {
            **{name: asdict(part) for name, part in result.parts.items()},
            "cut": result.cut,
            "dropped": result.dropped,
        },
        "predictions": str(path),
        "predictions_sha256": digest,
    }


def _kept(home: Path, key: str) -> Facts | None:
    """A cell scored before, if its predictions are still what they were."""
    path = home / "cells" / f"{key}.json"
    if not path.is_file():
        return None
    kept: Facts = json.loads(path.read_text(encoding="utf-8"))
    answers = home / kept["predictions"]
    if not answers.is_file() or sha256_file(answers) != kept["predictions_sha256"]:
        return None
    return kept
