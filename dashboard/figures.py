"""What the registry holds, in the shapes that programs read: `lori ... --json` and `/api/` alike.

Outside code is written against these keys; values are fractions.
"""

from collections.abc import Sequence

from dashboard.whole_matrix import grid_json, summary_terms
from lori_core.forgetting import ScoreMatrix
from registry.records import FiledVersion, MatrixCells
from registry.score_curves import Earlier
from registry.score_grid import grid_of_cells


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
    return grid_json(cells.sequence, grid_of_cells(cells), cells.covered)


def matrix_terms(cells: MatrixCells) -> dict[str, Earlier]:
    """How the terms of the summary's forgetting and backward transfer are known."""
    return summary_terms(grid_of_cells(cells), cells.covered)


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
