"""All of R under one read mode as a file: the JSON of `lori matrix --json`, and CSV."""

from collections.abc import Collection, Iterator

from lori_core.forgetting import ScoreMatrix
from registry.matrix_view import MatrixCell, Score, matrix_line
from registry.score_grid import ScoreGrid


def grid_json(sequence: str, grid: ScoreGrid) -> dict[str, object]:
    """`lori matrix --json`, out of arrays."""
    scores = [[cell.score for cell in _line(grid, k, ())] for k in range(grid.learned + 1)]
    values = tuple(tuple(None if score is None else score.value for score in row) for row in scores)
    return {
        "sequence": sequence,
        "read": grid.read,
        "tasks": list(grid.tasks),
        "rows": [
            {
                "version": k,
                "task": grid.tasks[k - 1] if k else None,
                "cells": [None if score is None else _score_json(score) for score in row],
            }
            for k, row in enumerate(scores)
        ],
        "summary": ScoreMatrix(grid.tasks, values).summary(),
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


def _score_json(score: Score) -> dict[str, object]:
    return {"value": score.value, "n": score.n, "low": score.low, "high": score.high}
