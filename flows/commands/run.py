"""`lori run FILE`: learn what is new in a sequence file."""

from pathlib import Path

import click

from flows.commands.options import FilePath


@click.command()
@click.argument("file", type=FilePath(path_type=Path))
def run(file: Path) -> None:
    """Learn the tasks of FILE that are not learned yet, in order, and file each as a version.

    Killed at any moment, the same command goes on where it was. Tasks may be appended to FILE; what
    was learned may not be changed.
    """
    from flows.learn_file import learn_file

    click.echo(learn_file(file))
