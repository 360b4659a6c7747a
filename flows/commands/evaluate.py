"""`lori evaluate S --read MODE`: score another read mode."""

import click

from flows.commands.options import READS, as_json, tell_home


@click.command()
@click.argument("sequence")
@click.option("--read", required=True, type=click.Choice(READS), help="Read mode to score.")
@as_json
def evaluate(sequence: str, read: str, json_: bool) -> None:
    """Score the cells of R of SEQUENCE under one read mode that are not scored yet."""
    from dashboard.figures import matrix_json
    from flows.edge import signals_end_this
    from flows.evaluating import evaluate_read
    from flows.recorded import open_existing, parse_name, recorded
    from flows.report import matrix_table, print_json, print_table

    with open_existing() as registry:
        found = recorded(registry, parse_name(sequence).sequence)
        mode = found.read_mode(read)
        with signals_end_this():
            scored = evaluate_read(found, mode, quiet=json_)
        cells = registry.matrix_cells(found.name, mode)
        if json_:
            print_json(matrix_json(cells))
        else:
            trained = mode == found.read_mode(None)
            note = "" if trained else ", not the mode it was trained under"
            print_table(matrix_table(cells, title=f"R of {found.name}, {mode} read{note}"))
            click.echo(f"{scored} cells scored now, the others were known")
        tell_home(registry.settings.home)
