"""The desk a command decides at: this home's registry, or a server's."""

from collections.abc import Iterator
from contextlib import contextmanager

import click

from registry.desks import Opened, open_desk


@contextmanager
def at_desk(*, make: bool = False) -> Iterator[Opened]:
    """Open the desk the environment names; where it is comes last on stderr, once all went well.

    Args:
        make: make the home where it is not there yet; else it must be.

    Raises:
        BadInput: nothing was learned here yet, or the server or token will not do.
    """
    with open_desk(make=make) as here:
        yield here
        where = "registry" if here.registry is None else "home"
        click.echo(f"{where} {here.place}", err=True)
