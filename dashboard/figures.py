"""What the registry holds, in the shapes that programs read: `lori ... --json` and `/api/` alike.

Outside code is written against these keys; values are fractions.
"""

from collections.abc import Sequence

from lori_core.forgetting import ScoreMatrix
from registry.records import Cell, FiledVersion, MatrixCells


def score_matrix(cells: MatrixCells) -> ScoreMatrix:
    """R as numbers."""
    return ScoreMatrix(
        cells.tasks,
        tuple(
            tuple(None if cell is None else cell.value for cell in row.cells) for row in cells.rows
        ),
    )


def matrix_json(cells: MatrixCells) -> dict[str, object]:
    """`lori matrix --json`."""
    return {
        "sequence": cells.sequence,
        "read": cells.read,
        "tasks": list(cells.tasks),
        "rows": [
            {
                "version": row.version,
                "task": row.task,
                "cells": [None if cell is None else _cell_json(cell) for cell in row.cells],
            }
            for row in cells.rows
        ],
        "summary": score_matrix(cells).summary(),
    }


def versions_json(versions: Sequence[FiledVersion]) -> list[dict[str, object]]:
    """`lori versions --json`."""
    return [
        {
            "version": each.version,
            "task": each.task,
            "state": each.state,
            "adapter_sha256": each.adapter_sha256,
            "mask_sha256": each.mask_sha256,
            "certificate": each.certificate,
            "model_version": each.model_version,
        }
        for each in versions
    ]


def _cell_json(cell: Cell) -> dict[str, object]:
    return {"value": cell.value, "n": cell.n, "low": cell.low, "high": cell.high}
