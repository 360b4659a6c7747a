"""What the files of a version tell by themselves, where they lie on this machine.

For versions that were filed before notes were kept. Nothing is fetched, and a file that is not what
was filed tells nothing.
"""

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from lori_core.digests import sha256_bytes
from lori_core.errors import CheckFailed
from registry.artifacts import local_folder
from registry.records import FiledVersion
from registry.version_notes import Losses, thinned

LOG = "log.json"
WEIGHTS = "adapter/adapter_model.safetensors"

_PREFIX, _B = "base_model.model.", ".lora_B.weight"
_LONGEST_HEADER = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class VersionFiles:
    """The folder of a version's files; None where they lie elsewhere."""

    folder: Path | None
    version: FiledVersion

    def training(self) -> Losses | None:
        """The losses of training, out of its log."""
        path = self._file(LOG)
        if path is None:
            return None
        data = path.read_bytes()
        if sha256_bytes(data) != self._digest(LOG):
            return None
        try:
            losses = json.loads(data)["train"]["losses"]
        except (ValueError, KeyError, TypeError):  # an adopted adapter has another log
            return None
        return thinned(losses) if losses else None

    def sizes(self, total: int) -> Mapping[str, int]:
        """Layer -> entries of its B, by the header of the plain adapter; {} unless they make `total`."""
        path = self._file(WEIGHTS)
        if path is None:
            return {}
        with path.open("rb") as file:
            start = file.read(8)
            length = struct.unpack("<Q", start)[0] if len(start) == 8 else 0
            header = file.read(length) if length <= _LONGEST_HEADER else b""
        try:
            tensors = json.loads(header)
            found = {
                name.removeprefix(_PREFIX).removesuffix(_B): each["shape"][0] * each["shape"][1]
                for name, each in tensors.items()
                if name.endswith(_B)
            }
        except (ValueError, KeyError, TypeError, IndexError, AttributeError):
            return {}  # not a safetensors file of ours
        return found if sum(found.values()) == total else {}

    def _file(self, name: str) -> Path | None:
        if self.folder is None or self._digest(name) is None:
            return None
        path = self.folder / name
        return path if path.is_file() and not path.is_symlink() else None

    def _digest(self, name: str) -> str | None:
        return next((file.sha256 for file in self.version.files if file.path == name), None)


def files_of(version: FiledVersion, home: Path) -> VersionFiles:
    """The files of a version, if they lie here."""
    if version.artifact_uri is None:
        return VersionFiles(None, version)
    try:
        folder = local_folder(version.artifact_uri, home)
    except CheckFailed:  # the place was edited: `lori doctor` tells, a page has nothing to read
        return VersionFiles(None, version)
    return VersionFiles(folder, version)
