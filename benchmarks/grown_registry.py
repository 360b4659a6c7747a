"""A registry of any size, seeded in bulk: versions that are sound and pass the gate they meet.

What is real: the first version is filed by the six steps, and its rows, ours and MLflow's, are cloned
for the others; every version has its own files on disk, a certificate of every task learned so far
that follows the one before, and all digests agree, so that `soundness` and the gate find nothing
wrong. R and the guards hold the very cells that the default evaluation measures (`needed_cells`):
base, rows, the cell above the diagonal, in the read trained under (inherited, G2, disjoint masks)
and in the cumulative one, and one guard under every adapter. The log tells of a promotion a version.

What is small: weights are some bytes, certificates tell of `MODULES` modules, test sets have a few
hundred rows. What is left out: files of predictions for cumulative cells (no gate under the inherited read
opens them) and a file for each task of a kind (they share one); MLflow's metrics, and the serving
code beside a version's files.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from sqlalchemy import (
    Engine,
    Table,
    create_engine,
    func,
    select,
    text,
)

from benchmarks.grown_cells import (
    BASE,
    GUARD,
    Row,
    check_cells,
    insert_all,
    measured,
    reflected,
    task_of,
)
from lori_core.digests import canonical_json, sha256_bytes, sha256_json
from registry import ledger, lineage
from registry.clock import now
from registry.decision_models import PromotionRow
from registry.ledger import append, facts_hash
from registry.records import (
    CertificateRecord,
    FiledVersion,
    Json,
    MaskRecord,
    SequenceRecord,
    TaskRecord,
    VersionRecord,
)
from registry.store import Registry

MODULES = 2
DOCUMENTS = 100
"""Certificates in one insert: each tells of every task before."""
HISTORY = 10
"""Promotions in the log of each sequence, where there are many sequences; else one a version."""


OURS = ("sequences", "tasks", "adapters", "masks", "certificates", "versions", "evaluations")
MLFLOW = (
    "experiments", "runs", "tags", "params", "logged_models", "logged_model_tags",
    "registered_models", "registered_model_tags", "model_versions", "model_version_tags",
)  # fmt: skip


@dataclass(frozen=True)
class Size:
    """So many versions in each of so many sequences."""

    sequences: int
    versions: int

    def __str__(self) -> str:
        return f"{self.versions} in {self.sequences}" if self.sequences > 1 else f"{self.versions}"

    @property
    def logged(self) -> int:
        """Promotions in the log of each sequence."""
        return self.versions if self.sequences == 1 else min(HISTORY, self.versions)


def name_of(sequence: int) -> str:
    """The name of a sequence by its number."""
    return f"grown-{sequence}"


def adapter_digest(sequence: str, number: int) -> str:
    """What finds a version again by its content."""
    return sha256_json([sequence, number, "content"])


def certificates(sequence: str, versions: int) -> Iterator[tuple[Json, bytes, str]]:
    """The certificate of each version in order, as it is written, and its digest."""
    previous: str | None = None
    tasks: list[Json] = []
    for number in range(1, versions + 1):
        parts = {
            part: {f"layer.{m}": sha256_json([sequence, number, part, m]) for m in range(MODULES)}
            for part in ("masks", "values", "a")
        }
        content = adapter_digest(sequence, number)
        named = {"task": task_of(number), "position": number, "content": content, "head": None}
        tasks = [*tasks, {**named, **parts}]
        document = {
            "version": number,
            "level": "G2",
            "read": "inherited",
            "protection": "disjoint",
            "base": {"digest": BASE},
            "previous": previous,
            "tasks": tasks,
        }
        data = canonical_json(document).encode()
        previous = sha256_bytes(data)
        yield document, data, previous


def record_of(sequence: str, number: int) -> VersionRecord:
    """A version as it is handed in to be filed."""
    *_, (document, _, digest) = certificates(sequence, number)
    mine = cast(list[Json], document["tasks"])[-1]
    return VersionRecord(
        sequence=sequence,
        version=number,
        task=task_of(number),
        adapter_sha256=str(mine["content"]),
        mask=MaskRecord(sha256=sha256_json(mine["masks"]), nnz=3, total=30, layers={"layer.0": 3}),
        certificate=CertificateRecord(
            level="G2", read="inherited", document=document, sha256=digest
        ),
        params={"task": task_of(number), "learning_rate": "0.0005", "epochs": "3"},
    )


def write_files(folder: Path, sequence: str, number: int, certificate: bytes) -> Path:
    """The files of a version."""
    (folder / "adapter").mkdir(parents=True, exist_ok=True)
    for path, data in _files(sequence, number, certificate).items():
        (folder / path).write_bytes(data)
    return folder


def _files(sequence: str, number: int, certificate: bytes) -> dict[str, bytes]:
    weights = f"{sequence}/{number}".encode()
    return {
        "adapter/adapter_config.json": b'{"r": 4}',
        "adapter/adapter_model.safetensors": weights * 50,
        "certificate.json": certificate,
        "lori.safetensors": weights * 20,
    }


def file(registry: Registry, work: Path, record: VersionRecord) -> FiledVersion:
    """File a version for real, by the six steps."""
    place = work / "files" / record.sequence / str(record.version)
    data = canonical_json(record.certificate.document).encode()
    return registry.file_version(record, write_files(place, record.sequence, record.version, data))


def seed(registry: Registry, work: Path, size: Size, more: int) -> None:
    """File one version for real, then clone its rows until the registry has its size.

    Args:
        registry: an empty one.
        work: a folder for what is filed.
        size: of it, then.
        more: tasks that are declared and not learned yet, in the first sequence.
    """
    first = name_of(0)
    names = tuple(task_of(number) for number in range(1, size.versions + more + 1))
    registry.declare_sequence(
        SequenceRecord(
            name=first,
            base_digest=BASE,
            base_path="/models/micro",
            base={"revision": None, "dtype": "float32"},
            adapter={
                "r": 4, "lora_alpha": 8.0, "target_modules": ["q_proj"], "seed": 0,
                "protection": "disjoint", "read": "inherited",
            },
            settings={"guards": [GUARD], "promotion": "manual"},
            tasks=names,
        )
    )  # fmt: skip
    registry.declare_task(first, _task(first, 1))
    filed = file(registry, work, record_of(first, 1))
    _clone_ours(registry, size, names, filed)
    check_cells(registry, name_of(0), size.versions)
    _clone_mlflow(registry.settings.tracking_uri, size)
    for sequence in range(size.sequences):
        _promoted(registry, name_of(sequence), size)
        ledger.anchor(registry, name_of(sequence))


def _task(sequence: str, number: int) -> TaskRecord:
    name = task_of(number)
    return TaskRecord(
        position=number,
        name=name,
        config={"metric": "exact_match", "training": {"learning_rate": 5e-4, "epochs": 3}},
        data={role: sha256_json([sequence, name, role]) for role in ("train", "test")},
    )


def _clone_ours(registry: Registry, size: Size, names: Sequence[str], filed: FiledVersion) -> None:
    engine = registry._database.engine
    tables = reflected(engine, OURS)
    with engine.connect() as connection:
        first: dict[str, Row] = {
            name: dict(connection.execute(select(table)).mappings().one())
            for name, table in tables.items()
            if name != "evaluations"
        }
    for sequence in range(size.sequences):
        identity, name = 1 + sequence, name_of(sequence)
        if sequence:
            owner = {**first["sequences"], "id": identity, "name": name}
            insert_all(engine, tables["sequences"], [owner])
        tasks = names if sequence == 0 else names[: size.versions]
        begun = 2 if sequence == 0 else 1
        insert_all(
            engine,
            tables["tasks"],
            (
                {
                    **first["tasks"], "id": 10_000_000 + sequence * 10_000 + number,
                    "sequence_id": identity, "position": number, "name": task_of(number),
                    "data": dict(_task(name, number).data),
                }
                for number in range(begun, len(tasks) + 1)
            ),
        )  # fmt: skip
        fresh: dict[str, list[Row]] = {
            table: [] for table in ("adapters", "masks", "certificates", "versions")
        }
        for number, (document, data, digest) in enumerate(
            certificates(name, size.versions), start=1
        ):
            if number < begun:
                continue
            for table, row in _version_rows(
                registry, first, name, number, size, document, data, digest, filed
            ).items():
                told = {"sequence_id": identity} if "sequence_id" in first[table] else {}
                fresh[table].append({**row, **told})
            if number % DOCUMENTS == 0 or number == size.versions:
                for table, rows in fresh.items():
                    insert_all(engine, tables[table], rows)
                    rows.clear()
        measured(registry, tables, identity, name, size.versions)
    _settle(engine, tables)


def _version_rows(
    registry: Registry,
    first: Mapping[str, Row],
    sequence: str,
    number: int,
    size: Size,
    document: Json,
    data: bytes,
    digest: str,
    filed: FiledVersion,
) -> dict[str, Row]:
    """The rows of a version, its files written."""
    run, upload = ids(sequence, number)
    uri = str(filed.artifact_uri).replace(str(filed.model_id), upload)
    uri = uri.replace(name_of(0), sequence)
    place = Path(uri.removeprefix("file://"))
    write_files(registry.settings.home / place, sequence, number, data)
    mine = cast(list[Json], document["tasks"])[-1]
    mask = sha256_json(mine["masks"])
    manifest = {
        **cast(Json, first["adapters"]["manifest"]),
        "key": sha256_json([sequence, number]),
        "sequence": sequence,
        "version": number,
        "task": task_of(number),
        "adapter_sha256": mine["content"],
        "mask_sha256": mask,
        "certificate_sha256": digest,
        "files": {
            path: {"sha256": sha256_bytes(content), "size": len(content)}
            for path, content in _files(sequence, number, data).items()
        },
    }
    identity = int(sequence.removeprefix("grown-")) * size.versions + number
    made: Row = {"id": identity}
    return {
        "adapters": {
            **first["adapters"], **made, "sha256": mine["content"], "manifest": manifest,
            "manifest_sha256": sha256_json(manifest),
        },
        "masks": {**first["masks"], **made, "adapter_id": identity, "sha256": mask},
        "certificates": {
            **first["certificates"], **made, "number": number, "document": document,
            "sha256": digest,
        },
        "versions": {
            **first["versions"], **made, "number": number, "adapter_id": identity,
            "certificate_id": identity, "task": task_of(number), "artifact_uri": uri,
            "idem_key": sha256_json([sequence, number]), "run_id": run, "model_id": upload,
            "model_name": f"lori-{sequence}", "model_version": number,
        },
    }  # fmt: skip


def ids(sequence: str, number: int) -> tuple[str, str]:
    """MLflow's run and upload of a version that was cloned."""
    digest = sha256_json([sequence, number])
    return digest[:32], f"m-{digest[:32]}"


