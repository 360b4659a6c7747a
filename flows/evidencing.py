"""Write an evidence bundle, signed, and check one."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.adopting import audited_measured
from flows.checks import audited
from flows.recorded import ADOPTED, Recorded
from lori_core.audit import Finding
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


@dataclass(frozen=True, slots=True)
class Written:
    """A bundle that was written and signed."""

    fingerprint: str
    """Of the key."""
    broken: tuple[str, ...]
    """What of the version's bits is not what was certified; the bundle says so too."""


def write_evidence(
    found: Recorded, number: int, folder: Path, key: Path | None, asked_by: str | None = None
) -> Written:
    """Bring together what is recorded of a version, as data and as a page, and sign both.

    Args:
        found: the sequence.
        number: the version.
        folder: new, or empty.
        key: a private key in a PEM file; None takes the home's, made at first use.
        asked_by: who asked for it, where a dashboard makes it; None: whoever acts here.

    Raises:
        BadInput: the key is none, or the place cannot be written.
    """
    from dashboard.evidence.page import evidence_page

    signer = home_key(found.home) if key is None else read_key(key)
    by = acting(found.registry).name
    if asked_by is not None:
        by = f"{asked_by}, by the dashboard of {by}"
    bundle = gather(found.registry, found.name, number, audits=audits_of(found, number), by=by)
    write_json(folder / BUNDLE, bundle)
    write_atomic(folder / PAGE, evidence_page(bundle).encode("utf-8"))
    return Written(sign_folder(folder, signer), tuple(bundle["integrity"]["faults"]))


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
            "findings": [_without_rows(finding) for finding in audit.findings],
        }
    return audits


def _without_rows(finding: Finding) -> dict[str, Any]:
    """A finding without the ids of rows: a bundle goes to who may not see them."""
    return {name: said for name, said in asdict(finding).items() if name != "examples"}


def check_evidence(folder: Path, key: Path | None, home: Path, *, any_key: bool = False) -> str:
    """Check a bundle; the sentence that says who signed it comes back.

    Args:
        folder: what `write_evidence` wrote.
        key: the key it must be signed with, either half; None asks for the home's own.
        home: whose own key that is.
        any_key: without `key`, ask only that it is whole, whoever signed it.

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
    if any_key:
        return (
            f"whole, signed by {checked.fingerprint}, a key that is not this home's: compare it with"
            " what the signer told you"
        )
    raise CheckFailed(
        "evidence",
        f"signed by a key nobody here vouched for: give --key ({checked.fingerprint} signed it;"
        " --any-key asks only that it is whole)",
    )
