"""A sequence of tiny tasks that is submitted, and versions filed for its arrivals without training."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from flows.arrival_plan import plan_of
from flows.arriving import prepare
from flows.free_hand import sender_of_arrival_may_promote
from flows.plan import Plan, remember_base
from flows.session import declare
from flows.submitted_file import file_document
from lori_core.config import BaseConfig
from lori_core.digests import sha256_json
from registry.arrival_records import Arrival, Source, Submission
from registry.arrivals import Arrivals
from registry.records import CertificateRecord, MaskRecord, VersionRecord
from registry.store import Registry, open_registry
from tests.flows.tiny import rows, write_rows

sys.path.insert(1, str(Path(__file__).parents[1] / "registry"))  # MLflow's stand-ins

from fake_aliases import FakeAliases
from folder_artifacts import FolderArtifacts

BASE = sha256_json("the base, which is not looked at here")


@dataclass
class Desk:
    """A folder with rows and files, its home, and a registry that is open."""

    folder: Path
    registry: Registry

    name: str = ".lori"
    """Of the home."""

    sender: str = "tests"
    """Who submits."""

    @property
    def home(self) -> Path:
        return self.folder / self.name

    @property
    def arrivals(self) -> Arrivals:
        return Arrivals(self.registry)

    def file(
        self,
        *tasks: str,
        name: str = "tiny",
        adapter: str = "",
        more: str = "",
        as_: str = "tiny.yaml",
    ) -> Path:
        """A sequence file over `tasks`; rows are made where missing."""
        lines = [
            f"sequence: {name}",
            "base: ./base",
            f"adapter: {{r: 8, tasks_planned: 4{adapter}}}",
            "training: {num_train_epochs: 3, train_batch_size: 8}",
            "tasks:",
        ]
        for task in tasks:
            lines += [
                f"  - name: {task}",
                f"    train: {{path: {self.rows(task, 'train')}}}",
                f"    test: {{path: {self.rows(task, 'test')}}}",
            ]
        path = self.folder / as_
        path.write_text("\n".join([*lines, more, ""]), encoding="utf-8")
        return path

    def rows(self, task: str, split: str) -> str:
        path = self.folder / "rows" / f"{task}-{split}.jsonl"
        if not path.exists():
            kinds = ("color", "size", "animal")
            kind = task if task in kinds else kinds[len(task) % 3]
            write_rows(path, [{**row, "task": task} for row in rows(kind, split, 12)])
        return f"rows/{path.name}"

    def task(self, name: str, **more: object) -> dict[str, object]:
        """A task file for the sequence."""
        return {
            "sequence": "tiny",
            "task": {
                "name": name,
                "train": {"path": self.rows(name, "train")},
                "test": {"path": self.rows(name, "test")},
            },
            **more,
        }

    def send(
        self,
        what: Path | Mapping[str, object],
        *,
        source: Source = "command",
        priority: int = 0,
        again: bool = False,
    ) -> Submission:
        """Submit and prepare."""
        document = file_document(what) if isinstance(what, Path) else what
        received = self.arrivals.receive(
            document,
            source=source,
            folder=str(self.folder),
            priority=priority,
            again=again,
            submitted_by=self.sender,
        )
        return prepare(self.registry, self.home, received)

    def refused(self, what: Path | Mapping[str, object], *, source: Source = "command") -> str:
        """Submit what is refused; the line that says why. Nothing came of it."""
        before = self.arrivals.arrivals()
        submission = self.send(what, source=source)
        assert submission.state == "refused", submission.outcome
        assert submission.reason is not None
        assert "\n" not in submission.reason
        assert self.arrivals.arrivals() == before
        return submission.reason

    def learn(self, arrival: Arrival) -> Plan:
        """Give an arrival its turn, and file a version for it as a run would."""
        plan = plan_of(self.registry, self.home, arrival)
        [out] = [each for each in self.arrivals.dispatch() if each.id == arrival.id]
        fence = self.arrivals.take(out.id, out.token, "tests")
        number = len(plan.config.tasks)
        trusted = sender_of_arrival_may_promote(self.registry, arrival)
        declare(self.registry, plan, BASE, may_promote=trusted)
        document = {"version": number, "level": "G2", "task": arrival.task}
        record = VersionRecord(
            sequence=plan.name,
            version=number,
            task=arrival.task,
            adapter_sha256=sha256_json([plan.name, number]),
            mask=MaskRecord(sha256=sha256_json(["mask", number]), nnz=3, total=30, layers={"q": 3}),
            certificate=CertificateRecord(
                level="G2", read="inherited", document=document, sha256=sha256_json(document)
            ),
        )
        files = self.folder / f"files-{plan.name}-{number}"
        files.mkdir()
        (files / "lori.safetensors").write_bytes(arrival.task.encode())
        self.registry.file_version(record, files)
        self.arrivals.learned(fence, number)
        return plan


@contextmanager
def a_desk(folder: Path, name: str = ".lori") -> Iterator[Desk]:
    """A desk whose home is empty, but for the base, which is known there."""
    store = FolderArtifacts(folder / "store")
    with open_registry(folder / name, artifacts=store, aliases=FakeAliases()) as registry:
        desk = Desk(folder, registry, name)
        know_base(desk)
        yield desk


def know_base(desk: Desk) -> None:
    """A base that is a folder of a model and was looked at before: no torch in these tests."""
    base = desk.folder / "base"
    base.mkdir(exist_ok=True)
    (base / "config.json").write_text(
        '{"model_type": "llama", "architectures": ["LlamaForCausalLM"]}'
    )
    (base / "model.safetensors").write_bytes(b"weights")
    remember_base(BaseConfig(path=str(base)), desk.home, BASE)
