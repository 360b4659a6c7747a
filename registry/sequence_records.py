"""What a page is told about one sequence: plain frozen data, made by `registry.sequence_view`."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from lori_core.config import Read
from registry.capacity_view import CapacityView
from registry.decisions import Freeze
from registry.matrix_view import GuardsView, MatrixView, Score
from registry.overlaps import OverlapsView
from registry.queue_records import SequenceQueue
from registry.records import CertificateLevel, VersionState
from registry.score_changes import Change, NotComparable
from registry.score_curves import Earlier, Mean, VersionFigures


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHead:
    """What a sequence is, and what serves."""

    name: str
    base_path: str
    base_digest: str
    protection: str
    trained_read: Read
    """The mode it is trained and served under."""
    tasks: int
    """Declared."""
    learned: int
    """Versions that are filed."""
    newest: int | None
    """The newest filed version."""
    newest_task: str | None
    champion: int | None
    """0: the bare base; None: nothing was ever promoted."""
    champion_since: datetime | None
    candidate: int | None
    previous: int | None
    fault: str | None
    """Why it is not known what serves: the log is not what it was."""
    logged_champion: int | None
    """Where there is a fault: what the log alone still says serves; None where it says nothing."""
    requests: int
    """Promotions that wait for a second person."""
    frozen: Freeze | None


@dataclass(frozen=True, slots=True, kw_only=True)
class GateBrief:
    """What the gate answered last about a version."""

    version: int
    ok: bool
    at: datetime
    rules: int
    passed: int
    undefined: int
    """Of which there is nothing to say yet: they refuse nothing."""
    refusals: int
    """How many of them refuse."""
    refusing: tuple[tuple[str, str, str], ...]
    """The first of those: name, verdict, and why in one sentence."""
    stale: tuple[str, ...]
    """Why it may say something else when the version is judged again; empty: nothing we know of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loss:
    """What one task lost since it was at its best."""

    task: str
    position: int
    best_at: int
    """The version it was at its best."""
    change: Change | NotComparable
    """Positive: lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadSummary:
    """One read mode in one line."""

    read: Read
    trained: bool
    measured: int
    """Cells of R."""
    missing: int
    """Cells that were to be measured under this mode, and were not."""
    average: Mean | None
    forgetting: Mean | None
    worst: Loss | None
    """Of the newest version. None: nothing was learned before it, or nothing was measured."""
    earlier: Earlier
    """The tasks before the newest version, by how it is known what they lost."""
    all_proved: bool
    """Every earlier task is proved unchanged."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskGap:
    """How far a task stays behind what it reached alone in another sequence."""

    sequence: str
    version: int
    alone: Score
    change: Change | NotComparable
    """From alone to here; negative: behind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskLine:
    """One task: what it gained, what it kept."""

    position: int
    task: str
    metric: str
    learned: bool
    retired: datetime | None
    superseded_by: str | None
    base: Score | None
    own: Score | None
    """Just after it was learned."""
    now: Score | None
    """At the newest version."""
    gain: Change | NotComparable | None
    """From the base to its own version."""
    ahead: Change | NotComparable | None
    """From the base to the version before its own: what the earlier tasks did for it."""
    lost: Loss | None
    gap: TaskGap | None
    left_before: float | None
    """The share of B that nobody owned when it was learned."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One version: what it learned, what it cost, how it stands."""

    version: int
    task: str
    state: VersionState
    at: datetime
    level: CertificateLevel
    certificate_sha256: str
    covers: int
    """Earlier tasks its certificate covers."""
    read: Read
    """The mode its certificate is of."""
    entries: int
    """Entries of B its task writes."""
    gate_ok: bool | None
    """None: never judged."""
    aliases: tuple[str, ...]
    stale: str | None
    figures: VersionFigures | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceView:
    """One sequence under one read mode."""

    head: SequenceHead
    reads: tuple[ReadSummary, ...]
    """The three modes side by side, measured or not."""
    read: Read
    """The mode that is shown."""
    gate: GateBrief | None
    """About the newest version; None: never judged."""
    queue: SequenceQueue
    matrix: MatrixView
    guards: GuardsView | None
    """None: the sequence has none."""
    served_guards: GuardsView | None
    """Under the mode it serves, whatever is shown."""
    tasks: tuple[TaskLine, ...]
    """Of the window's columns."""
    versions: tuple[VersionLine, ...]
    """Of the window's rows, the newest first."""
    figures: tuple[VersionFigures, ...]
    """Of every version."""
    gaps: tuple[tuple[float, TaskGap], ...]
    """Of the window's tasks that have a reference: the capacity left, and the gap."""
    capacity: CapacityView
    overlaps: OverlapsView
    levels: Mapping[str, int]
    """Level of certificate -> versions that have it."""
