"""Filing a registered version in MLflow once more, after what was there was lost.

Our rows keep who it is; only where it lies changes: a new upload or a new model version, checked as
the first time. Called under the lock of the sequence's filing.
"""

from pathlib import Path
from tempfile import TemporaryDirectory

from lori_core.errors import CheckFailed
from registry import lineage
from registry.artifacts import ArtifactStore, Filing, check_files, local_folder
from registry.database import Database
from registry.filing import filing_of
from registry.home import writable
from registry.records import FiledVersion
from registry.settings import Settings


def stored_files_checked(version: FiledVersion, settings: Settings, store: ArtifactStore) -> None:
    """Look at the files where MLflow has them, not at a copy of ours.

    Raises:
        DigestMismatch: a file is changed, missing or added.
        CheckFailed: they are gone.
    """
    name = f"{version.sequence}/{version.version}"
    if version.artifact_uri is None:
        raise CheckFailed(name, "it has no files yet")
    folder = local_folder(version.artifact_uri, settings.home)
    if folder is not None:
        if not folder.is_dir():
            raise CheckFailed(name, f"its files are gone ({folder})")
        check_files(name, folder, version.files)
        return
    with writable(settings.home), TemporaryDirectory(dir=settings.home, prefix="check-") as fresh:
        store.fetch(version.artifact_uri, Path(fresh))
        check_files(name, Path(fresh), version.files)


def relink(
    database: Database, settings: Settings, store: ArtifactStore, sequence: str, number: int
) -> FiledVersion:
    """Find or make the model version of an upload that is whole."""
    filing, row = _filed(database, settings, sequence, number)
    assert row.run_id is not None
    assert row.model_id is not None
    found = store.create_version(filing, row.run_id, row.model_id)
    return _record(database, filing, row.run_id, row.model_id, row.artifact_uri, found)


def refile(
    database: Database,
    settings: Settings,
    store: ArtifactStore,
    sequence: str,
    number: int,
    folder: Path,
) -> FiledVersion:
    """Upload a version's files again, from a folder that holds them to the bit.

    Raises:
        DigestMismatch: the folder, or what came back from MLflow, is not what was filed.
    """
    filing, row = _filed(database, settings, sequence, number)
    check_files(f"{sequence}/{number}", folder, row.files)
    run_id = store.start_run(filing)
    upload = store.upload(filing, run_id, folder)
    again = _record(database, filing, run_id, upload.model_id, upload.artifact_uri, None)
    stored_files_checked(again, settings, store)
    found = store.create_version(filing, run_id, upload.model_id)
    store.finish_run(filing, run_id, {})
    return _record(database, filing, run_id, upload.model_id, upload.artifact_uri, found)


def _filed(
    database: Database, settings: Settings, sequence: str, number: int
) -> tuple[Filing, FiledVersion]:
    with database.reading() as session:
        row = lineage.version_row(session, sequence, number)
        return filing_of(row, settings, {}), lineage.filed_version(row)


def _record(
    database: Database,
    filing: Filing,
    run_id: str,
    model_id: str,
    artifact_uri: str | None,
    model_version: int | None,
) -> FiledVersion:
    with database.writing() as session:
        row = lineage.version_row(session, filing.sequence, filing.version)
        row.run_id, row.model_id, row.artifact_uri = run_id, model_id, artifact_uri
        if model_version is not None:
            row.model_name, row.model_version = filing.model_name, model_version
        return lineage.filed_version(row)
