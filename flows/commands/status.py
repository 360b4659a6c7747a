"""`lori status [S]`: what is learned, what is running, what serves, what comes next."""

import click

from flows.commands.options import as_json


@click.command()
@click.argument("sequence", required=False)
@as_json
def status(sequence: str | None, json_: bool) -> None:
    """Show how far each sequence is (or SEQUENCE alone): learned, running, queued, serving."""
    from rich.table import Table

    from flows.decided import freeze_json, frozen_line, version_name
    from flows.desk import at_desk
    from flows.queue_report import queue_lines, queue_table, refused_lines, silence_text
    from flows.recorded import parse_sequence
    from flows.report import print_json, print_table
    from flows.standing import known_sequences, standing

    wanted = None if sequence is None else parse_sequence(sequence)
    with at_desk() as here:
        names = known_sequences(here) if wanted is None else (wanted,)
        rows = [standing(here, name) for name in names]
        declared = here.readers.sequences()
        frozen = [here.desk.frozen(name) if name in declared else None for name in names]
        if json_:
            print_json(
                [
                    {**row, "frozen": None if freeze is None else freeze_json(freeze)}
                    for row, freeze in zip(rows, frozen, strict=True)
                ]
            )
            return
        table = Table()
        for column in ("sequence", "task", "state", "stage", "version", "certificate", "serves as"):
            table.add_column(column)
        for row in rows:
            for task in row["tasks"]:
                version = "–" if task["version"] is None else str(task["version"])
                stage, level = task["stage"] or "–", task["certificate"] or "–"
                if task["silent_seconds"] is not None:
                    stage = f"{stage}: {silence_text(task['silent_seconds'])}"
                served = ", ".join([*task["aliases"], *(["stale"] if task["stale"] else [])])
                table.add_row(
                    row["sequence"], task["task"], task["state"], stage, version, level,
                    served or "–",
                )  # fmt: skip
        print_table(table)
        queued = queue_table(rows)
        if queued is not None:
            print_table(queued)
        for row in rows:
            for line in queue_lines(row):
                click.echo(line)
            for task in row["tasks"]:
                if task["stale"] is not None:
                    click.echo(f"{row['sequence']}/{task['version']} is stale: {task['stale']}")
            if row["champion"] is None or row["champion"] == 0:
                served = version_name(row["sequence"], row["champion"])
                click.echo(f"{row['sequence']}@champion: {served}")
        for freeze in frozen:
            if freeze is not None:
                click.echo(frozen_line(freeze))
        for line in refused_lines(here.queue, wanted):
            click.echo(line)
