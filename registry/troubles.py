"""What can be wrong with one sequence: each check, what it finds, and what mends it.

One registered model belongs to one registry: of what lies under its name and is of nobody we know,
only what never became a version is taken out of use, and only once it is old enough to be nobody's
current work. MLflow's gc destroys it later; until then it is there.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from lori_core.digests import sha256_file
from lori_core.errors import CheckFailed, DigestMismatch
from registry import applying, decided, ledger, lineage
from registry.artifacts import check_files
from registry.bare_base import base_key
from registry.clock import now
from registry.decisions import BARE_BASE, Actor, Alias, Finding
from registry.inventory import Inventory, Stockroom
from registry.records import FiledVersion
from registry.refiling import refile, relink, stored_files_checked
from registry.soundness import record_faults
from registry.store import Registry

PATIENCE = timedelta(hours=1)
"""What nobody we know began is left alone for this long."""

DOCTOR = Actor(name="(doctor)", role="admin", account=False)


@dataclass(frozen=True, slots=True)
class Trouble:
    """A finding, and what mends it."""

    finding: Finding
    mend: Callable[[], object] | None = None


def troubles(registry: Registry, name: str) -> Iterator[Trouble]:
    """What is wrong with one sequence, in the order of mending: what others stand on comes first."""
    versions = registry.versions(name)
    filed = tuple(version for version in versions if version.state == "registered")
    yield from _half_filed(versions)
    yield from _spoilt_predictions(registry, name)
    broken = ledger.check(registry, name).faults
    yield from _broken_log(name, broken)
    yield from _broken_records(registry, name)
    if not versions:
        return
    stockroom, model = registry.stockroom(), registry.model_name(name)
    held = stockroom.inventory(model)
    if filed and held.experiment == "deleted":
        yield _experiment_gone(stockroom, name, model)
        return  # what is in it is seen once it is back
    for version in filed:
        yield from _lost_run(stockroom, version, held)
        yield from _lost_files(registry, version, held)
        yield from _lost_version(registry, version, held)
    yield from _orphans(registry, stockroom, name, versions, held)
    if filed:
        yield from _aliases(registry, name, filed, held, broken=bool(broken))


def _half_filed(versions: tuple[FiledVersion, ...]) -> Iterator[Trouble]:
    for version in versions:
        if version.state != "registered":
            yield Trouble(
                Finding(
                    what="half-registered",
                    where=_name(version),
                    detail=f"filing stopped after the step {version.state!r}",
                    mendable=False,
                    remedy="Run the same `lori run FILE` again: it goes on at the next step and"
                    " finds what it had begun.",
                )
            )


def _experiment_gone(stockroom: Stockroom, name: str, model: str) -> Trouble:
    return Trouble(
        Finding(
            what="gc-risk",
            where=f"{name}/experiment",
            detail=f"MLflow's experiment {model!r} is deleted: `mlflow gc` would destroy its files",
            mendable=True,
            remedy="--repair restores the experiment.",
        ),
        lambda: stockroom.restore_experiment(model),
    )


def _lost_run(stockroom: Stockroom, version: FiledVersion, held: Inventory) -> Iterator[Trouble]:
    run = next((run for run in held.runs if run.run_id == version.run_id), None)
    if run is None:
        yield Trouble(
            Finding(
                what="run-lost",
                where=_name(version),
                detail=f"MLflow has no run {version.run_id}: its curves and settings are gone there",
                mendable=False,
                remedy="Nothing that serves needs it. Restore MLflow's store to have it back.",
            )
        )
    elif run.deleted:
        yield Trouble(
            Finding(
                what="gc-risk",
                where=f"{_name(version)}/run",
                detail=f"run {run.run_id} is deleted in MLflow: `mlflow gc` would destroy it",
                mendable=True,
                remedy="--repair restores the run.",
            ),
            lambda: stockroom.restore_run(run.run_id),
        )


def _lost_files(registry: Registry, version: FiledVersion, held: Inventory) -> Iterator[Trouble]:
    """Files that are not ours to the bit, or that MLflow may destroy."""
    settings, store = registry.settings, registry._artifacts()
    active = version.model_id in held.uploads
    copy = _whole_copy(registry, version)
    try:
        stored_files_checked(version, settings, store)
        fault = None
    except (CheckFailed, DigestMismatch) as error:
        fault = str(error)
    if fault is None and active:
        return

    def again() -> None:
        folder = registry.artifact_path(version.sequence, version.version) if not fault else copy
        assert folder is not None
        if active and version.model_id is not None:
            store.discard(version.model_id)
        refile(registry._database, settings, store, version.sequence, version.version, folder)

    if fault is None:
        yield Trouble(
            Finding(
                what="gc-risk",
                where=f"{_name(version)}/files",
                detail=f"MLflow has no upload {version.model_id} in use: `mlflow gc` would destroy"
                " the files",
                mendable=True,
                remedy="--repair uploads the files again, while they are there.",
            ),
            again,
        )
        return
    yield Trouble(
        Finding(
            what="digest",
            where=_name(version),
            detail=fault,
            mendable=copy is not None,
            remedy="--repair uploads them again from the checked copy in this home."
            if copy
            else "Restore these files from a backup. Until then the version cannot serve or be"
            " promoted; roll back if it is the champion.",
        ),
        again if copy else None,
    )


def _whole_copy(registry: Registry, version: FiledVersion) -> Path | None:
    """A fetched copy of a remote version's files in this home, if it is whole."""
    folder = registry.settings.home / "cache" / version.manifest_sha256
    if not folder.is_dir():
        return None
    try:
        check_files(_name(version), folder, version.files)
    except DigestMismatch:
        return None
    return folder


