"""Sequences whose R a test writes down: how many of each cell's rows are right, and what proves it."""

import json
from dataclasses import dataclass, field
from pathlib import Path

from lori_core.digests import sha256_bytes, sha256_json
from lori_core.intervals import wilson
from registry.records import (
    Cell,
    CertificateRecord,
    MaskRecord,
    SequenceRecord,
    TaskRecord,
    VersionRecord,
)
from registry.store import Registry

ROWS = 100
BASE = sha256_json("base")


@dataclass(kw_only=True)
class Learned:
    """One sequence, to be learned and measured as a test says."""

    registry: Registry
    root: Path
    name: str
    tasks: tuple[str, ...]
    protection: str = "disjoint"
    read: str = "inherited"
    level: str = "G2"
    guards: tuple[str, ...] = ()
    tasks_planned: int = 5
    data: str = ""
    """Of the tasks' rows: equal for sequences that learn the same."""
    files: dict[int, bytes] = field(default_factory=dict)
    """Version -> its lori.safetensors."""
    sparsity: dict[str, float] = field(default_factory=dict)

    def declare(self) -> "Learned":
        self.registry.declare_sequence(
            SequenceRecord(
                name=self.name,
                base_digest=BASE,
                base_path="/models/micro",
                adapter={
                    "r": 4,
                    "protection": self.protection,
                    "read": self.read,
                    "sparsity": None,
                    "tasks_planned": self.tasks_planned,
                },
                settings={"guards": list(self.guards), "promotion": "manual"},
                tasks=self.tasks,
            )
        )
        for position, task in enumerate(self.tasks, start=1):
            config: dict[str, object] = {"name": task, "metric": "exact_match"}
            config["sparsity"] = self.sparsity.get(task)
            test = sha256_json([self.data or self.name, task, "test"])
            self.registry.declare_task(
                self.name,
                TaskRecord(position=position, name=task, config=config, data={"test": test}),
            )
        return self

    def file(
        self, version: int, *, nnz: int = 20, total: int = 100, layers: dict[str, int] | None = None
    ) -> None:
        """File a version whose certificate says `level`."""
        document = {
            "version": version,
            "level": self.level,
            "read": self.read,
            "protection": self.protection,
            "name": self.name,
        }
        folder = self.root / f"{self.name}-{version}"
        folder.mkdir(parents=True)
        (folder / "lori.safetensors").write_bytes(self.files.get(version, b"no adapter"))
        mask = sha256_json([self.name, "mask", version])
        self.registry.file_version(
            VersionRecord(
                sequence=self.name,
                version=version,
                task=self.tasks[version - 1],
                adapter_sha256=sha256_json([self.name, "content", version]),
                mask=MaskRecord(sha256=mask, nnz=nnz, total=total, layers=layers or {"q": nnz}),
                certificate=CertificateRecord(
                    level=self.level,  # type: ignore[arg-type]
                    read=self.read,  # type: ignore[arg-type]
                    document=document,
                    sha256=sha256_json(document),
                ),
            ),
            folder,
        )

    def score(
        self,
        version: int,
        task: str,
        right: int,
        *,
        of: int = ROWS,
        read: str | None = None,
        under: str | None = None,
        function: str | None = None,
        kept: bool = True,
        marked: str = "",
    ) -> None:
        """Measure a cell: its first `right` rows are right.

        Args:
            version: row of R.
            task: column of R.
            right: rows that are.
            of: rows in all.
            read: the mode; None is the sequence's.
            under: for a guard, whose adapter.
            function: what tells functions apart; None is one for each version.
            kept: whether its predictions are.
            marked: tells a second measurement at one place from the first.
        """
        mode = read or self.read
        rows = (json.dumps({"id": f"{n}", "score": int(n < right)}) for n in range(of))
        data = "\n".join(rows).encode()
        digest = sha256_json([self.name, function or f"{version} {mode}"]) if version else None
        place = f"cells/{right}-of-{of}.jsonl"
        path = self.registry.settings.home / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        interval = wilson(right, of)
        self.registry.record_cell(
            Cell(
                key=sha256_json([self.name, version, task, mode, under, right, of, digest, marked]),
                sequence=self.name,
                version=version,
                task=task,
                read=mode,  # type: ignore[arg-type]
                adapter_of=under,
                value=right / of,
                n=of,
                low=interval.low,
                high=interval.high,
                metric="exact_match",
                metric_version="1",
                base_digest=BASE,
                effective_digest=digest,
                test_digest=sha256_json([self.data or self.name, task, "test"]),
                predictions=place if kept else None,
                predictions_sha256=sha256_bytes(data) if kept else None,
            )
        )

    def proved(self, versions: int) -> "Learned":
        """All of R where nothing is forgotten, by digest: 10 right on the base, 90 once learned."""
        for position, task in enumerate(self.tasks[:versions], start=1):
            self.score(0, task, 10)
            if position > 1:
                self.score(position - 1, task, 15)
            for version in range(position, versions + 1):
                self.score(version, task, 90, function=task)
        for version in range(1, versions + 1):
            self.file(version)
        return self

    def falling(self, versions: int, *, read: str | None = None, step: int = 10) -> "Learned":
        """All of R where each later version costs every earlier task `step` more rows of 90."""
        for position, task in enumerate(self.tasks[:versions], start=1):
            self.score(0, task, 10, read=read)
            for version in range(position, versions + 1):
                self.score(version, task, 90 - step * (version - position), read=read)
        return self
