"""What crosses the registry's boundary: frozen dataclasses of plain data, never a database object.

A mapping in a record is JSON (string keys; strings, numbers, booleans, None, lists, mappings).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from lori_core.config import Read

Json = Mapping[str, object]

CertificateLevel = Literal["G0", "G1", "G2"]
StageState = Literal["running", "finished", "failed"]
VersionState = Literal["reserved", "started", "uploaded", "verified", "versioned", "registered"]
"""How far filing came, one word for each of its six steps; `registered` is filed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceRecord:
    """One base and the order of tasks learned on it."""

    name: str
    base_digest: str
    """Digest of weights, tokenizer and dtype: the base's identity."""
    base_path: str
    """Folder or hub id where the base was found; it may move, the digest may not change."""
    base: Json = field(default_factory=dict)
    """How the base is loaded: `revision`, `dtype`."""
    adapter: Json
    """The shared adapter's settings, fixed once a task was learned."""
    settings: Json = field(default_factory=dict)
    """What may change later: guards, evaluate, gate, promotion."""
    tasks: tuple[str, ...]
    """Names of all tasks in file order; position 1 is the first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRecord:
    """One task of a sequence."""

    position: int
    """1..T."""
    name: str
    config: Json
    """What determines learning and scoring, without paths (the data digests stand for those)."""
    data: Json
    """Digest of each snapshot: `train`, `test`, `validation`, `over_refusal`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StageRun:
    """One attempt at one stage."""

    key: str
    """The stage's content key."""
    stage: str
    sequence: str
    task: str | None
    attempt: int
    """1 for the first."""
    state: StageState
    pid: int | None
    process_started: float | None
    """The process's own start time, in seconds since the epoch: tells it from a later owner of the pid."""
    started: datetime
    finished: datetime | None
    detail: Json
    """What the stage wants remembered (its folder's digest, seconds, the error)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One measured cell of R, or of the guards."""

    key: str
    """Digest over base, effective adapter, test set, metric version and rows: equal keys, equal score."""
    sequence: str
    version: int
    """Row of R; 0 is the bare base."""
    task: str
    """Column of R."""
    read: Read
    adapter_of: str | None = None
    """For a guard: the task whose served adapter it was scored under. None in R itself."""
    value: float
    """Score as a fraction."""
    n: int
    low: float
    high: float
    metric: str
    metric_version: str
    parts: Json = field(default_factory=dict)
    base_digest: str
    effective_digest: str | None
    """Digest of the adapter as read; None for the bare base."""
    test_digest: str
    predictions: str | None = None
    """File with one prediction a row."""
    predictions_sha256: str | None = None
    created: datetime | None = None
    """Set by the registry."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MaskRecord:
    """The write mask of one task adapter."""

    sha256: str
    nnz: int
    """Entries the task may write."""
    total: int
    """Entries of B in all."""
    layers: Mapping[str, int]
    """Layer name -> entries owned there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateRecord:
    """What proves what did not change at one version."""

    level: CertificateLevel
    read: Read
    document: Json
    """The certificate itself."""
    sha256: str
    """Of the document's canonical JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionRecord:
    """A version to be filed: what `Registry.file_version` is given beside the folder of files."""

    sequence: str
    version: int
    """1..T; its task is the one declared at this position."""
    task: str
    adapter_sha256: str
    """Digest of the task adapter's content, equal for equal bits wherever made."""
    mask: MaskRecord
    certificate: CertificateRecord
    params: Mapping[str, str] = field(default_factory=dict)
    """Shown as the MLflow run's params (sparsity, learning rates, steps)."""
    metrics: Mapping[str, float] = field(default_factory=dict)
    """Shown as the MLflow run's metrics (final losses, seconds). Cells are added by the registry."""
    notes: Json = field(default_factory=dict)
    """How it was learned, remembered with it (`registry.version_notes`); no part of what it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredFile:
    """One file of a version, by content."""

    path: str
    """Relative to the version's folder, with `/`."""
    sha256: str
    size: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FiledVersion:
    """A version as the registry has it."""

    sequence: str
    version: int
    task: str
    state: VersionState
    idem_key: str
    adapter_sha256: str
    mask_sha256: str
    manifest_sha256: str
    certificate: CertificateLevel
    run_id: str | None
    model_id: str | None
    model_name: str | None
    model_version: int | None
    artifact_uri: str | None
    """Where the files lie: relative to the home folder, or a URI MLflow can fetch."""
    size: int
    """Bytes of all files."""
    files: tuple[StoredFile, ...]
    created: datetime
    registered: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixRow:
    """One row of R."""

    version: int
    task: str | None
    """The task learned at this version; None for the base row."""
    cells: tuple[Cell | None, ...]
    """One for each task, in order; None was not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MatrixCells:
    """R for one read mode."""

    sequence: str
    read: Read
    tasks: tuple[str, ...]
    rows: tuple[MatrixRow, ...]
    covered: tuple[int, ...] = ()
    """Versions whose certificate covers this read: what proves their cells (`registry.covering`). Empty
    from a server that does not say, so that nothing is called proved on its word."""
