"""The files of a version: what they are (by content), where they lie, and that they are still so."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from lori_core.digests import sha256_file
from lori_core.errors import BadInput, CheckFailed, DigestMismatch
from registry.home import writable
from registry.records import CertificateLevel, FiledVersion, Json, StoredFile

FILES = "artifacts/version"
"""Where a version's files lie inside its MLflow model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Filing:
    """Everything an artifact store is told about a version."""

    key: str
    """Equal for equal versions: how what was begun is found again."""
    sequence: str
    version: int
    task: str
    adapter_sha256: str
    mask_sha256: str
    certificate: CertificateLevel
    manifest: Json
    manifest_sha256: str
    model_name: str
    params: Mapping[str, str]
    begun: datetime
    """When the version was reserved; the time of its metrics, so that logging twice is logging once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Where a store put a version's files."""

    model_id: str
    artifact_uri: str
    """Relative to the home folder where they lie beneath it, else a URI."""


class ArtifactStore(Protocol):
    """What filing asks of MLflow. Every method may be called again after a crash."""

    def start_run(self, filing: Filing) -> str:
        """Find or start the version's one run; returns its id."""

    def upload(self, filing: Filing, run_id: str, folder: Path) -> Upload:
        """Find the finished upload of exactly these files, or make it and remove what else was begun."""

    def discard(self, model_id: str) -> None:
        """Take an upload out of use."""

    def fetch(self, uri: str, into: Path) -> None:
        """Copy the files at a URI of ours into an empty folder."""

    def create_version(self, filing: Filing, run_id: str, model_id: str) -> int:
        """Find or create the one model version of an upload; returns its number."""

    def finish_run(self, filing: Filing, run_id: str, metrics: Mapping[str, float]) -> None:
        """Log the metrics at step `filing.version` and end the run."""


def stored_files(folder: Path) -> tuple[StoredFile, ...]:
    """Every file beneath a folder, by content, ordered by path.

    Raises:
        BadInput: the folder is missing or empty, or holds something that is no plain file.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}", "a folder with the version's files")
    paths = sorted(path for path in folder.rglob("*") if path.is_symlink() or not path.is_dir())
    for path in paths:
        if path.is_symlink() or not path.is_file():
            raise BadInput(f"{path}", "a plain file", "Links are not stored.")
    if not paths:
        raise BadInput(f"{folder}", "at least one file to store")
    return tuple(
        StoredFile(
            path=path.relative_to(folder).as_posix(),
            sha256=sha256_file(path),
            size=path.stat().st_size,
        )
        for path in paths
    )


def check_files(name: str, folder: Path, files: tuple[StoredFile, ...]) -> None:
    """Make sure that a folder holds exactly these files, bit for bit.

    Raises:
        DigestMismatch: names the first file that is changed, missing or added.
        CheckFailed: a file is listed that would lie elsewhere.
    """
    expected = {file.path: file.sha256 for file in files}
    if outside := [path for path in expected if not is_inside(path)]:
        raise CheckFailed(name, f"its manifest names {outside[0][:200]!r}, outside its folder")
    for path, digest in expected.items():
        place = folder / path
        if place.is_symlink() or not place.is_file():
            raise DigestMismatch(f"{name}: {path}", digest, "missing")
        if (found := sha256_file(place)) != digest:
            raise DigestMismatch(f"{name}: {path}", digest, found)
    for place in sorted(folder.rglob("*")):
        path = place.relative_to(folder).as_posix()
        if path not in expected and (place.is_symlink() or not place.is_dir()):
            raise DigestMismatch(f"{name}: {path}", "no such file", sha256_file(place))


def is_inside(path: str) -> bool:
    """Whether a relative path with `/` stays where it starts."""
    return _can_be_a_place(path) and not path.startswith("/") and ".." not in path.split("/")


def _can_be_a_place(path: str) -> bool:
    fits = len(path) <= 4096 and all(len(part.encode()) <= 255 for part in path.split("/"))
    return path != "" and path.isprintable() and fits


def local_folder(uri: str, home: Path) -> Path | None:
    """The folder a URI of ours stands for on this machine; None if it must be fetched.

    Raises:
        CheckFailed: it is none of ours: no URI, or one that leads out of the home.
    """
    try:
        parts = urlsplit(uri)
    except ValueError as error:
        raise CheckFailed("place of files", f"{uri!r} is no URI ({error})") from error
    if not (_can_be_a_place(uri) if parts.scheme else is_inside(uri)):
        raise CheckFailed("place of files", f"{uri[:200]!r} is none in the home folder")
    if not parts.scheme:
        return home / uri
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def checked_folder(
    version: FiledVersion, home: Path, artifacts: Callable[[], ArtifactStore]
) -> Path:
    """The folder with a version's files, every one checked; fetched into the home if they are remote.

    Raises:
        DigestMismatch: a file is changed, missing or added.
        BadInput: the version's files were never uploaded.
    """
    name = f"{version.sequence}/{version.version}"
    if version.artifact_uri is None:
        raise BadInput(
            f"version {name} ({version.state})", "a filed version", "`lori run` goes on filing it."
        )
    folder = local_folder(version.artifact_uri, home)
    if folder is None:
        folder = home / "cache" / version.manifest_sha256
        if not folder.is_dir():
            _fetch(version.artifact_uri, folder, artifacts())
    if not folder.is_dir():
        raise CheckFailed(name, f"its files are gone ({folder})")
    check_files(name, folder, version.files)
    return folder


def _fetch(uri: str, folder: Path, artifacts: ArtifactStore) -> None:
    with writable(folder):
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix="fetch-") as fresh:
            arriving = Path(fresh) / "version"
            arriving.mkdir()
            artifacts.fetch(uri, arriving)
            if not folder.is_dir():
                shutil.move(arriving, folder)
