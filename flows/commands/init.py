"""`lori init FILE`: a sequence file to start from."""

import sys
from dataclasses import replace
from pathlib import Path

import click

from flows.commands.options import FilePath

METRICS = ("exact_match", "exact_number", "accuracy", "refusal", "pass_at_k")


@click.command()
@click.argument("file", type=FilePath(path_type=Path), default="sequence.yaml")
@click.option("--sequence", help="Name of the sequence. Default: that of the file.")
@click.option("--base", help="Folder or hub id of the base model.")
@click.option(
    "--task",
    "tasks",
    multiple=True,
    metavar="NAME:TRAIN:TEST[:METRIC]",
    help="A task and its files of rows; may be given several times.",
)
def init(file: Path, sequence: str | None, base: str | None, tasks: tuple[str, ...]) -> None:
    """Write a commented sequence file; what no flag says is asked at a terminal."""
    from flows.draft import beside, draft, parse_task, write_draft
    from lori_core.errors import BadInput

    asks = sys.stdin.isatty()
    sequence = sequence or file.stem.lower()
    if base is None and asks:
        base = click.prompt("Base model (a folder, or an id of the hub)")
    given = list(tasks)
    while asks and (not given or click.confirm("Another task?", default=False)):
        given.append(_ask_task())
    if not base or not given:
        missing = "--base" if not base else "--task"
        raise BadInput(f"{missing} is missing", "it as a flag", "See `lori init --help`.")
    parsed = [parse_task(each) for each in given]
    placed = [
        replace(each, train=beside(each.train, file), test=beside(each.test, file))
        for each in parsed
    ]
    write_draft(file, draft(sequence, beside(base, file), placed))
    click.echo(f"{file} written. Next: lori check {file}")


def _ask_task() -> str:
    name = click.prompt("Task name")
    train = click.prompt("Training rows (.jsonl, .csv, .parquet)")
    test = click.prompt("Test rows")
    metric = click.prompt("Metric", default=METRICS[0], type=click.Choice(METRICS))
    return ":".join((name, train, test, metric))
