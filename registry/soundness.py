"""Is a version what was certified? By hash alone, of everything that it stands on; no torch.

Looked at, for the version and every earlier one: our rows agree with each other, every file has our
digest, the certificate among the files is the one in our rows, and certifies these very adapters and
masks. Whether probes still answer as they did is `lori verify`, which runs the model.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import cast, get_args

from sqlalchemy import select
from sqlalchemy.orm import joinedload

from lori_core.config import AdapterConfig, Protection, Read
from lori_core.digests import sha256_json
from lori_core.errors import BadInput, CheckFailed
from lori_core.validation import reachable_level
from registry import lineage
from registry.models import Adapter, Version
from registry.records import Json
from registry.store import Registry

CERTIFICATE = "certificate.json"
"""The certificate among a version's files."""


@dataclass(frozen=True, slots=True)
class _Stored:
    """What our rows say of one version."""

    name: str
    number: int
    task: str
    state: str
    adapter: str
    mask: str
    manifest: Json
    manifest_sha256: str
    document: Json
    document_sha256: str
    level: str
    read: str


def faults(registry: Registry, sequence: str, version: int) -> tuple[str, ...]:
    """What is wrong with a version or an earlier one that it stands on; nothing when it is sound.

    Raises:
        BadInput: there is no such version.
    """
    found: list[str] = []
    previous: _Stored | None = None
    base = registry.sequence(sequence).base_digest
    for stored in _stored(registry, sequence, version):
        wrong = [*_rows_faults(stored), *_document_faults(stored, base)]
        if not wrong:
            wrong += _chain_faults(stored, previous)
        wrong += _file_faults(registry, sequence, stored)
        found += [f"{stored.name}: {each}" for each in wrong]
        previous = stored
    return tuple(found)


def _stored(registry: Registry, sequence: str, version: int) -> list[_Stored]:
    with registry._database.reading() as session:
        lineage.version_row(session, sequence, version)
        owner = lineage.known_sequence(session, sequence)
        rows = session.scalars(
            select(Version)
            .where(Version.sequence_id == owner.id, Version.number <= version)
            .order_by(Version.number)
            .options(
                joinedload(Version.certificate),
                joinedload(Version.adapter).joinedload(Adapter.mask),
            )
        )
        return [
            _Stored(
                name=f"{sequence}/{row.number}",
                number=row.number,
                task=row.task,
                state=row.state,
                adapter=row.adapter.sha256,
                mask=row.adapter.mask.sha256,
                manifest=row.adapter.manifest,
                manifest_sha256=row.adapter.manifest_sha256,
                document=row.certificate.document,
                document_sha256=row.certificate.sha256,
                level=row.certificate.level,
                read=row.certificate.read,
            )
            for row in rows
        ]


def _rows_faults(stored: _Stored) -> Iterator[str]:
    """Our rows against each other."""
    if stored.state != "registered":
        yield f"it is {stored.state}, not filed"
    if sha256_json(stored.manifest) != stored.manifest_sha256:
        yield "its manifest is not the one that was filed"
    said = {
        "adapter_sha256": stored.adapter,
        "mask_sha256": stored.mask,
        "certificate_sha256": stored.document_sha256,
    }
    for key, expected in said.items():
        if stored.manifest.get(key) != expected:
            yield f"its rows and its manifest differ in {key}"
    if sha256_json(stored.document) != stored.document_sha256:
        yield "its certificate is not the one that was filed"


def _document_faults(stored: _Stored, base: str) -> Iterator[str]:
    """The certificate against what it certifies."""
    document = stored.document
    if (document.get("level"), document.get("read")) != (stored.level, stored.read):
        yield "its certificate's level or read mode is not the one in our rows"
    protection, read = document.get("protection"), document.get("read")
    if protection not in get_args(Protection) or read not in get_args(Read):
        yield "its certificate names no protection and read mode"
    elif stored.level > reachable_level(
        AdapterConfig(protection=cast(Protection, protection), read=cast(Read, read))
    ):
        yield f"its certificate claims {stored.level}, beyond what the {read} read can reach"
    if _mapping(document.get("base")).get("digest") != base:
        yield "its certificate is of another base"
    tasks = [_mapping(task) for task in cast(list[object], document.get("tasks") or [])]
    places = [task.get("position") for task in tasks]
    if document.get("version") != stored.number or places != list(range(1, stored.number + 1)):
        yield "its certificate does not certify each task once"
        return
    mine = tasks[-1]
    if mine.get("task") != stored.task:
        yield f"its certificate is of task {mine.get('task')!r}"
    if mine.get("content") != stored.adapter:
        yield "its certificate is of another adapter"
    if sha256_json(mine.get("masks")) != stored.mask:
        yield "its certificate is of another mask"


def _chain_faults(stored: _Stored, previous: _Stored | None) -> Iterator[str]:
    """The certificate against the one before: the same tasks, to the bit."""
    expected = None if previous is None else previous.document_sha256
    if stored.document.get("previous") != expected:
        yield "its certificate does not follow that of the version before"
    if previous is None:
        return
    before = cast(list[Json], previous.document.get("tasks") or [])
    now = cast(list[Json], stored.document["tasks"])
    for was, task in zip(before, now, strict=False):
        for part in ("content", "masks", "values", "a", "head"):
            if was.get(part) != task.get(part):
                yield f"task {task.get('task')} is not the one certified before ({part})"
                break


def _file_faults(registry: Registry, sequence: str, stored: _Stored) -> Iterator[str]:
    """The files against our digests, and their certificate against ours."""
    if stored.state != "registered":
        return
    try:
        folder = registry.artifact_path(sequence, stored.number)
    except (BadInput, CheckFailed) as error:
        yield str(error).removeprefix(f"{stored.name}: ")
        return
    path = folder / CERTIFICATE
    if not path.is_file():
        yield f"no {CERTIFICATE} is among its files"
        return
    try:
        kept = json.loads(path.read_bytes())
    except ValueError:
        kept = None
    if kept != stored.document:
        yield "the certificate among its files is not the one in our rows"


def _mapping(value: object) -> Mapping[str, object]:
    return value if isinstance(value, Mapping) else {}
