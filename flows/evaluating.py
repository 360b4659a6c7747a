"""Score a recorded sequence under a read mode, without its sequence file and without Prefect."""

from typing import Any

from flows.keys import stage_key
from flows.measuring import record_cells
from flows.prior_run import only_run
from flows.progress import Narrator
from flows.recorded import Recorded
from flows.room import FullDiskTold
from flows.stage_process import StageProcess
from lori_core.config import Read
from lori_core.sequence_file import sequence_to_json


def evaluate_read(found: Recorded, read: Read, *, quiet: bool = False) -> int:
    """Have every cell of R under one read mode; returns how many had to be scored.

    Raises:
        BadInput: the sequence is being learned now.
    """
    home, registry = found.home, found.registry
    scored = 0
    with (
        FullDiskTold(home),
        only_run(home, found.name) as record,
        StageProcess(home, found.name) as stages,
        Narrator(quiet=quiet) as narrator,
    ):
        record.add(stages.start())
        for version in range(1, len(found.versions) + 1):
            narrator.begin(f"{found.name}/{version}: {read} read")
            spec = _spec(found, version, read)
            key = stage_key("cells", found.versions[version - 1].adapter_sha256, read)
            folder = home / "stages" / f"cells-{key[:16]}"
            cells = stages.run("cells", folder, spec, narrator.progress)["cells"]
            unknown = [cell for cell in cells if registry.known_cell(cell["key"]) is None]
            results: dict[str, dict[str, Any]] = {}
            if unknown:
                folder = home / "stages" / f"evaluate-{key[:16]}"
                more = {**spec, "cells": unknown}
                results = stages.run("evaluate", folder, more, narrator.progress)["results"]
            base, tests = found.record.base_digest, spec["tests"]
            record_cells(registry, found.name, base, tests, cells, results)
            scored += len(results)
            narrator.end()
    return scored


def _spec(found: Recorded, version: int, read: Read) -> dict[str, Any]:
    folders = found.folders(version)
    return {
        "home": str(found.home),
        "sequence": sequence_to_json(found.config()),
        "base": found.record.base_digest,
        "position": version,
        "data": [str(found.data_folder(task.position)) for task in found.tasks],
        "earlier": [str(folder) for folder in folders[:-1]],
        "version": str(folders[-1]),
        "before": {},
        "reads": [read],
        "tests": {task.name: dict(task.data) for task in found.tasks},
        "metric_folder": found.record.settings["metric_folder"],
        "cells": [],
    }
