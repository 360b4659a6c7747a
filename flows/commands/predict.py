"""`lori predict S[/VERSION] TASK --rows FILE`: ask a version."""

import json
from pathlib import Path

import click

from flows.commands.options import FilePath, as_json, read_mode, tell_home


@click.command()
@click.argument("version")
@click.argument("task")
@read_mode
@click.option("--rows", required=True, type=FilePath(path_type=Path), help="Rows to answer.")
@as_json
def predict(version: str, task: str, read: str | None, rows: Path, json_: bool) -> None:
    """Answer the rows of FILE as TASK does at VERSION. With --json, one object a line."""
    from flows.progress import Narrator
    from flows.recorded import open_existing, parse_name, recorded
    from flows.stage_protocol import StageProgress
    from flows.succession import served_at
    from lori_core.config import DataSource
    from lori_core.rows import read_rows

    named = parse_name(version)
    with open_existing() as registry:
        found = recorded(registry, named.sequence)
        number, position = served_at(found, named, task)
        total = len(read_rows(DataSource(path=str(rows))))
        from flows.predicting import predict as predict_rows  # torch: after all else is known

        with Narrator(quiet=json_) as narrator:
            narrator.begin(f"{found.name}/{number} {task}")
            done = 0

            def tell(count: int) -> None:
                nonlocal done
                done += count
                narrator.progress(StageProgress("predict", done, total))

            made = predict_rows(found, number, position, found.read_mode(read), rows, tell)
            narrator.end()
        for each in made:
            click.echo(json.dumps(each) if json_ else f"{each['id']}\t{each['prediction']}")
        tell_home(registry.settings.home)
