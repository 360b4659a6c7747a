"""Measure a version: score the cells nobody has scored yet, and record every one at its place."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from flows.evaluate_cells import helpers
from flows.keys import stage_key
from flows.lesson import TaskLesson
from flows.steps import Order, Result, done, evaluate, keep_rows
from registry.records import Cell
from registry.store import Registry

CellFacts = dict[str, Any]


def measure(lesson: TaskLesson, certified: Result) -> None:
    """Give a version its row of R, the base its row, and every guard its cells.

    A cell is known by the digest of all that decides it; one that was ever scored is not run again.
    """
    run = lesson.run
    for position in range(1, len(run.plan.config.tasks) + 1):
        keep_rows(run, position)
    cells = keyed_cells(lesson, certified)
    unknown = [cell for cell in cells if run.registry.known_cell(cell["key"]) is None]
    keys = sorted({cell["key"] for cell in cells})
    results = _evaluated(lesson, certified, keys, unknown)
    missing = [cell for cell in unknown if cell["key"] not in results]
    if missing:  # a registry that lost cells which Prefect remembers as scored
        keys = sorted({cell["key"] for cell in missing})
        results |= _evaluated(lesson, certified, keys, missing)
    record_cells(run.registry, run.plan.name, run.base, _tests(lesson), cells, results)


def keyed_cells(lesson: TaskLesson, certified: Result) -> list[CellFacts]:
    """The cells this version needs, with their keys."""
    run = lesson.run
    order = _order(lesson, certified, [], "cells", [])
    folder = run.home / "stages" / f"cells-{order['key'][:16]}"
    found = run.stages.run("cells", folder, order["spec"], lambda progress: None)
    cells: list[CellFacts] = found["cells"]
    return cells


def record_cells(
    registry: Registry,
    sequence: str,
    base: str,
    tests: dict[str, dict[str, str]],
    cells: Sequence[CellFacts],
    results: dict[str, CellFacts],
) -> None:
    """Write each cell at its place, from what was scored now or known before."""
    for cell in cells:
        place = {
            "key": cell["key"],
            "sequence": sequence,
            "version": cell["row_version"],
            "task": cell["task"],
            "read": cell["read"],
            "adapter_of": cell["adapter_of"],
            "base_digest": base,
            "effective_digest": cell["effective"],
            "test_digest": tests[cell["task"]]["test"],
        }
        scored = results.get(cell["key"])
        if scored is None:
            known = registry.known_cell(cell["key"])
            assert known is not None
            registry.record_cell(replace(known, **place))
        else:
            registry.record_cell(Cell(**place, **scored))


def _evaluated(
    lesson: TaskLesson, certified: Result, keys: list[str], cells: list[CellFacts]
) -> dict[str, CellFacts]:
    if not cells:
        return {}
    order = _order(lesson, certified, cells, "evaluate", keys)
    folder = lesson.run.folder("evaluate", order["key"]).name
    with helpers(lesson.run, lesson.task, folder):
        results: dict[str, CellFacts] = done(evaluate, order)["results"]
    return results


def _order(
    lesson: TaskLesson,
    certified: Result,
    cells: list[CellFacts],
    stage: str,
    keys: list[str],
) -> Order:
    more = {
        "cells": cells,
        "metric_folder": str(lesson.run.plan.file.absolute().parent),
        "tests": _tests(lesson),
        "workers": lesson.task.resources.evaluate_workers,
    }
    key = stage_key(stage, lesson.identity, *keys)
    return lesson.order_under(key, stage, {"certify": certified}, more)


def _tests(lesson: TaskLesson) -> dict[str, dict[str, str]]:
    plan = lesson.run.plan
    return {
        task.name: dict(digests) for task, digests in zip(plan.config.tasks, plan.data, strict=True)
    }
