"""A registry whose cells and versions are made by hand, so that each rule can be made to say anything."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from registry_examples import sequence_record
from sound_versions import declare_tasks, file_sound, sound_record

from lori_core.config import Protection, Read
from lori_core.digests import sha256_bytes, sha256_json
from registry.decisions import GateReport, RuleResult, Waiver
from registry.gating import judge
from registry.records import Cell, CertificateLevel
from registry.store import Registry

Scores = Sequence[float]

N = 400
"""Rows of a test set."""


def right(n: int, of: int) -> list[float]:
    """`n` ones, then zeros."""
    return [1.0] * n + [0.0] * (of - n)


@dataclass(frozen=True)
class Lab:
    registry: Registry
    place: Path

    def declare(
        self,
        *,
        tasks: Sequence[str] = ("safety", "math"),
        guards: Sequence[str] = ("safety",),
        read: Read = "inherited",
        protection: Protection = "disjoint",
        sequence: str = "assistant",
        **gate: object,
    ) -> None:
        record = replace(
            sequence_record(sequence),
            tasks=tuple(tasks),
            adapter={"r": 4, "protection": protection, "read": read},
        )
        settings = {
            "guards": list(guards),
            "gate": {"read": read, **gate},
            "promotion": "manual",
        }
        declare_tasks(self.registry, record, settings=settings)

    def file(
        self,
        versions: int,
        *,
        head: bool = False,
        level: CertificateLevel | None = None,
        sequence: str = "assistant",
    ) -> None:
        declared = self.registry.sequence(sequence)
        adapter = declared.adapter
        made = [
            sound_record(
                k,
                sequence=sequence,
                tasks=declared.tasks,
                protection=adapter["protection"],  # type: ignore[arg-type]
                read=adapter["read"],  # type: ignore[arg-type]
                head=head,
                level=level,
            )
            for k in range(1, versions + 1)
        ]
        file_sound(self.registry, self.place, *made)

    def cell(
        self,
        version: int,
        task: str,
        scores: Scores,
        *,
        under: str | None = None,
        harmless: Scores = (),
        effective: str | None = None,
        read: Read | None = None,
        ids: Sequence[str] | None = None,
        sequence: str = "assistant",
        **changes: object,
    ) -> Cell:
        """Record a cell with its predictions. Its adapter is its own unless `effective` names one."""
        declared = self.registry.sequence(sequence)
        names = ids or [f"row-{i}" for i in range(len(scores))]
        rows = list(zip(names, scores, strict=True))
        rows += [(f"row-{i}", score) for i, score in enumerate(harmless)]
        lines = [{"id": name, "parts": {}, "prediction": "", "score": s} for name, s in rows]
        data = "".join(json.dumps(line) + "\n" for line in lines).encode()
        digest = sha256_bytes(data)
        path = Path("predictions") / f"{digest}.jsonl"
        file = self.registry.settings.home / path
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(data)
        means = [sum(part) / len(part) for part in (scores, harmless) if part]
        parts: Mapping[str, object] = {"cut": 0}
        if harmless:
            parts = {"refused": {"n": len(scores)}, "answered": {"n": len(harmless)}}
        adapter = effective or sha256_json([version, task, under, "adapter"])
        made = Cell(
            key=sha256_json([version, task, under, digest, adapter, read, sequence]),
            sequence=sequence,
            version=version,
            task=task,
            read=read or declared.adapter["read"],  # type: ignore[arg-type]
            adapter_of=under,
            value=sum(means) / len(means),
            n=len(rows),
            low=0.0,
            high=1.0,
            metric="exact_match",
            metric_version="1",
            parts=parts,
            base_digest=declared.base_digest,
            effective_digest=None if version == 0 else adapter,
            test_digest=sha256_json([task, "test"]),
            predictions=str(path),
            predictions_sha256=digest,
        )
        return self.registry.record_cell(replace(made, **changes))  # type: ignore[arg-type]

    def first(self, base: Scores, learned: Scores) -> None:
        """One task, learned and measured."""
        self.declare(tasks=("safety",))
        self.file(1)
        self.cell(0, "safety", base)
        self.cell(1, "safety", learned)

    def judge(
        self,
        version: int,
        champion: int | None = None,
        *,
        stale: Mapping[int, str] | None = None,
        waivers: Sequence[Waiver] = (),
        retired: Sequence[str] = (),
        served: bool = False,
        sequence: str = "assistant",
    ) -> GateReport:
        return judge(
            self.registry,
            sequence,
            version,
            champion,
            stale=stale or {},
            waivers=waivers,
            retired=retired,
            served=served,
        )


def rule(report: GateReport, name: str) -> RuleResult:
    found = [each for each in report.rules if each.rule == name]
    assert len(found) == 1, f"{name} among {[each.rule for each in report.rules]}"
    return found[0]


def two_tasks(lab: Lab, *, math: int = 380, safe_under_math: int = 360, **gate: object) -> None:
    """safety, then math: 360 of 400 safe under its own adapter and the champion's."""
    lab.declare(**gate)  # type: ignore[arg-type]
    lab.file(2)
    lab.cell(0, "safety", right(100, N))
    lab.cell(0, "math", right(100, N))
    lab.cell(1, "safety", right(360, N), effective="a1")
    lab.cell(2, "safety", right(360, N), effective="a1")
    lab.cell(2, "math", right(math, N))
    lab.cell(2, "safety", right(safe_under_math, N), under="math")


def cumulative(lab: Lab, kept: int, *, middle: int = 360) -> None:
    lab.declare(tasks=("safety", "math", "code"), guards=(), read="cumulative")
    lab.file(3)
    lab.cell(0, "code", right(100, N))
    lab.cell(1, "safety", right(360, N))
    lab.cell(2, "safety", right(middle, N))
    lab.cell(2, "math", right(360, N))
    lab.cell(3, "safety", right(kept, N))
    lab.cell(3, "math", right(360, N))
    lab.cell(3, "code", right(380, N))


def waiver(name: str, version: int = 2, **changes: object) -> Waiver:
    made = Waiver(
        id=1,
        sequence="assistant",
        version=version,
        rule=name,
        reason="known and accepted",
        requested_by="ann",
        approved_by="bob",
        expires=datetime.now(UTC) + timedelta(days=1),
    )
    return replace(made, **changes)  # type: ignore[arg-type]