def _lost_version(registry: Registry, version: FiledVersion, held: Inventory) -> Iterator[Trouble]:
    """The number in our row must serve our upload: MLflow's names and numbers can be used again."""
    if version.model_id not in held.uploads or version.model_version is None:
        return  # its files come first
    if _is_whole(version, held):
        return
    number = version.model_version
    there = held.versions.get(number)
    if there is not None:
        what, detail = "model-recreated", f"MLflow's version {number} serves other files"
    elif held.known:
        what, detail = "model-deleted", f"MLflow's version {number} was deleted"
    else:
        what, detail = "model-deleted", f"MLflow's model {version.model_name!r} was deleted"

    def again() -> None:
        store = registry._artifacts()
        relink(registry._database, registry.settings, store, version.sequence, version.version)

    yield Trouble(
        Finding(
            what=what,
            where=_name(version),
            detail=detail,
            mendable=True,
            remedy="--repair makes a new model version of the same files, and points aliases at it.",
        ),
        again,
    )


def _orphans(
    registry: Registry,
    stockroom: Stockroom,
    name: str,
    versions: tuple[FiledVersion, ...],
    held: Inventory,
) -> Iterator[Trouble]:
    """Runs, uploads and versions that no row of ours stands for."""
    model = registry.model_name(name)
    by_key = {version.idem_key: version for version in versions}
    with registry._database.reading() as session:
        base = base_key(name, lineage.known_sequence(session, name).base_digest)
    used = {version.model_id for version in versions} | {
        each.model_id for each in held.versions.values() if each.key == base
    }
    old = now() - PATIENCE
    for number, stored in held.versions.items():
        mine = by_key.get(stored.key)
        if mine is None and stored.key != base:
            yield Trouble(_foreign(name, number))
        elif mine is not None and _is_whole(mine, held) and mine.model_version != number:
            yield Trouble(
                _orphan(name, "doubled-version", f"version-{number}", f"a second {_name(mine)}"),
                partial(stockroom.delete_version, model, number),
            )
    served = {each.model_id for each in held.versions.values()}
    for upload in held.uploads.values():
        mine = by_key.get(upload.key)
        if upload.model_id in used:
            continue
        if mine is None and (upload.model_id in served or upload.begun > old):
            continue
        if mine is not None and mine.state != "registered" and upload.ready:
            continue  # whole: filing goes on with it
        detail = "an upload without a version" if upload.ready else "an upload that never ended"
        discard = stockroom.delete_upload if mine is None else registry._artifacts().discard
        yield Trouble(
            _orphan(name, "orphan-upload", upload.model_id, detail),
            partial(discard, upload.model_id),
        )
    running = {version.run_id for version in versions}
    for run in held.runs:
        mine = by_key.get(run.key)
        waits = mine is not None and mine.state == "reserved"  # filing finds it by its key
        if run.deleted or run.run_id in running or run.key == base or waits:
            continue
        if mine is None and (run.ended or run.begun > old):
            continue
        yield Trouble(
            _orphan(name, "orphan-run", run.run_id, "a run without a version"),
            partial(stockroom.delete_run, run.run_id),
        )


def _is_whole(version: FiledVersion, held: Inventory) -> bool:
    """Whether MLflow's version of the number in our row serves the upload in our row."""
    there = held.versions.get(version.model_version or 0)
    registered = version.state == "registered"
    return registered and there is not None and there.model_id == version.model_id


