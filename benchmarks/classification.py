"""Four real classification tasks in order on a real encoder: every method over one grid of rates.

    LORI_DATA=... LORI_MODELS=... python -m benchmarks.classification [--train-rows 2000] [...]

Order `cl_order1` (dbpedia, amazon, yahoo, agnews) on MiniLM. Each (method, rate, seed) is one unit
of work with a file of its own in benchmarks/results/classification, so the run can be stopped and
goes on where it was. Each method is run over the same rates at seed 0; the rate with the best
mean learning accuracy on a 10 % dev split of train (seed 0) is its entry, run at the other seeds as
well. The whole grid is kept: the rate moves forgetting as much as the method does.
"""

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

import torch
from peft import PeftModel

from benchmarks.results import RESULTS, environment
from lori_core.adapters import attach, read_b, write_b
from lori_core.base import load_encoder, load_tokenizer
from lori_core.base_identity import identify_base
from lori_core.baselines import SequentialLora, head_only, one_lora_per_task, show
from lori_core.config import AdapterConfig, BaseConfig, DataSource, TaskConfig, TrainingConfig
from lori_core.digests import write_json
from lori_core.effective import load_effective
from lori_core.encoding import EncodedRow, collate_encoder, encode_encoder, pad_id
from lori_core.heads import load_head, pretrained_head
from lori_core.order import row_order
from lori_core.phases import Ground, Lesson, calibrate, choose_masks, train_sparse
from lori_core.shared_adapter import SharedAdapter
from lori_core.task_rows import labels as label_set
from lori_core.task_rows import load_task

ORDER = ("dbpedia", "amazon", "yahoo", "agnews")
RATES = (3e-4, 1e-3, 3e-3, 1e-2, 3e-2)
"""The grid of every method. `--rates` runs a part of it; the best is chosen of all that was run."""

DENSE_SHARE = 0.1
"""Calibration's rate over training's: the ratio of the LoRI paper's scripts."""

Precision = Literal["highest", "medium"]
Method = Literal[
    "head alone", "sequential LoRA", "LoRA per task", "LoRA per task, equal rows",
    "LoRI disjoint", "LoRI trained isolated", "LoRI as published",
]  # fmt: skip
METHODS: tuple[Method, ...] = (
    "LoRI disjoint",
    "LoRI trained isolated",
    "sequential LoRA",
    "LoRA per task",
    "head alone",
    "LoRA per task, equal rows",
    "LoRI as published",
)


@dataclass(frozen=True)
class TaskData:
    """Encoded rows of one task."""

    lesson: Lesson
    dev: Sequence[EncodedRow]
    test: Sequence[EncodedRow]


@dataclass(frozen=True)
class Settings:
    """What every unit of a run has in common."""

    data: Path
    model: Path
    train_rows: int
    test_rows: int
    matmul: Precision
    """Products of fp32 matrices: `highest` in fp32, `medium` in bf16 with fp32 sums."""

    batch: int
    """Rows of one optimiser step, of every method. One pass over 1,800 rows is 57 steps of 32."""

    @property
    def folder(self) -> Path:
        """Where the units of such a run have their files."""
        rows = f"{self.train_rows}x{self.test_rows}-{self.matmul}-{self.batch}"
        return RESULTS / "classification" / rows


@dataclass(frozen=True)
class Unit:
    """One method at one rate and seed, and where its result lies."""

    method: Method
    rate: float
    seed: int
    settings: Settings

    @property
    def path(self) -> Path:
        """The file of the result."""
        name = self.method.replace(" ", "-").replace(",", "")
        return self.settings.folder / f"{name}-{self.rate:g}-{self.seed}.json"


