"""A version as a person names it: `S`, `S/3`, `S@champion`."""

import re
from dataclasses import dataclass
from typing import get_args

from lori_core.errors import BadInput
from lori_core.names import check_name
from registry.decisions import Alias
from registry.plain import LARGEST

ALIASES: tuple[Alias, ...] = get_args(Alias)


@dataclass(frozen=True, slots=True)
class Named:
    """A version as a user names it: `S`, `S/3`, `S@champion`."""

    sequence: str

    version: int | None = None
    """None: the newest, or the one under the alias."""

    alias: Alias | None = None
    """What it serves as."""

    def __str__(self) -> str:
        """As it is typed."""
        number = "" if self.version is None else f"/{self.version}"
        return f"{self.sequence}{number}" if self.alias is None else f"{self.sequence}@{self.alias}"


def parse_name(text: str) -> Named:
    """Read `S`, `S/3` or `S@champion`.

    Raises:
        BadInput: it is none of these.
    """
    sequence, at, alias = text.partition("@")
    sequence, slash, number = sequence.partition("/")
    check_name("sequence", sequence)
    if at:
        known = next((each for each in ALIASES if each == alias), None)
        if known is None or slash:
            raise BadInput(f"version {text!r}", f"one of {', '.join(ALIASES)} after the name and @")
        return Named(sequence, alias=known)
    if slash and not (re.fullmatch("0*[1-9][0-9]{0,9}", number) and int(number) <= LARGEST):
        raise BadInput(
            f"version {text!r}",
            f"a whole number from 1 on after the slash, such as {sequence}/1",
            f"`lori versions {sequence}` lists them.",
        )
    return Named(sequence, int(number) if slash else None)
