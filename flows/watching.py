"""Watched folders: what is dropped into one is submitted, and moved to where it shows what became of it.

A file counts as dropped once its size and time rest from one look to the next. It ends in `accepted/`
or `refused/` beside where it lay, a refused one with a `.why` of one line; one whose submission waits
(the disk is full) in `accepted/`, and `lori status` tells what came of it. A crash between the
submission and the move submits it once more, which changes nothing: the same content is one arrival.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from registry.arrival_records import Watch

SUFFIXES = frozenset({".yaml", ".yml", ".json"})

_Look = tuple[int, int]


@dataclass
class Drops:
    """What lay in the watched folders at the last look."""

    _seen: dict[Path, _Look] = field(default_factory=dict)
    _left: dict[Path, _Look] = field(default_factory=dict)

    def at_rest(self, watches: tuple[Watch, ...]) -> Iterator[tuple[Watch, Path]]:
        """Every dropped file that did not change since the last look, with the watch it is for.

        A folder that is away (a share that is not mounted) has no files today.
        """
        before, self._seen = self._seen, {}
        for watch in watches:
            for path, look in _files(Path(watch.folder)):
                self._seen[path] = look
                if before.get(path) == look != self._left.get(path):
                    yield watch, path

    def leave(self, path: Path) -> None:
        """Take a file that cannot be moved away for taken, until it changes."""
        self._left[path] = self._seen[path]


def move_away(path: Path, refusal: str | None) -> Path:
    """Move a dropped file to `accepted/` or, with why, to `refused/`; where it is now comes back."""
    folder = path.parent / ("accepted" if refusal is None else "refused")
    folder.mkdir(exist_ok=True)
    place = _free(folder, path.name)
    path.replace(place)
    if refusal is not None:
        place.with_name(f"{place.name}.why").write_text(f"{refusal}\n", encoding="utf-8")
    return place


def _files(folder: Path) -> list[tuple[Path, _Look]]:
    found = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if path.suffix.lower() not in SUFFIXES or entry.name.startswith("."):
                    continue
                if entry.is_file(follow_symlinks=False):  # what a link points at was not dropped
                    about = entry.stat(follow_symlinks=False)
                    found.append((path, (about.st_size, about.st_mtime_ns)))
    except OSError:
        return []
    return sorted(found)


def _free(folder: Path, name: str) -> Path:
    stem, suffix = Path(name).stem, Path(name).suffix
    place, number = folder / name, 2
    while place.exists():
        place, number = folder / f"{stem}-{number}{suffix}", number + 1
    return place
