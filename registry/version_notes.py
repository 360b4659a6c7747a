"""What a version remembers of how it was learned: losses, sizes of its matrices, the audit of its rows.

It is filed with the version, so that a page shows it without the files of the version and long after
the folders of its stages are gone. A version that was filed before there were notes has none.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from registry.records import Json

POINTS = 200
"""Of a curve, at most."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossPoint:
    """Some steps of a phase."""

    step: int
    """The last of them, from 1."""
    loss: float
    """Their mean loss."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Losses:
    """How the loss of one phase went."""

    steps: int
    """Optimiser steps in all."""
    first: float
    """Loss of the first step."""
    last: float
    """Loss of the last step."""
    points: tuple[LossPoint, ...]
    """Each the mean of `a_point` steps (the last one of what is left)."""
    a_point: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditFinding:
    """One kind of thing that the import audit found."""

    kind: str
    what: str
    """In words, with its count."""
    count: int
    """Rows it concerns."""
    severity: str
    """`error` (refused, unless the task allowed it) or `warning`."""
    expected: str
    """What rows should be instead."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataAudit:
    """What the import audit said of a task's rows."""

    rows: Mapping[str, int]
    """Role -> rows."""
    findings: tuple[AuditFinding, ...]
    """Errors first; none is good news."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionNotes:
    """All of it; None is what was not noted."""

    calibration: Losses | None
    training: Losses | None
    audit: DataAudit | None
    sizes: Mapping[str, int]
    """Layer -> entries of its B, owned or not; empty where it was not noted."""


def thinned(losses: Sequence[float], points: int = POINTS) -> Losses:
    """The losses of a phase in at most so many points."""
    size = -(-len(losses) // points)
    return Losses(
        steps=len(losses),
        first=losses[0],
        last=losses[-1],
        points=tuple(
            LossPoint(step=min(start + size, len(losses)), loss=_mean(losses[start : start + size]))
            for start in range(0, len(losses), size)
        ),
        a_point=size,
    )


def losses_json(losses: Losses) -> dict[str, Any]:
    """As it is noted."""
    return {
        "steps": losses.steps,
        "first": losses.first,
        "last": losses.last,
        "a_point": losses.a_point,
        "points": [[point.step, point.loss] for point in losses.points],
    }


def read_notes(noted: Json | None) -> VersionNotes:
    """What was noted of a version. The column is our own: what is in it was written by `file_version`."""
    found: Mapping[str, Any] = noted or {}
    audit = found.get("audit")
    return VersionNotes(
        calibration=_losses(found.get("calibration")),
        training=_losses(found.get("training")),
        audit=None if audit is None else _audit(audit),
        sizes=dict(found.get("sizes") or {}),
    )


def _losses(noted: Mapping[str, Any] | None) -> Losses | None:
    if noted is None:
        return None
    return Losses(
        steps=noted["steps"],
        first=noted["first"],
        last=noted["last"],
        a_point=noted["a_point"],
        points=tuple(LossPoint(step=step, loss=loss) for step, loss in noted["points"]),
    )


def _audit(noted: Mapping[str, Any]) -> DataAudit:
    return DataAudit(
        rows=dict(noted["rows"]),
        findings=tuple(
            AuditFinding(
                kind=each["kind"],
                what=each["what"],
                count=each["count"],
                severity=each["severity"],
                expected=each["expected"],
            )
            for each in noted["findings"]
        ),
    )


def _mean(losses: Sequence[float]) -> float:
    return sum(losses) / len(losses)
