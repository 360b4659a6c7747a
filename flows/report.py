"""Tables for people, on stdout. Numbers are printed as percent; JSON holds fractions."""

import json
import sys
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table

from lori_core.forgetting import ScoreMatrix
from registry.records import Cell, FiledVersion, MatrixCells

SUMMARY = (
    "average_accuracy",
    "learning_accuracy",
    "average_incremental_accuracy",
    "backward_transfer",
    "forgetting",
    "forward_transfer",
)


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, sort_keys=False, allow_nan=False))


def print_table(table: Table) -> None:
    """A table on stdout, as wide as it needs to be where there is no terminal."""
    console = Console(file=sys.stdout, highlight=False)
    if not console.is_terminal:
        console = Console(file=sys.stdout, highlight=False, width=160)
    console.print(table)


def score_matrix(cells: MatrixCells) -> ScoreMatrix:
    """R as numbers."""
    return ScoreMatrix(
        cells.tasks,
        tuple(
            tuple(None if cell is None else cell.value for cell in row.cells) for row in cells.rows
        ),
    )


def summary(matrix: ScoreMatrix) -> dict[str, float | None]:
    """The six figures of a matrix."""
    return {
        "average_accuracy": matrix.average_accuracy(),
        "learning_accuracy": matrix.learning_accuracy(),
        "average_incremental_accuracy": matrix.average_incremental_accuracy(),
        "backward_transfer": matrix.backward_transfer(),
        "forgetting": matrix.forgetting(),
        "forward_transfer": matrix.forward_transfer(),
    }


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
        "summary": summary(score_matrix(cells)),
    }


def matrix_table(cells: MatrixCells, *, title: str) -> Table:
    """R with the interval of every cell."""
    table = Table(title=title, title_justify="left")
    table.add_column("after")
    for task in cells.tasks:
        table.add_column(task, justify="right")
    for row in cells.rows:
        name = "base" if row.task is None else f"{row.version} {row.task}"
        table.add_row(name, *(cell_text(cell) for cell in row.cells))
    return table


def cell_text(cell: Cell | None) -> str:
    """`93.8 [88.1, 96.8] n=128`; a dash for what was not measured."""
    if cell is None:
        return "–"
    return f"{percent(cell.value)} [{percent(cell.low)}, {percent(cell.high)}] n={cell.n}"


def summary_lines(figures: Mapping[str, float | None]) -> list[str]:
    """The six figures in points, one a line."""
    return [
        f"{name.replace('_', ' '):30} {'undefined' if value is None else f'{100 * value:+.2f}'}"
        for name, value in figures.items()
    ]


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


def versions_table(versions: Sequence[FiledVersion]) -> Table:
    """The versions of a sequence."""
    table = Table()
    for column in ("version", "task", "state", "adapter", "mask", "certificate", "model version"):
        table.add_column(column)
    for each in versions:
        table.add_row(
            str(each.version),
            each.task,
            each.state,
            each.adapter_sha256[:16],
            each.mask_sha256[:16],
            each.certificate,
            "–" if each.model_version is None else str(each.model_version),
        )
    return table


def guard_lines(cells: Sequence[Cell], version: int, read: str) -> list[str]:
    """What every guard scores at a version under the adapter of every other task."""
    return [
        f"{cell.task} under {cell.adapter_of}: {cell_text(cell)}"
        for cell in cells
        if cell.adapter_of is not None and cell.version == version and cell.read == read
    ]


def _cell_json(cell: Cell) -> dict[str, object]:
    return {"value": cell.value, "n": cell.n, "low": cell.low, "high": cell.high}


def percent(value: float) -> str:
    """A fraction in percent, one decimal."""
    return f"{100 * value:.1f}"
