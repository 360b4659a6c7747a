"""`lori matrix S`: what was kept and what was lost."""

import click

from flows.commands.options import as_json, read_mode, tell_home


@click.command()
@click.argument("sequence")
@read_mode
@as_json
def matrix(sequence: str, read: str | None, json_: bool) -> None:
    """Print R of SEQUENCE: the score on every task after every task, for one read mode."""
    from flows.recorded import open_existing, parse_name, recorded
    from flows.report import (
        guard_lines,
        matrix_json,
        matrix_table,
        print_json,
        print_table,
        score_matrix,
        summary,
        summary_lines,
    )

    with open_existing() as registry:
        found = recorded(registry, parse_name(sequence).sequence)
        trained = found.read_mode(None)
        mode = found.read_mode(read)
        cells = registry.matrix_cells(found.name, mode)
        if json_:
            print_json(matrix_json(cells))
        else:
            note = "" if mode == trained else ", not the mode it was trained under"
            print_table(matrix_table(cells, title=f"R of {found.name}, {mode} read{note}"))
            for line in summary_lines(summary(score_matrix(cells))):
                click.echo(line)
            last = len(found.versions)
            for line in guard_lines(registry.cells(found.name), last, mode):
                click.echo(f"guard {line}")
        tell_home(registry.settings.home)
