"""All of R under one read mode as a file: the JSON of `lori matrix --json`, and CSV."""

from collections.abc import Collection, Iterator
from dataclasses import asdict

from lori_core.forgetting import ScoreMatrix
from registry.matrix_view import MatrixCell, matrix_line
from registry.score_curves import Earlier, backward_terms, figures_of
from registry.score_grid import ScoreGrid


def grid_json(sequence: str, grid: ScoreGrid, covered: Collection[int]) -> dict[str, object]:
    """`lori matrix --json`, out of arrays.

    Args:
        sequence: its name.
        grid: R.
        covered: versions whose certificate covers this read.
    """
    rows = [_line(grid, k, covered) for k in range(grid.learned + 1)]
    values = tuple(
        tuple(None if cell.score is None else cell.score.value for cell in row) for row in rows
    )
    return {
        "sequence": sequence,
        "read": grid.read,
        "tasks": list(grid.tasks),
        "rows": [
            {
                "version": k,
                "task": grid.tasks[k - 1] if k else None,
                "cells": [_cell_json(cell) for cell in row],
            }
            for k, row in enumerate(rows)
        ],
        "summary": ScoreMatrix(grid.tasks, values).summary(),
        "terms": {name: asdict(terms) for name, terms in summary_terms(grid, covered).items()},
    }


def summary_terms(grid: ScoreGrid, covered: Collection[int]) -> dict[str, Earlier]:
    """How the terms of the two figures about earlier tasks are known, by the summary's names.

    Args:
        grid: R.
        covered: versions whose certificate covers this read.
    """
    figures = figures_of(grid, covered)
    return {
        "backward_transfer": backward_terms(grid, covered),
        "forgetting": figures[-1].earlier if figures else Earlier(),
    }


def grid_csv(grid: ScoreGrid, covered: Collection[int]) -> Iterator[str]:
    """R as CSV, one line a place of it, those that were not measured too.

    Args:
        grid: R.
        covered: versions whose certificate covers this read.
    """
    yield "read,version,learned,task,kind,value,low,high,n\n"
    for k in range(grid.learned + 1):
        learned = grid.tasks[k - 1] if k else ""
        lines = []
        for task, cell in zip(grid.tasks, _line(grid, k, covered), strict=True):
            score, figures = cell.score, ",,,"
            if score is not None:
                figures = f"{score.value!r},{score.low!r},{score.high!r},{score.n}"
            lines.append(f"{grid.read},{k},{learned},{task},{cell.kind},{figures}\n")
        yield "".join(lines)


def _line(grid: ScoreGrid, version: int, covered: Collection[int]) -> tuple[MatrixCell, ...]:
    return matrix_line(grid, version, 1, len(grid.tasks), covered)


def _cell_json(cell: MatrixCell) -> dict[str, object] | None:
    """A cell that was measured, and what it is, in the words of the CSV."""
    score = cell.score
    if score is None:
        return None
    return {
        "value": score.value,
        "n": score.n,
        "low": score.low,
        "high": score.high,
        "kind": cell.kind,
    }
