"""`lori matrix S`: what was kept and what was lost."""

import click

from flows.commands.options import as_json, read_mode


@click.command()
@click.argument("sequence")
@read_mode
@as_json
def matrix(sequence: str, read: str | None, json_: bool) -> None:
    """Print R of SEQUENCE: the score on every task after every task, for one read mode.

    `S/3` and `S@champion` show R as it was when that version was learned.
    """
    from dashboard.figures import matrix_json, matrix_terms, score_matrix
    from flows.desk import at_desk
    from flows.recorded import asked_version, parse_name, read_named, up_to
    from flows.report import (
        guard_lines,
        matrix_table,
        print_json,
        print_table,
        summary_lines,
    )

    named = parse_name(sequence)
    with at_desk() as here:
        record = here.readers.sequence(named.sequence)
        trained = read_named(str(record.adapter["read"]))
        mode = trained if read is None else read_named(read)
        wanted = asked_version(here.desk, named)
        cells = up_to(here.readers.matrix_cells(named.sequence, mode), wanted)
        if json_:
            print_json(matrix_json(cells))
            return
        note = "" if mode == trained else ", not the mode it was trained under"
        print_table(matrix_table(cells, title=f"R of {named}, {mode} read{note}"))
        for line in summary_lines(score_matrix(cells).summary(), matrix_terms(cells)):
            click.echo(line)
        last = cells.rows[-1].version
        for line in guard_lines(here.readers.cells(named.sequence), last, mode):
            click.echo(f"guard {line}")