def _clone_mlflow(url: str, size: Size) -> None:
    engine = create_engine(url)
    tables = reflected(engine, MLFLOW)
    with engine.connect() as connection:
        kept = {
            name: [dict(row._mapping) for row in connection.execute(select(table))]
            for name, table in tables.items()
        }
    experiment = next(row for row in kept["experiments"] if str(row["name"]).startswith("lori-"))
    (was,) = kept["logged_models"]
    for sequence in range(size.sequences):
        fresh: dict[str, list[Row]] = {name: [] for name in MLFLOW}
        model, place = f"lori-{name_of(sequence)}", experiment["experiment_id"]
        if sequence:
            place = 1_000_000 + sequence
            fresh["experiments"].append({**experiment, "experiment_id": place, "name": model})
            for table in ("registered_models", "registered_model_tags"):
                fresh[table] += [{**row, "name": model} for row in kept[table]]
        for number in range(1 if sequence else 2, size.versions + 1):
            digest = sha256_json([name_of(sequence), number])
            run, upload = ids(name_of(sequence), number)
            where = str(was["artifact_location"]).replace(str(was["model_id"]), upload)
            where = where.replace(f"lori-{name_of(0)}", model)
            told: Mapping[str, Row] = {
                "runs": {"run_uuid": run, "experiment_id": place},
                "tags": {"run_uuid": run},
                "params": {"run_uuid": run},
                "logged_models": {
                    "model_id": upload, "experiment_id": place, "artifact_location": where,
                    "source_run_id": run,
                },
                "logged_model_tags": {"model_id": upload, "experiment_id": place},
                "model_versions": {
                    "name": model, "version": number, "source": f"models:/{upload}", "run_id": run,
                    "storage_location": where,
                },
                "model_version_tags": {"name": model, "version": number},
            }  # fmt: skip
            for table, changed in told.items():
                for row in kept[table]:
                    key = str(row.get("key", row.get("tag_key", "")))
                    tag = "tag_value" if "tag_value" in row else "value"
                    own = {tag: digest} if key in {"key", "manifest_sha256"} else {}
                    fresh[table].append({**row, **changed, **own})
        for name, rows in fresh.items():
            insert_all(engine, tables[name], rows)
    _settle(engine, tables)
    engine.dispose()


