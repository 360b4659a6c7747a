"""One plain sequential LoRA beside a learned sequence: trained once, kept, shown as it is."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.keys import METHOD, stage_key
from flows.prior_run import only_run
from flows.progress import Narrator
from flows.recorded import Recorded
from flows.stage_process import StageProcess
from flows.stage_protocol import RESULT, read_result
from lori_core.digests import sha256_json
from lori_core.errors import BadInput
from lori_core.sequence_file import sequence_to_json


@dataclass(frozen=True, slots=True)
class Baseline:
    """The settings of the comparison, chosen once and recorded in a file."""

    learning_rates: Mapping[str, float]
    """task -> the rate it is trained at."""

    chosen: str
    """How the rates were chosen, in a sentence."""


def read_baseline(file: Path) -> Baseline:
    """Read the file that records the baseline's learning rates.

    Raises:
        BadInput: it is missing or not what it should be.
    """
    try:
        content: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        rates = {str(task): float(rate) for task, rate in content["learning_rates"].items()}
        return Baseline(rates, str(content["chosen"]))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(
            f"{file}: {error}", "the baseline's learning_rates and how they were chosen"
        ) from error


def sequential_lora(found: Recorded, baseline: Baseline) -> list[list[dict[str, Any]]]:
    """Rows of R of one plain LoRA trained on the sequence's tasks in turn; cells up to the diagonal."""
    config = found.config()
    settings, rates = sequence_to_json(config), dict(baseline.learning_rates)
    key = stage_key(
        "baseline",
        sha256_json(METHOD),
        found.record.base_digest,
        sha256_json([settings["adapter"], [dict(task.config) for task in found.tasks]]),
        sha256_json([dict(task.data) for task in found.tasks]),
        sha256_json([rates, config.eval_rows]),
    )
    folder = found.home / "stages" / f"baseline-{key[:16]}"
    if (folder / RESULT).is_file():
        rows: list[list[dict[str, Any]]] = read_result(folder)["rows"]
        return rows
    spec = {
        "sequence": settings,
        "base": found.record.base_digest,
        "data": [str(found.data_folder(task.position)) for task in found.tasks],
        "learning_rates": rates,
    }
    with (
        only_run(found.home, found.name) as record,
        StageProcess(found.home, found.name) as stages,
        Narrator() as narrator,
    ):
        record.add(stages.start())
        narrator.begin("plain LoRA on the tasks in turn")
        rows = stages.run("baseline", folder, spec, narrator.progress)["rows"]
        narrator.end()
    return rows
