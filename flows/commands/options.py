"""Options that several commands share, and the line that says where the home is."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import click

READS = ("isolated", "inherited", "cumulative")

Decorated = Callable[..., Any]


class FilePath(click.Path):
    """A path. An empty one, as an unset variable of a shell leaves it, is none: `Path("")` is `.`."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Refuse the empty text."""
        if value == "":
            self.fail("the path is empty.", param, ctx)
        return super().convert(value, param, ctx)


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


def with_reason(command: Decorated) -> Decorated:
    """`--reason TEXT`: what the log keeps."""
    return click.option("--reason", required=True, help="Why; the log keeps it.")(command)


def with_expect(command: Decorated) -> Decorated:
    """`--expect VERSION|base|none`: refuse if something else serves by now."""
    return click.option(
        "--expect",
        metavar="VERSION|base|none",
        help="Refuse unless this serves now: a version, base (or 0) for the bare base, "
        "none for nothing yet.",
    )(command)


def parse_expect(text: str | None) -> int | Literal["none"] | None:
    """Read what `--expect` was given; None where it was not.

    Raises:
        BadInput: it is neither a number nor one of the words.
    """
    from lori_core.errors import BadInput
    from registry.decisions import BARE_BASE

    if text is None:
        return None
    if text == "none":
        return "none"
    if text == "base":
        return BARE_BASE
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise BadInput(f"--expect {text!r}", "the number of a version, base or none")
    return int(text)


def new_folder(directory: Path) -> None:
    """Refuse a `--to` that holds something, before anything heavy is done.

    Raises:
        BadInput: it is no folder that is new or empty.
    """
    from lori_core.errors import BadInput

    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise BadInput(f"--to {directory}", "a folder that is new or empty")


def tell_home(home: Path) -> None:
    """Say on stderr where everything lies; the last thing a command says, once all went well."""
    click.echo(f"home {home}", err=True)
