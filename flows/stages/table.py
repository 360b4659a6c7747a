"""Which function runs which stage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flows.reporter import Reporter
from flows.stages.adopting import adopt_stage
from flows.stages.baseline import baseline_stage
from flows.stages.certifying import certify_stage
from flows.stages.evaluating import cells_stage, evaluate_stage
from flows.stages.inspect import inspect_stage
from flows.stages.learning import calibrate_stage, mask_stage, train_stage

Stage = Callable[[dict[str, Any], Path, Reporter], dict[str, Any]]

STAGES: dict[str, Stage] = {
    "inspect": inspect_stage,
    "adopt": adopt_stage,
    "calibrate": calibrate_stage,
    "mask": mask_stage,
    "train": train_stage,
    "certify": certify_stage,
    "cells": cells_stage,
    "evaluate": evaluate_stage,
    "baseline": baseline_stage,
}
"""Name -> the function that runs it in the training child."""
