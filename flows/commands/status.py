"""`lori status [S]`: what is learned, what is running, what comes next."""

import click

from flows.commands.options import as_json, tell_home


@click.command()
@click.argument("sequence", required=False)
@as_json
def status(sequence: str | None, json_: bool) -> None:
    """Show how far each sequence is (or SEQUENCE alone): learned, running, to come."""
    from rich.table import Table

    from flows.recorded import open_existing
    from flows.report import print_json, print_table
    from flows.standing import standing

    with open_existing() as registry:
        names = registry.sequences() if sequence is None else (registry.sequence(sequence).name,)
        rows = [standing(registry, name) for name in names]
        if json_:
            print_json(rows)
        else:
            table = Table()
            for column in ("sequence", "task", "state", "stage", "version", "certificate"):
                table.add_column(column)
            for row in rows:
                for task in row["tasks"]:
                    version = "–" if task["version"] is None else str(task["version"])
                    stage, level = task["stage"] or "–", task["certificate"] or "–"
                    table.add_row(
                        row["sequence"], task["task"], task["state"], stage, version, level
                    )
            print_table(table)
        tell_home(registry.settings.home)