class Bench:
    """A base, its tasks, and one unit's way of learning them."""

    def __init__(self, unit: Unit, scratch: Path) -> None:
        self.unit, self.scratch = unit, scratch
        base = BaseConfig(path=str(unit.settings.model))
        self.tokenizer = load_tokenizer(base)
        self.tasks = {name: self._task(name) for name in ORDER}
        model = load_encoder(base, num_labels=2, seed=0)
        lora = unit.method in ("sequential LoRA", "LoRA per task", "LoRA per task, equal rows")
        adapter = AdapterConfig(
            r=16,
            lora_alpha=32,
            seed=unit.seed,
            method="lora" if lora else "lori",
            protection="separate" if lora else "disjoint",
            read="isolated" if lora or unit.method == "LoRI trained isolated" else "inherited",
        )
        if unit.method == "LoRI as published":
            adapter = replace(adapter, protection="overlap", read="cumulative")
        self.ground = Ground(
            adapter=adapter,
            family="encoder",
            base_digest=identify_base(base.path).digest,
            pad_id=pad_id(self.tokenizer),
            pretrained_head=pretrained_head(model),
        )
        self.model: PeftModel = attach(model, adapter, seed=unit.seed)

    def _task(self, name: str) -> TaskData:
        folder, settings = self.unit.settings.data / "cl" / name, self.unit.settings
        task = TaskConfig(
            name=name,
            train=DataSource(path=str(existing(folder / "train.jsonl")), limit=settings.train_rows),
            test=DataSource(path=str(existing(folder / "test.jsonl")), limit=settings.test_rows),
            metric="accuracy",
        )
        rows = load_task(task, None)
        classes = label_set((*rows.train, *rows.test))
        train = encode_encoder(rows.train, self.tokenizer, max_length=96, labels=classes).rows
        test = encode_encoder(rows.test, self.tokenizer, max_length=96, labels=classes).rows
        order = row_order(len(train), 1.0, 0, phase="dev", task=name)
        held_out = set(order[: len(train) // 10])
        training = TrainingConfig(
            learning_rate=self.unit.rate,
            learning_rate_dense=self.unit.rate * DENSE_SHARE,
            num_train_epochs=2.0 if self.unit.method == "LoRA per task, equal rows" else 1.0,
            train_batch_size=self.unit.settings.batch,
            save_steps=100_000,
        )
        kept = [row for i, row in enumerate(train) if i not in held_out]
        dev = [row for i, row in enumerate(train) if i in held_out]
        return TaskData(Lesson(task=name, rows=kept, training=training, labels=classes), dev, test)

    def accuracy(self, rows: Sequence[EncodedRow]) -> float:
        """Share of rows whose largest logit is their label."""
        self.model.eval()
        by_length = sorted(rows, key=lambda row: len(row.input_ids))
        right = 0
        with torch.no_grad():
            for start in range(0, len(by_length), 64):
                batch = collate_encoder(by_length[start : start + 64], self.ground.pad_id)
                labels = batch.pop("labels")
                right += int((self.model(**batch).logits.argmax(-1) == labels).sum())
        return right / len(rows)

    def row(self, learned: int, put: Callable[[str], None]) -> list[float | None]:
        """One row of R: every task learned so far, under what `put` loads for it."""
        cells: list[float | None] = [None] * len(ORDER)
        for i, name in enumerate(ORDER[:learned]):
            put(name)
            cells[i] = self.accuracy(self.tasks[name].test)
        return cells

    def dev(self, name: str, put: Callable[[str], None]) -> float:
        """Accuracy on a task's dev rows, right after it was learned."""
        put(name)
        return self.accuracy(self.tasks[name].dev)

    def lori(self) -> dict[str, object]:
        """LoRI: the trained read and the cumulative one of the same B."""
        reads = {self.ground.adapter.read, "cumulative"}
        matrices: dict[str, list[list[float | None]]] = {read: [] for read in sorted(reads)}
        dev: list[float] = []
        shared = SharedAdapter(())
        for name in ORDER:
            lesson = self.tasks[name].lesson
            folder = self.scratch / name
            found = calibrate(self.model, lesson, self.ground, earlier=shared, output=folder / "d")
            masks = choose_masks(found, self.ground, sparsity=0.9, earlier=shared)
            trained = train_sparse(
                self.model, masks, lesson, self.ground, earlier=shared, output=folder / "s"
            )
            shared = SharedAdapter((*shared.adapters, trained.adapter))
            for read, rows in matrices.items():
                rows.append(self.row(shared.version, self._reader(shared, read)))
            dev.append(self.dev(name, self._reader(shared, self.ground.adapter.read)))
        return {"matrices": matrices, "dev": dev}

    def _reader(self, shared: SharedAdapter, read: str) -> Callable[[str], None]:
        def put(name: str) -> None:
            position = ORDER.index(name) + 1
            load_effective(self.model, shared.effective(position, shared.version, read))  # type: ignore[arg-type]

        return put

    def sequential(self) -> dict[str, object]:
        """One plain LoRA, task after task."""
        lora = SequentialLora(self.model, self.ground)
        rows, dev = [], []
        for learned, name in enumerate(ORDER, start=1):
            lora.learn(self.tasks[name].lesson, output=self.scratch / name)
            put = lambda task: show(self.model, lora.state(task))  # noqa: E731
            rows.append(self.row(learned, put))
            dev.append(self.dev(name, put))
        return {"matrices": {"cumulative": rows}, "dev": dev}

    def per_task(self) -> dict[str, object]:
        """One plain LoRA for each task: its own column never moves."""
        lessons = [self.tasks[name].lesson for name in ORDER]
        states = one_lora_per_task(self.model, lessons, self.ground, output=self.scratch)
        return self._independent(lambda task: show(self.model, states[task]))

    def heads(self) -> dict[str, object]:
        """The frozen base with a head for each task."""
        write_b(self.model, {n: torch.zeros_like(b) for n, b in read_b(self.model).items()})
        lessons = [
            replace(lesson, training=replace(lesson.training, learning_rate_head=self.unit.rate))
            for lesson in (self.tasks[name].lesson for name in ORDER)
        ]
        heads = head_only(self.model, lessons, self.ground, output=self.scratch)
        return self._independent(lambda task: load_head(self.model, heads[task]))

    def _independent(self, put: Callable[[str], None]) -> dict[str, object]:
        last = self.row(len(ORDER), put)
        rows = [[*last[:k], *[None] * (len(ORDER) - k)] for k in range(1, len(ORDER) + 1)]
        return {
            "matrices": {"isolated": rows},
            "dev": [self.dev(name, put) for name in ORDER],
        }


def existing(path: Path) -> Path:
    """The file, plain or gzipped."""
    packed = path.with_name(path.name + ".gz")
    return path if path.exists() else packed


def measured(unit: Unit) -> Mapping[str, object]:
    """The unit's result: read where it was measured before, else measured and written."""
    if unit.path.exists():
        return json.loads(unit.path.read_text())  # type: ignore[no-any-return]
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(unit, Path(scratch))
        learn = {
            "LoRI disjoint": bench.lori,
            "LoRI trained isolated": bench.lori,
            "LoRI as published": bench.lori,
            "sequential LoRA": bench.sequential,
            "head alone": bench.heads,
        }.get(unit.method, bench.per_task)
        result = learn()
    unit.path.parent.mkdir(parents=True, exist_ok=True)
    facts = {"method": unit.method, "rate": unit.rate, "seed": unit.seed}
    whole = facts | result | {"seconds": time.monotonic() - started, "environment": environment()}
    write_json(unit.path, whole)
    print(
        f"{unit.method}, rate {unit.rate:g}, seed {unit.seed}: {whole['seconds']:.0f} s", flush=True
    )
    return whole


def best_rate(units: Sequence[Unit]) -> float:
    """The rate of the unit with the best mean dev accuracy; ties to the smaller rate."""
    return max(units, key=lambda u: (mean(measured(u)["dev"]), -u.rate)).rate  # type: ignore[arg-type]


def mean(values: Sequence[float]) -> float:
    """Arithmetic mean."""
    return sum(values) / len(values)


def main() -> None:
    """Run what is not measured yet, grid first, then the other seeds at each method's best rate."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--train-rows", type=int, default=2000)
    arguments.add_argument("--test-rows", type=int, default=500)
    arguments.add_argument("--seeds", type=int, default=3)
    arguments.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    arguments.add_argument("--matmul", choices=("highest", "medium"), default="highest")
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--rates", nargs="+", type=float, choices=RATES, default=list(RATES))
    arguments.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    options = arguments.parse_args()
    torch.set_num_threads(options.threads)
    torch.set_float32_matmul_precision(options.matmul)
    settings = Settings(
        data=Path(os.environ["LORI_DATA"]),
        model=Path(os.environ["LORI_MODELS"]) / "minilm-l6-fp16",
        train_rows=options.train_rows,
        test_rows=options.test_rows,
        matmul=options.matmul,
        batch=options.batch,
    )
    print(json.dumps({k: str(v) for k, v in asdict(settings).items()}))
    for method in options.methods:
        grid = [Unit(method, rate, 0, settings) for rate in options.rates]
        for unit in grid:
            measured(unit)
        known = [unit for rate in RATES if (unit := Unit(method, rate, 0, settings)).path.exists()]
        for seed in range(1, options.seeds):
            measured(Unit(method, best_rate(known), seed, settings))


if __name__ == "__main__":
    main()
