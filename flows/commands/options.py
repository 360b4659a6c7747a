"""Options that several commands share, and the line that says where the home is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

READS = ("isolated", "inherited", "cumulative")

Decorated = Callable[..., Any]


def as_json(command: Decorated) -> Decorated:
    """`--json`: for programs."""
    return click.option("--json", "json_", is_flag=True, help="Print JSON.")(command)


def read_mode(command: Decorated) -> Decorated:
    """`--read MODE`: what a task sees."""
    return click.option(
        "--read",
        type=click.Choice(READS),
        help="Read mode. Default: the one the sequence is trained under.",
    )(command)


def tell_home(home: Path) -> None:
    """Say on stderr where everything lies; the last thing a command says, once all went well."""
    click.echo(f"home {home}", err=True)
