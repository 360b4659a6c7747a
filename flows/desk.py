"""The desk a command decides at: this home's registry, or a server's."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from registry.desks import Opened, open_desk


@contextmanager
def at_desk() -> Iterator[Opened]:
    """Open the desk the environment names; where it is comes last on stderr, once all went well.

    Raises:
        BadInput: nothing was learned here yet, or the server or token will not do.
    """
    with open_desk() as here:
        yield here
        where = "registry" if here.registry is None else "home"
        click.echo(f"{where} {here.place}", err=True)