def _orphan(name: str, what: str, where: str, detail: str) -> Finding:
    return Finding(
        what=what,
        where=f"{name}/{where}",
        detail=detail,
        mendable=True,
        remedy="--repair marks it deleted in MLflow; `mlflow gc` then frees the room.",
    )


def _foreign(name: str, number: int) -> Finding:
    return Finding(
        what="foreign-version",
        where=f"{name}/version-{number}",
        detail=f"MLflow's version {number} of this model was not filed by this registry",
        mendable=False,
        remedy="Delete it in MLflow if nobody needs it; or our database was restored from before"
        " it was filed: then run `lori run FILE` again.",
    )


def _spoilt_predictions(registry: Registry, name: str) -> Iterator[Trouble]:
    """The answers that gates test on must be those that were scored."""
    for cell in registry.cells(name):
        if cell.predictions is None or cell.predictions_sha256 is None:
            continue
        place = registry.settings.home / cell.predictions
        found = sha256_file(place) if place.is_file() else "missing"
        if found != cell.predictions_sha256:
            column = f"{cell.task} under {cell.adapter_of}" if cell.adapter_of else cell.task
            yield Trouble(
                Finding(
                    what="predictions",
                    where=f"{name}/{cell.version}/{cell.read}/{column}",
                    detail=f"{cell.predictions} is {found[:16]}, not {cell.predictions_sha256[:16]}",
                    mendable=False,
                    remedy="Restore the file from a backup: no gate can test on this cell without it.",
                )
            )


def _broken_log(name: str, faults: tuple[str, ...]) -> Iterator[Trouble]:
    for fault in faults:
        yield Trouble(
            Finding(
                what="chain",
                where=f"{name}/log/{fault.partition(':')[0].removeprefix('position ')}",
                detail=fault,
                mendable=False,
                remedy="Somebody wrote in the database or its anchors: compare with a backup, and"
                " keep both. A log is never mended.",
            )
        )


def _broken_records(registry: Registry, name: str) -> Iterator[Trouble]:
    """What promotion takes from digests alone for earlier versions is read in full here."""
    for fault in record_faults(registry, name):
        where, _, detail = fault.partition(": ")
        yield Trouble(
            Finding(
                what="record",
                where=where,
                detail=detail,
                mendable=False,
                remedy="Somebody wrote in the database: restore it from a backup. What stands on"
                " this version cannot be promoted.",
            )
        )


def _aliases(
    registry: Registry,
    name: str,
    filed: tuple[FiledVersion, ...],
    held: Inventory,
    *,
    broken: bool,
) -> Iterator[Trouble]:
    """Aliases that are not where our log says; on a broken log nothing is moved that stands on it."""
    unsafe = (
        "Nothing is moved on the word of a broken log: `lori rollback` with --to-version or --base"
        " moves what serves, and the registry has to be restored from a backup."
    )
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, name)
        key = base_key(name, owner.base_digest)
        try:
            stuck = decided.interrupted(session, owner)
            serving: dict[Alias, int | None] = {
                alias: decided.serving(session, owner, alias) for alias in applying.ALIASES
            }
        except CheckFailed:
            if not broken:
                raise
            return  # a promotion is gone, which was told with its position
    if stuck is not None:
        yield Trouble(
            Finding(
                what="stuck-promotion",
                where=f"{name}@{stuck.alias}",
                detail=f"promotion {stuck.id} to version {stuck.to_version} began and never ended",
                mendable=not broken,
                remedy=unsafe
                if broken
                else "--repair ends it: applied if MLflow's alias was set, else failed.",
            ),
            None if broken else lambda: applying.reconcile(registry, name),
        )
        return
    store, model = registry.aliases(), registry.model_name(name)
    numbers = {version.version: version.model_version for version in filed}
    numbers[BARE_BASE] = min((n for n, each in held.versions.items() if each.key == key), default=0)
    for alias, version in serving.items():
        found = store.get_alias(model, alias)
        if found == (None if version is None else numbers.get(version)):
            continue
        says = "nothing" if version is None else f"version {version}"
        yield Trouble(
            Finding(
                what="alias-drift",
                where=f"{name}@{alias}",
                detail=f"MLflow's alias is at {found or 'nothing'} there; our log says {says}",
                mendable=not broken,
                remedy=unsafe
                if broken
                else "--repair sets the alias as our log has it, and writes down both.",
            ),
            None if broken else lambda: applying.restore_aliases(registry, name, DOCTOR),
        )


def _name(version: FiledVersion) -> str:
    return f"{version.sequence}/{version.version}"
