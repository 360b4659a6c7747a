"""Which entries of B two tasks both write: proved none, or counted from their mask files.

Under `protection: disjoint` a certificate of G1 or better says that every earlier task's entries are
bit for bit what they were, and no file has to be opened. Under `protection: separate`
there is no overlap to speak of: each adapter has a B of its own. Elsewhere the masks are counted, once:
the counts are kept in the home by the digests of the two masks. A page opens a bounded number of bytes;
pairs beyond that are left for the next time.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lori_core.digests import canonical_json, write_atomic
from lori_core.errors import CheckFailed
from registry.artifacts import local_folder
from registry.mask_files import MaskFile, open_masks, shared_bits
from registry.version_rows import VersionRow

Pair = tuple[VersionRow, VersionRow]

BYTES_A_VIEW = 64 * 1024 * 1024
"""Of masks, that one page opens at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What two tasks share."""

    earlier: str
    later: str
    entries: int | None
    """Entries of B that both write; None while it is not known."""
    share: float | None
    """Of the later task's entries."""
    expected: float | None
    """Entries that two masks of these sizes would share by chance."""
    proved: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class OverlapsView:
    """The overlap of every pair of tasks in a window."""

    tasks: tuple[str, ...]
    entries: tuple[int, ...]
    """What each task writes."""
    pairs: tuple[Overlap, ...]
    proved: bool
    """Every pair is proved to share nothing."""
    waiting: int
    """Pairs that were not counted yet: another look counts more."""
    why_not: str | None
    """Why pairs cannot be counted, where they cannot."""
    apart: bool = False
    """Each task has a B of its own (`protection: separate`): none shares an entry with another."""


def overlaps(
    home: Path, versions: Sequence[VersionRow], *, protection: str, certified: Mapping[int, str]
) -> OverlapsView:
    """The overlap of every pair of these versions' tasks.

    Args:
        home: where files lie and counts are kept.
        versions: the window, in order.
        protection: of the sequence.
        certified: version -> level of its certificate.
    """
    if protection == "separate":  # the same place in two matrices is no entry in common
        return OverlapsView(
            tasks=tuple(version.task for version in versions),
            entries=tuple(version.nnz for version in versions),
            pairs=(),
            proved=False,
            waiting=0,
            why_not=None,
            apart=True,
        )
    pairs = [(a, b) for at, b in enumerate(versions) for a in versions[:at]]
    proved = {
        (a.version, b.version): protection == "disjoint"
        and certified.get(b.version) in {"G1", "G2"}
        for a, b in pairs
    }
    rest = [(a, b) for a, b in pairs if not proved[a.version, b.version]]
    counted, why_not = _counted(home, rest)
    found = tuple(
        _overlap(a, b, 0, proved=True)
        if proved[a.version, b.version]
        else _overlap(a, b, counted.get(_key(a, b)), proved=False)
        for a, b in pairs
    )
    return OverlapsView(
        tasks=tuple(version.task for version in versions),
        entries=tuple(version.nnz for version in versions),
        pairs=found,
        proved=bool(found) and all(each.proved for each in found),
        waiting=0 if why_not else sum(each.entries is None for each in found),
        why_not=why_not,
    )


def _overlap(a: VersionRow, b: VersionRow, entries: int | None, *, proved: bool) -> Overlap:
    return Overlap(
        earlier=a.task,
        later=b.task,
        entries=entries,
        share=None if entries is None or not b.nnz else entries / b.nnz,
        expected=None if not b.total else a.nnz * b.nnz / b.total,
        proved=proved,
    )


def _counted(home: Path, pairs: Sequence[Pair]) -> tuple[dict[tuple[str, str], int], str | None]:
    """Digests of two masks -> entries they share, as far as it is known by now; and what hinders."""
    folder = home / "overlaps"
    known: dict[tuple[str, str], int] = {}
    for later in {b.mask_sha256 for _, b in pairs}:
        known |= {(earlier, later): shared for earlier, shared in _kept(folder, later).items()}
    todo = [pair for pair in pairs if _key(*pair) not in known]
    fresh: set[str] = set()
    why_not = None
    opened: dict[str, MaskFile] = {}
    room = BYTES_A_VIEW
    try:
        for a, b in todo:
            for version in (a, b):
                if version.mask_sha256 in opened:
                    continue
                room -= (version.total + 7) // 8
                opened[version.mask_sha256] = open_masks(_file(home, version))
            known[_key(a, b)] = shared_bits(opened[a.mask_sha256], opened[b.mask_sha256])
            fresh.add(b.mask_sha256)
            if room < 0:
                break
    except CheckFailed as error:
        why_not = str(error)
    for later in fresh:
        held = {earlier: shared for (earlier, mine), shared in known.items() if mine == later}
        write_atomic(folder / f"{later}.json", canonical_json(held).encode())
    return known, why_not


def _file(home: Path, version: VersionRow) -> Path:
    name = f"version {version.version}"
    folder = None if version.artifact_uri is None else local_folder(version.artifact_uri, home)
    if folder is None:
        raise CheckFailed(name, "its mask file is not on this machine")
    return folder / "lori.safetensors"


def _kept(folder: Path, later: str) -> dict[str, int]:
    try:
        found = json.loads((folder / f"{later}.json").read_bytes())
    except (FileNotFoundError, ValueError):
        return {}  # not counted yet, or cut off by a full disk: it is counted again
    return {str(mask): shared for mask, shared in found.items() if isinstance(shared, int)}


def _key(a: VersionRow, b: VersionRow) -> tuple[str, str]:
    return a.mask_sha256, b.mask_sha256
