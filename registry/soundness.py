"""Is a version what was certified? By hash alone, of everything that it stands on; no torch.

Looked at, for the version and every earlier one: our rows agree with each other, every file has our
digest, the certificate among the files is the one in our rows, certifies these very adapters and
masks, and follows the one before to the bit. Whether probes still answer as they did is
`lori verify`, which runs the model; what it found wrong last counts here.

The version itself is always checked in full, where the store has its files: a copy that was fetched
before says nothing of what a server will load. Of an earlier one that was checked in full before, only
the digests in our rows and the marks of its files are compared (`registry.untouched`), so that
a long sequence costs hardly more than a short one. Everything of every version is read again by
`lori doctor`: the documents by `record_faults`, the files in the store by `registry.troubles`.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, cast, get_args

from sqlalchemy import Select, select
from sqlalchemy.orm import joinedload

from lori_core.config import AdapterConfig, Protection, Read
from lori_core.digests import sha256_bytes, sha256_json
from lori_core.errors import BadInput, CheckFailed, Unavailable
from lori_core.validation import reachable_level
from registry import lineage, models
from registry.artifacts import local_folder
from registry.models import Adapter, Certificate, Mask, Version
from registry.records import Json
from registry.refiling import stored_files_checked
from registry.store import Registry
from registry.untouched import Untouched, marks_of
from registry.verified import found_wrong

CERTIFICATE = "certificate.json"
"""The certificate among a version's files."""

NOT_FILED = "its certificate is not the one that was filed"

MEMORY = "checked"
"""Folder in the home for what was checked before."""


class _Told(NamedTuple):
    """What the columns of our rows say of one version: digests, and no document."""

    number: int
    state: str
    uri: str | None
    task: str
    adapter: str
    mask: str
    manifest_sha256: str
    level: str
    read: str
    document_sha256: str


@dataclass(frozen=True, slots=True)
class _Stored:
    """What our rows say of one version, with the documents the digests are of."""

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

    Args:
        registry: our rows, and the files.
        sequence: its name.
        version: the last one to look at.

    Raises:
        BadInput: there is no such version.
        Unavailable: the store with the files does not answer.
    """
    base, told = _told(registry, sequence, version)
    memory = Untouched(registry.settings.home / MEMORY / f"{sequence}.jsonl")
    wrong_probes = found_wrong(
        registry, sequence, {each.number: each.manifest_sha256 for each in told}
    )
    found = [
        f"{sequence}/{number}: `lori verify` found it not as certified on {at:%Y-%m-%d %H:%M} UTC;"
        " once it finds it as certified, this is over"
        for number, at in wrong_probes.items()
    ]
    before: _Told | None = None
    previous: _Stored | None = None
    for each in told:
        key, folder = _key(base, each, before), _folder(registry, each)
        last = each.number == version
        if not last and folder is not None and memory.holds(key, folder):
            before, previous = each, None
            continue
        if previous is None and before is not None:
            previous = _stored(registry, sequence, before.number)
            if sha256_json(previous.document) != previous.document_sha256:
                found.append(f"{previous.name}: {NOT_FILED}")
        marks = None if folder is None else marks_of(folder)
        stored = _stored(registry, sequence, each.number)
        wrong = [
            *_record_faults(stored, previous, base),
            *_file_faults(registry, sequence, stored, in_store=last),
        ]
        found += [f"{stored.name}: {fault}" for fault in wrong]
        if folder is not None and not wrong:
            memory.note(key, folder, marks)
        before, previous = each, stored
    memory.keep()
    return tuple(found)


def record_faults(registry: Registry, sequence: str) -> tuple[str, ...]:
    """What is wrong in the rows of a sequence's filed versions, every document of theirs read anew.

    Files are not looked at: `faults` and `registry.troubles` do that.
    """
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        base = owner.base_digest
        filed = Version.sequence_id == owner.id, Version.state == "registered"
        numbers = session.scalars(select(Version.number).where(*filed).order_by(Version.number))
        wanted = numbers.all()
    found: list[str] = []
    previous: _Stored | None = None
    for number in wanted:
        stored = _stored(registry, sequence, number)
        found += [f"{stored.name}: {fault}" for fault in _record_faults(stored, previous, base)]
        previous = stored
    return tuple(found)


def _told(registry: Registry, sequence: str, version: int) -> tuple[str, list[_Told]]:
    """The base's digest, and a version with all before it."""
    with registry._database.reading() as session:
        lineage.version_row(session, sequence, version)
        owner = lineage.known_sequence(session, sequence)
        rows = session.execute(_columns(owner).where(Version.number <= version))
        # By themselves, out of an index: in their rows they stand behind the documents.
        digests = session.execute(
            select(Certificate.id, Certificate.sha256).where(
                Certificate.sequence_id == owner.id, Certificate.number <= version
            )
        )
        known = {identity: digest for identity, digest in digests}  # noqa: C416  rows are no pairs
        return owner.base_digest, [
            _Told._make((*said, known.get(int(by), ""))) for *said, by in rows
        ]


