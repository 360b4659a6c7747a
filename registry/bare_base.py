"""The bare base as something an alias can point at: version 0, filed like the others, once.

It is a version of the sequence's registered model whose manifest names the base and no adapter.
We keep no row of it: everything about it follows from version 1, so that the same steps find it.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from lori_core.digests import sha256_json, write_json
from registry import lineage
from registry.artifacts import ArtifactStore, Filing, stored_files
from registry.database import Database
from registry.decisions import BARE_BASE
from registry.filing import MANIFEST_SCHEMA
from registry.models import JsonDict
from registry.settings import Settings

BASE_FILE = "base.json"
NOTHING = "0" * 64
"""Digest of the adapter and the mask that the bare base has not."""


def file_base(database: Database, settings: Settings, store: ArtifactStore, sequence: str) -> int:
    """See `Registry.base_version`, which is this: the same steps, each of which finds what it made."""
    with (
        database.exclusive(f"file-{sequence}"),
        TemporaryDirectory(dir=settings.home, prefix="base-") as fresh,
    ):
        filing = _base_filing(database, settings, sequence, Path(fresh))
        run_id = store.start_run(filing)
        upload = store.upload(filing, run_id, Path(fresh))
        number = store.create_version(filing, run_id, upload.model_id)
        store.finish_run(filing, run_id, {})
        return number


def base_key(sequence: str, base_digest: str) -> str:
    """The key by which the bare base of a sequence is found again."""
    return sha256_json({"sequence": sequence, "version": BARE_BASE, "base": base_digest})


def _base_filing(database: Database, settings: Settings, sequence: str, folder: Path) -> Filing:
    with database.reading() as session:
        first = lineage.version_row(session, sequence, 1)
        base = first.adapter.manifest["base"]  # where it was then: it may have moved since
        begun, read = first.created, first.certificate.read
        key = base_key(sequence, first.sequence.base_digest)
    write_json(folder / BASE_FILE, base)
    files = {file.path: {"sha256": file.sha256, "size": file.size} for file in stored_files(folder)}
    manifest: JsonDict = {
        "schema": MANIFEST_SCHEMA,
        "key": key,
        "sequence": sequence,
        "version": BARE_BASE,
        "task": "",
        "read": read,
        "max_length": None,
        "parent": None,
        "base": base,
        "files": files,
    }
    return Filing(
        key=key,
        sequence=sequence,
        version=BARE_BASE,
        task="",
        adapter_sha256=NOTHING,
        mask_sha256=NOTHING,
        certificate="G0",
        manifest=manifest,
        manifest_sha256=sha256_json(manifest),
        model_name=settings.model_name.format(sequence=sequence),
        params={},
        begun=begun,
    )
