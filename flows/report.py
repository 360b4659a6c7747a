"""Tables for people, on stdout. Numbers are printed as percent; JSON holds fractions."""

import json
import sys
from collections.abc import Mapping, Sequence

import click
from rich.console import Console
from rich.table import Table

from flows.decided import VersionStanding, gate_word
from registry.records import Cell, FiledVersion, MatrixCells
from registry.score_curves import Earlier


def print_json(value: object) -> None:
    """One JSON document on stdout."""
    click.echo(json.dumps(value, indent=2, sort_keys=False, allow_nan=False))


def print_table(table: Table) -> None:
    """A table on stdout, as wide as it needs to be where there is no terminal.

    Cells are shown as they are: brackets and colons in a stranger's text are no markup.
    """
    width = None if sys.stdout.isatty() else 160
    Console(file=sys.stdout, highlight=False, markup=False, emoji=False, width=width).print(table)


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


def summary_lines(
    figures: Mapping[str, float | None], terms: Mapping[str, Earlier] | None = None
) -> list[str]:
    """The six figures in points, one a line; those with `terms` say how they are known."""
    known = terms or {}
    return [
        f"{name.replace('_', ' '):30} {'undefined' if value is None else f'{100 * value:+.2f}'}"
        + (f"  {_basis(value, known[name])}" if value is not None and name in known else "")
        for name, value in figures.items()
    ]


def _basis(value: float, terms: Earlier) -> str:
    """`proved` only where every earlier task is; else how many are, and what is known of the rest."""
    rest = [
        (terms.same_bits, "of the same bits, without a certificate that covers them"),
        (terms.measured, "measured"),
        (terms.missing, "not measured"),
        (terms.incomparable, "not comparable (other rows, or another metric)"),
    ]
    plural = "" if terms.total == 1 else "s"
    told = [f"{terms.proved} of {terms.total} earlier task{plural} proved"]
    told += [f"{count} {what}" for count, what in rest if count]
    if terms.proved == terms.total:
        differs = "; the scores differ by how they were measured" if value else ""
        return f"proved ({told[0]}, the task id given{differs})"
    if terms.measured or terms.incomparable:
        word = "measured"
    else:
        word = "same bits" if terms.same_bits else "not all measured"
    return f"{word} ({', '.join(told)})"


def versions_table(
    versions: Sequence[FiledVersion], decided: Mapping[int, VersionStanding]
) -> Table:
    """The versions of a sequence, and what was decided about each."""
    table = Table()
    for column in ("version", "task", "state", "adapter", "mask", "certificate", "model version"):
        table.add_column(column)
    table.add_column("gate")
    table.add_column("serves as")
    for each in versions:
        known = decided[each.version]
        served = ", ".join([*known.aliases, *(["stale"] if known.stale else [])])
        table.add_row(
            str(each.version),
            each.task,
            each.state,
            each.adapter_sha256[:16],
            each.mask_sha256[:16],
            each.certificate,
            "–" if each.model_version is None else str(each.model_version),
            gate_word(known),
            served or "–",
        )
    return table


def guard_lines(cells: Sequence[Cell], version: int, read: str) -> list[str]:
    """What every guard scores at a version under the adapter of every other task."""
    return [
        f"{cell.task} under {cell.adapter_of}: {cell_text(cell)}"
        for cell in cells
        if cell.adapter_of is not None and cell.version == version and cell.read == read
    ]


def percent(value: float) -> str:
    """A fraction in percent, one decimal."""
    return f"{100 * value:.1f}"