def _columns(owner: models.Sequence) -> Select[tuple[Any, ...]]:
    return cast(
        Select[tuple[Any, ...]],
        select(
            Version.number,
            Version.state,
            Version.artifact_uri,
            Version.task,
            Adapter.sha256,
            Mask.sha256,
            Adapter.manifest_sha256,
            Certificate.level,
            Certificate.read,
            Version.certificate_id,
        )
        .join(Adapter, Adapter.id == Version.adapter_id)
        .join(Mask, Mask.adapter_id == Adapter.id)
        .join(Certificate, Certificate.id == Version.certificate_id)
        .where(Version.sequence_id == owner.id)
        .order_by(Version.number),
    )


def _key(base: str, told: _Told, before: _Told | None) -> str:
    """One text for everything in our rows that a check of a version compares."""
    follows = "" if before is None else before.document_sha256
    return sha256_bytes(repr((base, follows, *told)).encode())


def _folder(registry: Registry, told: _Told) -> Path | None:
    """Where a version's files lie on this machine, or will when they are fetched."""
    if told.uri is None or told.state != "registered":
        return None
    home = registry.settings.home
    try:
        return local_folder(told.uri, home) or home / "cache" / told.manifest_sha256
    except CheckFailed:
        return None  # the check in full says why


def _stored(registry: Registry, sequence: str, version: int) -> _Stored:
    with registry._database.reading() as session:
        owner = lineage.known_sequence(session, sequence)
        row = session.scalars(
            select(Version)
            .where(Version.sequence_id == owner.id, Version.number == version)
            .options(
                joinedload(Version.certificate),
                joinedload(Version.adapter).joinedload(Adapter.mask),
            )
        ).one()
        return _Stored(
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


def _record_faults(stored: _Stored, previous: _Stored | None, base: str) -> list[str]:
    wrong = [*_rows_faults(stored), *_document_faults(stored, base)]
    if not wrong:
        wrong += _chain_faults(stored, previous)
    return wrong


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
        yield NOT_FILED


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


def _file_faults(
    registry: Registry, sequence: str, stored: _Stored, *, in_store: bool
) -> Iterator[str]:
    """The files against our digests, and their certificate against ours.

    `in_store`: not only a copy that was fetched before.
    """
    if stored.state != "registered":
        return
    home = registry.settings.home
    copied = (home / "cache" / stored.manifest_sha256).is_dir()  # else it is fetched right now
    try:
        folder = registry.artifact_path(sequence, stored.number)
        filed = registry.version(sequence, stored.number)
        if in_store and copied and local_folder(filed.artifact_uri or "", home) is None:
            stored_files_checked(filed, registry.settings, registry._artifacts())
    except Unavailable:
        raise
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
