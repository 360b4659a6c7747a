"""Verify versions: every hash and every probe again, from the files as they lie there now."""

from collections.abc import Callable, Iterable
from pathlib import Path

from flows.recorded import Recorded
from flows.stages.bench import ADAPTER_FILE
from flows.stages.certifying import LOGITS, PEFT, read_probes
from lori_core.certificates import certificate_from_json
from lori_core.digests import sha256_json
from lori_core.errors import BadInput, DigestMismatch
from lori_core.verification import Check, verify_certificate
from registry.artifacts import local_folder

Told = tuple[int, Check]
"""A check and the version it is of."""


def verify(
    found: Recorded, versions: Iterable[int], on_version: Callable[[int], None]
) -> list[Told]:
    """Check the given versions of a sequence.

    The files are looked at even where their digests are not those filed, so that the layer that
    changed is named and not just the file.
    """
    checks: list[Told] = []
    for version in versions:
        on_version(version)
        checks += [(version, check) for check in _verify_one(found, version)]
    return checks


def _verify_one(found: Recorded, version: int) -> list[Check]:
    folders, checks = [], []
    for k in range(1, version + 1):
        folder, check = _files(found, k)
        folders.append(folder)
        if k == version:
            checks.append(check)
    if any(not (folder / ADAPTER_FILE).is_file() for folder in folders):
        return checks
    record = found.registry.certificate(found.name, version)
    whole = sha256_json(dict(record.document)) == record.sha256
    checks.append(Check("certificate", whole, "as filed" if whole else "is not the one filed"))
    names = [each.task for each in found.versions[:version]]
    try:
        probes = {n: read_probes(folder) for n, folder in zip(names, folders, strict=True)}
        certificate = certificate_from_json(dict(record.document))
    except BadInput as error:
        return [*checks, Check("certificate", False, str(error))]
    return checks + verify_certificate(
        certificate,
        base=found.config().base,
        files={n: folder / ADAPTER_FILE for n, folder in zip(names, folders, strict=True)},
        probes=probes,
        exports={names[-1]: folders[-1] / PEFT},
        logits=folders[-1] / LOGITS,
    )


def _files(found: Recorded, k: int) -> tuple[Path, Check]:
    """The folder of a version, and whether its files are those that were filed."""
    try:
        folder = found.registry.artifact_path(found.name, k)
    except DigestMismatch as error:
        return _folder(found, k), Check("files", False, str(error))
    return folder, Check("files", True, f"{len(found.versions[k - 1].files)} files")


def _folder(found: Recorded, k: int) -> Path:
    """Where a version's files lie, whatever is in them."""
    version = found.versions[k - 1]
    assert version.artifact_uri is not None
    local = local_folder(version.artifact_uri, found.home)
    return local or found.home / "cache" / version.manifest_sha256
