"""Write an evidence bundle, signed, and check one."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from flows.adopting import audited_measured
from flows.checks import audited
from flows.recorded import ADOPTED, Recorded
from lori_core.digests import sha256_file, write_atomic, write_json
from lori_core.errors import CheckFailed
from registry.desks import acting
from registry.evidence import gather
from registry.signing import (
    check_folder,
    fingerprint,
    home_key,
    read_key,
    read_public_key,
    sign_folder,
)

BUNDLE = "bundle.json"
PAGE = "bundle.html"


def write_evidence(found: Recorded, number: int, folder: Path, key: Path | None) -> str:
    """Bring together what is recorded of a version, as data and as a page, and sign both.

    Args:
        found: the sequence.
        number: the version.
        folder: new, or empty.
        key: a private key in a PEM file; None takes the home's, made at first use.

    Returns:
        The fingerprint of the key.

    Raises:
        BadInput: the key is none, or the place cannot be written.
    """
    from dashboard.evidence.page import evidence_page

    signer = home_key(found.home) if key is None else read_key(key)
    by = acting(found.registry).name
    bundle = gather(found.registry, found.name, number, audits=audits_of(found, number), by=by)
    write_json(folder / BUNDLE, bundle)
    write_atomic(folder / PAGE, evidence_page(bundle).encode("utf-8"))
    return sign_folder(folder, signer)


def audits_of(found: Recorded, number: int) -> Mapping[str, dict[str, Any]]:
    """What is wrong with each task's rows, of those whose snapshot is whole and at hand."""
    config = found.config()
    audits = {}
    for record, task in zip(found.tasks[:number], config.tasks, strict=False):
        folder = found.data_folder(record.position)
        kept = {role: folder / f"{role}.jsonl" for role in record.data}
        if any(not p.is_file() or sha256_file(p) != record.data[r] for r, p in kept.items()):
            continue
        rows, audit = audited_measured(task) if ADOPTED in record.config else audited(task)
        counted = {role: len(getattr(rows, role)) for role in record.data}
        audits[task.name] = {
            "rows": counted,
            "findings": [asdict(finding) for finding in audit.findings],
        }
    return audits


def check_evidence(folder: Path, key: Path | None, home: Path) -> str:
    """Check a bundle; the sentence that says who signed it comes back.

    Args:
        folder: what `write_evidence` wrote.
        key: the key it must be signed with, either half; None asks only that it is whole.
        home: whose own key is recognised.

    Raises:
        CheckFailed: something differs; names it.
    """
    wanted = None if key is None else read_public_key(key)
    checked = check_folder(folder, wanted)
    missing = [name for name in (BUNDLE, PAGE) if not (folder / name).is_file()]
    faults = [*checked.faults, *(f"{name}: missing" for name in missing)]
    if faults:
        raise CheckFailed("evidence", "; ".join(dict.fromkeys(faults)))
    assert checked.fingerprint is not None
    if wanted is not None:
        return f"whole, signed by the key given ({checked.fingerprint})"
    own = home / "keys" / "evidence.pem"
    if own.is_file() and fingerprint(read_key(own).public_key()) == checked.fingerprint:
        return f"whole, signed by this home's key ({checked.fingerprint})"
    return (
        f"whole, signed by {checked.fingerprint}, a key that is not this home's: compare it with what "
        "the signer told you, or give --key"
    )
