"""What the demo says once everything is learned: what was kept, what was lost, how one knows."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import click
from rich.table import Table

from dashboard.figures import score_matrix
from flows.recorded import Recorded
from flows.report import (
    guard_lines,
    matrix_table,
    percent,
    print_table,
    summary_lines,
)
from lori_core.config import Read
from lori_core.forgetting import ScoreMatrix
from lori_core.intervals import Change, paired_change
from registry.records import Cell, MatrixCells

HONEST = (
    "Zero forgetting holds with the task id given, in the reference runtime (CPU, fp32, one thread, "
    "one row at a time); one plain LoRA per task would be zero as well, and inherits nothing."
)


def print_demo(
    found: Recorded, plain: Sequence[Sequence[dict[str, Any]]], rates: Mapping[str, float]
) -> None:
    """Everything the demo shows, on stdout."""
    trained = found.read_mode(None)
    names = tuple(version.task for version in found.versions)
    for read in dict.fromkeys((trained, found.read_mode("cumulative"))):
        cells = found.registry.matrix_cells(found.name, read)
        click.echo()
        print_table(matrix_table(cells, title=f"LoRI, {read} read: R with 95 % intervals"))
        for line in summary_lines(score_matrix(cells).summary()):
            click.echo(f"  {line}")
        proved = read == trained and found.versions[-1].certificate == "G2"
        _print_changes(names, _changes(found, cells, proved=proved), proved=proved)
    _print_plain(names, plain, rates)
    _print_guards(found, trained)
    _print_proofs(found)
    click.echo(f"\n{HONEST}")
    click.echo("\nNext:")
    click.echo(f"  lori verify {found.name}")
    click.echo(f"  lori export {found.name} {names[-1]} --to ./{names[-1]}-adapter")
    click.echo(f"  lori evaluate {found.name} --read isolated")


def plain_matrix(names: tuple[str, ...], plain: Sequence[Sequence[dict[str, Any]]]) -> ScoreMatrix:
    """R of the plain LoRA; the base row is not measured again."""
    width = len(names)
    rows = [tuple([None] * width)]
    rows += [tuple([cell["value"] for cell in row] + [None] * (width - len(row))) for row in plain]
    return ScoreMatrix(names, tuple(rows))


def _changes(found: Recorded, cells: MatrixCells, *, proved: bool) -> list[Change | None]:
    """For each task but the last: what changed from when it was learned until the end."""
    changes: list[Change | None] = []
    for place in range(len(found.versions) - 1):
        before, after = cells.rows[place + 1].cells[place], cells.rows[-1].cells[place]
        if before is None or after is None:
            changes.append(None)
            continue
        changes.append(
            paired_change(_scores(found, before), _scores(found, after), proved_equal=proved)
        )
    return changes


def _scores(found: Recorded, cell: Cell) -> list[float]:
    assert cell.predictions is not None
    lines = (found.home / cell.predictions).read_text(encoding="utf-8").splitlines()
    return [float(json.loads(line)["score"]) for line in lines]


def _print_changes(
    names: tuple[str, ...], changes: Sequence[Change | None], *, proved: bool
) -> None:
    for name, change in zip(names, changes, strict=False):
        if change is None:
            continue
        how = "proved: bit-identical probes" if proved else "measured"
        click.echo(
            f"  {name}: {_points(change.value)} points since it was learned "
            f"[{_points(change.low)}, {_points(change.high)}], {how}"
        )


def _print_plain(
    names: tuple[str, ...],
    plain: Sequence[Sequence[dict[str, Any]]],
    rates: Mapping[str, float],
) -> None:
    each = ", ".join(f"{rates[name]:g}" for name in names)
    title = f"One plain LoRA on the tasks in turn (rates {each}): R with 95 % intervals"
    click.echo()
    table = Table(title=title, title_justify="left")
    table.add_column("after")
    for name in names:
        table.add_column(name, justify="right")
    for place, row in enumerate(plain):
        shown = [_plain_text(cell) for cell in row] + ["–"] * (len(names) - len(row))
        table.add_row(f"{place + 1} {names[place]}", *shown)
    print_table(table)
    for line in summary_lines(plain_matrix(names, plain).summary()):
        click.echo(f"  {line}")
    changes = [
        paired_change(plain[place][place]["scores"], plain[-1][place]["scores"])
        for place in range(len(names) - 1)
    ]
    _print_changes(names, changes, proved=False)


def _print_guards(found: Recorded, trained: Read) -> None:
    lines = guard_lines(found.registry.cells(found.name), len(found.versions), trained)
    if lines:
        click.echo(f"\nGuards: measured under every other task's adapter ({trained} read)")
    for line in lines:
        click.echo(f"  {line}")


def _print_proofs(found: Recorded) -> None:
    click.echo("\nProved, by hash and probe (`lori verify` does it again):")
    for version in found.versions:
        click.echo(f"  {found.name}/{version.version} {version.task}: {version.certificate}")
    click.echo("Only measured: every score, the cumulative read, the guards, the plain LoRA.")


def _plain_text(cell: dict[str, Any]) -> str:
    bounds = f"[{percent(cell['low'])}, {percent(cell['high'])}]"
    return f"{percent(cell['value'])} {bounds} n={cell['n']}"


def _points(value: float) -> str:
    return f"{100 * value:+.2f}"
