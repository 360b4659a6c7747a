"""What crosses the boundary about who decided what serves, on which evidence: plain frozen data.

JSON keys are the field names; times are ISO 8601 with their zone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Literal

from lori_core.config import Read
from registry.records import CertificateLevel, Json

Alias = Literal["candidate", "champion", "previous"]
Role = Literal["viewer", "trainer", "reviewer", "promoter", "admin"]
Verdict = Literal["pass", "fail", "underpowered", "undefined"]
PromotionKind = Literal["promote", "rollback"]
PromotionState = Literal["requested", "approved", "rejected", "applying", "applied", "failed"]
EventKind = Literal[
    "requested", "approved", "rejected", "applying", "applied", "failed",
    "drift", "frozen", "thawed", "waiver-requested", "waiver-approved", "retired", "deleted",
]  # fmt: skip
Expect = int | Literal["none"] | None
"""The version that must serve now; `none` is nothing, None does not ask."""
BARE_BASE = 0
"""As a version: the base without any adapter."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who acts."""

    name: str
    role: Role
    account: bool
    """True for an account of the registry. False: the OS user on the embedded default, owner with
    every role, who can never be the second person."""
    vouched_by: tuple[str, ...] = ()
    """Who made his account, and the token or the password he acts by, and who made theirs: they could
    be him, and so he is no second person to them (`registry.vouching`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GatePolicy:
    """What a version must pass; immutable once recorded, versioned per sequence by content."""

    certificate: CertificateLevel
    max_guard_drop: float
    max_forgetting: float
    min_learning: float
    max_plasticity_gap: float | None
    confidence: float
    read: Read
    underpowered: Literal["refuse", "warn"] = "refuse"
    guards: tuple[str, ...] = ()
    approval: bool = False
    """A second person must approve."""
    version: int | None = None
    """1.. in the order the sequence's policies were recorded; None before that."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleResult:
    """One rule's answer about one version."""

    rule: str
    """`certificate`, `integrity`, `dependency`, `coverage`, `cells`, `test-set`,
    `guard:<guard>:under:<task>`, `forgetting:<task>`, `learning:<task>`, `plasticity:<task>`."""
    figure: float | None
    """None when undefined by construction."""
    bound: float | None
    """The one-sided confidence bound that was compared with `limit`."""
    limit: float | None
    ok: bool
    verdict: Verdict
    why: str
    """One sentence for a person, with the numbers."""
    n: int | None = None
    needed: int | None = None
    """For `underpowered`: the rows it would need."""
    waived: str | None = None
    """Who waived it, until when, when a live waiver makes a failed rule `ok`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReport:
    """Every rule of a policy, about one version, against one champion."""

    sequence: str
    version: int
    champion: int | None
    """The champion it was judged against; None where there is none."""
    policy: GatePolicy
    ok: bool
    rules: tuple[RuleResult, ...]
    test_uses: Mapping[str, int] = field(default_factory=dict)
    """Task -> how often its test set was used for a decision, this one included."""
    tests: Mapping[str, str] = field(default_factory=dict)
    """Task -> digest of its test set, where its rows were compared; equal by digest is no use of it."""
    evidence: Mapping[str, str] = field(default_factory=dict)
    """Place of a cell that was used (`R[2, math]`, `safety under math at version 2`) -> its key."""
    id: int | None = None
    """Set once recorded."""
    sha256: str | None = None
    created: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Promotion:
    """One request to move an alias, and where it stands."""

    id: int
    sequence: str
    kind: PromotionKind
    alias: Alias
    from_version: int | None
    """What served when it was applied (or was asked for); None: nothing; 0: the bare base."""
    to_version: int
    status: PromotionState
    requested_by: str
    approved_by: str | None
    reason: str
    requested_at: datetime
    applied_at: datetime | None
    report_id: int | None
    report_sha256: str | None
    detail: str = ""
    """Why it failed or was rejected."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One row of a sequence's append-only log."""

    position: int
    """1.. without a gap in one sequence."""
    kind: EventKind
    promotion: int | None
    actor: str
    at: datetime
    payload: Json
    previous: str
    """Hash of the entry before; 64 zeros for the first."""
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ChainCheck:
    """Whether a sequence's log is what it was."""

    ok: bool
    length: int
    head: str
    faults: tuple[str, ...]
    """One sentence for each, with the position."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Confirmation:
    """A server says what it loaded: what served, beside what was designated to."""

    sequence: str
    version: int
    task: str
    read: Read
    digest: str
    """sha256 of the adapter file it loaded."""
    host: str
    loaded_at: datetime
    matches: bool
    """Whether the digest is that of an export of this version we know."""
    told_at: datetime | None = None
    """When it said so, by our clock: `loaded_at` is by its own word."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedThen:
    """What an alias pointed at, at a time."""

    sequence: str
    alias: Alias
    at: datetime
    version: int | None
    promotion: Promotion | None
    """The promotion that put it there."""
    confirmed: tuple[Confirmation, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Waiver:
    """One gate rule of one version, set aside for a time by two persons."""

    id: int
    sequence: str
    version: int
    rule: str
    reason: str
    requested_by: str
    approved_by: str | None
    """None: not in force yet."""
    expires: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Freeze:
    """A time in which nothing of a sequence is promoted (an emergency rollback still is)."""

    sequence: str
    until: datetime
    reason: str
    by: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something `lori doctor` found wrong."""

    what: str
    """`half-registered`, `orphan-upload`, `alias-drift`, `digest`, `model-recreated`,
    `model-deleted`, `gc-risk`, `chain`, `stuck-promotion`, ..."""
    where: str
    """`S/3`, `S@champion`, a model or run id."""
    detail: str
    mendable: bool
    remedy: str
    """What `--repair` does, or what a person must do."""
    mended: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """A person or a service that may act."""

    name: str
    role: Role
    created: datetime
    disabled: bool = False
    made_by: str | None = None
    """Who made it; None where that was not written down yet."""
    password_by: str | None = None
    """Who set its password, and so knows it; None where it has none."""
