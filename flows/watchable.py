"""Which folders may be watched: files are moved there, so none that belongs to somebody else."""

from collections.abc import Iterable
from pathlib import Path

from lori_core.errors import BadInput

SYSTEM = (Path("/proc"), Path("/sys"), Path("/dev"))
"""Where the kernel shows itself: nothing is dropped there."""


def refuse_unwatchable(place: Path, home: Path, watched: Iterable[Path]) -> None:
    """Refuse a folder whose files are not there to be submitted.

    Args:
        place: the folder, absolute, links followed.
        home: of the registry.
        watched: folders that are watched already; the same one again is no mistake.

    Raises:
        BadInput: it is the home, in it or around it; the kernel's; in a watched one or around it.
    """
    ours = home.resolve()
    if lies_in(place, ours):
        raise _refusal(place, f"it is the home {ours} or in it")
    if lies_in(ours, place):
        raise _refusal(place, f"it contains the home {ours}")
    for root in SYSTEM:
        if lies_in(place, root):
            raise _refusal(place, f"{root} is the kernel's")
    for other in watched:
        if place == other:
            continue
        if place.parent == other and place.name in ("accepted", "refused"):
            raise _refusal(place, f"what was dropped into {other}, which is watched, is put there")
        if lies_in(place, other):
            raise _refusal(place, f"it is in {other}, which is watched")
        if lies_in(other, place):
            raise _refusal(place, f"it contains {other}, which is watched")


def lies_in(place: Path, folder: Path) -> bool:
    """Whether a place is a folder or somewhere in it."""
    return place.is_relative_to(folder)


def _refusal(place: Path, why: str) -> BadInput:
    return BadInput(
        f"--watch {place}: {why}",
        "a folder for dropped files alone",
        "Make one of its own: files put there are moved on.",
    )