def _settle(engine: Engine, tables: Mapping[str, Table]) -> None:
    """What PostgreSQL does by itself in time: statistics; and numbers that go on after ours."""
    if engine.dialect.name != "postgresql":
        return
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for name, table in tables.items():
            if "id" in table.c and (highest := connection.scalar(select(func.max(table.c.id)))):
                told = {"name": name, "highest": highest}
                connection.execute(
                    text("SELECT setval(pg_get_serial_sequence(:name, 'id'), :highest)"), told
                )
        connection.execute(text("ANALYZE"))


def _promoted(registry: Registry, sequence: str, size: Size) -> None:
    """A history that ends at the newest version: one after another became champion."""
    last = size.versions
    with registry._database.writing() as session:
        owner = lineage.known_sequence(session, sequence)
        for number in range(last - size.logged + 1, last + 1):
            row = PromotionRow(
                sequence_id=owner.id, kind="promote", alias="champion",
                from_version=number - 1 or None, to_version=number, requested_by="seed",
                reason="seeded", expected=None, facts_sha256="", created=now(),
            )  # fmt: skip
            row.facts_sha256 = facts_hash(owner.name, row, None)
            session.add(row)
            session.flush()
            for kind in ("requested", "applying", "applied"):
                append(session, owner, kind, "seed", {"facts_sha256": row.facts_sha256}, row)
    store, model = registry.aliases(), registry.model_name(sequence)
    store.set_alias(model, "champion", last)
    if last > 1:
        store.set_alias(model, "previous", last - 1)
