"""Adopt an existing plain LoRA: what is asked, and the sequence it goes into. No torch.

The sequence is one of separate plain LoRAs on one base, of one rank and alpha; each adopted LoRA is
a task of it, and so a version. `flows.adopting_run` does the work.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from flows.checks import plainly
from flows.plan import Plan, base_digest
from flows.recorded import ADOPTED, Recorded, recorded
from lori_core.audit import Audit, audit_task
from lori_core.base_folder import base_family, find_base, read_base_config, read_json_object
from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    GateConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)
from lori_core.errors import BadInput
from lori_core.metrics import metric_named
from lori_core.peft_folder import PeftFolder, refuse_other_rank
from lori_core.rows import read_rows, rows_digest
from lori_core.sequence_file import require_files
from lori_core.task_rows import labels, load_measured
from lori_core.validation import task_sources, validate_sequence
from registry.records import TaskRecord
from registry.store import open_registry, registry_exists

LONGEST = 512
"""Tokens of a prompt with its answer, where neither the command nor the base says less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoption:
    """What `lori adopt` was asked."""

    folder: Path
    """The PEFT folder."""

    sequence: str

    task: str

    base: str | None = None
    """A folder or hub id; None: the sequence's."""

    test: Path
    """The rows it is measured on; the first of them are its probes."""

    metric: str

    over_refusal: str | None = None
    """A file of rows, or `none`."""

    prompt: str | None = None

    completion: str | None = None

    max_length: int | None = None
    """None: as far as the base reads, at most LONGEST."""

    max_new_tokens: int = 64

    allow_code_execution: bool = False

    guards: tuple[str, ...] = ()
    """Tasks that become guards of the sequence, beside those that are."""

    purpose: str | None = None

    license: str | None = None
    """Of the rows and the LoRA."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A sequence with the adopted task in it."""

    plan: Plan

    position: int
    """Of the task, from 1; also the version it becomes."""

    source: PeftFolder

    earlier: tuple[Path, ...] = ()
    """Folder of every version before it, checked."""

    filed: bool = False
    """It is there already."""

    @property
    def task(self) -> TaskConfig:
        """The task itself."""
        return self.plan.config.tasks[self.position - 1]

    def task_record(self) -> TaskRecord:
        """The task as the registry knows it: what decides its adapter is the folder."""
        record = self.plan.task_record(self.position)
        return replace(record, config={**record.config, ADOPTED: dict(self.source.digests)})


def plan_adoption(ask: Adoption, source: PeftFolder, home: Path) -> Planned:
    """The sequence as it will be. Nothing is written.

    Raises:
        BadInput: the sequence is not one of adopted LoRAs, the LoRA does not fit it or is in it
            under another name, or a setting cannot be used.
        SequenceChanged: the task is there already, with other bits, rows or settings.
    """
    known_base = None
    if home.is_dir() and registry_exists(home):
        with open_registry(home) as registry:
            if registry.find_sequence(ask.sequence) is not None:
                found = recorded(registry, ask.sequence)
                _refuse_learned(found)
                if found.versions:
                    return _grown(ask, source, found, home)
                known_base = found.record.base_path  # of an adoption that was not finished
    named = ask.base or known_base
    if named is None:
        raise BadInput(
            f"--base is missing: {ask.sequence!r} is a new sequence", "its base model", "Name it."
        )
    base = _base(named, source.path)
    config = SequenceConfig(
        sequence=ask.sequence,
        base=base,
        adapter=AdapterConfig(
            r=source.r,
            lora_alpha=source.lora_alpha,
            target_modules=source.targets,
            protection="separate",
            read="isolated",
            method="lora",
        ),
        tasks=(_task(ask, base),),
        guards=ask.guards,
        gate=GateConfig(read="isolated"),
    )
    return _checked(ask, config, (), 1, source, ask.test.absolute())


def rows_of(task: TaskConfig, base: BaseConfig, metric_folder: Path) -> tuple[str, ...]:
    """Read and audit the rows it is measured on; an encoder's labels, as the rows name them.

    Raises:
        BadInput: a metric that cannot be imported, a row that cannot be used, empty targets, ...
    """
    metric_named(task.metric, metric_folder)
    rows, audit = audited_measured(task)
    audit.refuse()
    return labels(rows.test) if base_family(base) == "encoder" else ()


def audited_measured(task: TaskConfig) -> tuple[Any, Audit]:
    """The rows of a task that was adopted, rendered, and what is wrong with them."""
    rows = load_measured(task, plainly)
    return rows, audit_task(rows, task)


def _refuse_learned(found: Recorded) -> None:
    for task in found.tasks:
        if ADOPTED not in task.config:
            raise BadInput(
                f"sequence {found.name!r}: its task {task.name!r} was learned here",
                "a new sequence, or one of adopted LoRAs",
                "Adopt into a sequence of its own.",
            )


def _grown(ask: Adoption, source: PeftFolder, found: Recorded, home: Path) -> Planned:
    """A known sequence with the task in it."""
    filed = {each.task: each.version for each in found.versions}
    for task in found.tasks:
        same = task.config[ADOPTED] == dict(source.digests)
        if same and task.name in filed and task.name != ask.task:
            raise BadInput(
                f"{source.path} is in {found.name!r} already, as {found.name}/{filed[task.name]}",
                f"its name there, {task.name!r}",
            )
    config = found.config()
    _refuse_other_shape(source, config, found.name)
    base = config.base if ask.base is None else _base(ask.base, source.path)
    position = filed.get(ask.task, len(filed) + 1)
    tasks = list(config.tasks[: len(filed)])
    tasks[position - 1 : position] = [_task(ask, base)]
    config = replace(
        config,
        base=replace(base, dtype=config.base.dtype),
        tasks=tuple(tasks),
        guards=tuple(dict.fromkeys((*(g for g in config.guards if g in filed), *ask.guards))),
    )
    file = Path(str(found.record.settings["metric_folder"])) / "adopted"
    data = tuple({k: str(v) for k, v in t.data.items()} for t in found.tasks[: len(filed)])
    planned = _checked(ask, config, data, position, source, file)
    if position > len(filed):
        return replace(planned, earlier=tuple(found.folders(len(filed))))
    digest = found.record.base_digest
    if ask.base is not None:
        digest = base_digest(config.base, home)
    record = planned.plan.sequence_record(digest)
    found.registry.refuse_changes(record, [planned.task_record()])
    return replace(planned, filed=True)


def _checked(
    ask: Adoption,
    config: SequenceConfig,
    data: tuple[dict[str, str], ...],
    position: int,
    source: PeftFolder,
    file: Path,
) -> Planned:
    validate_sequence(config, "adopt")
    require_files(config)
    family = base_family(config.base)
    if source.kind is not None and source.kind != family:
        raise BadInput(
            f"{ask.folder}: its task_type is that of a model of family {source.kind}",
            f"one for the base {config.base.path}, which is of family {family}",
            "It was made for another base.",
        )
    if family == "causal":
        _refuse_too_long(ask, config.base)
    task = config.tasks[position - 1]
    digests = {
        role: rows_digest(read_rows(source_))
        for role, source_ in task_sources(task)
        if role != "train"
    }
    rows = list(data)
    rows[position - 1 : position] = [digests]
    return Planned(Plan(file, config, tuple(rows)), position, source)


def _refuse_other_shape(source: PeftFolder, config: SequenceConfig, name: str) -> None:
    adapter = config.adapter
    refuse_other_rank(source, adapter.r, adapter.lora_alpha, repr(name))
    targets = adapter.target_modules
    if more := [each for each in source.targets if each not in targets]:
        raise BadInput(
            f"{source.path}: adapts {', '.join(more)}",
            f"no more than {name!r} does ({', '.join(targets)})",
            "Adopt it into a sequence of its own.",
        )


def _base(text: str, source: Path) -> BaseConfig:
    if Path(text).is_dir() and Path(text).resolve() == source.resolve():
        raise BadInput(f"--base {text}", "the model the adapter was made for", "Name that.")
    return BaseConfig(path=str(Path(text).resolve()) if Path(text).is_dir() else text)


def _task(ask: Adoption, base: BaseConfig) -> TaskConfig:
    test = DataSource(path=str(ask.test.absolute()))
    harmless = ask.over_refusal
    return TaskConfig(
        name=ask.task,
        train=test,
        test=test,
        over_refusal=(
            DataSource(path=str(Path(harmless).absolute()))
            if harmless not in (None, "none")
            else ("none" if harmless == "none" else None)
        ),
        prompt=ask.prompt,
        completion=ask.completion,
        metric=ask.metric,
        max_new_tokens=ask.max_new_tokens,
        allow_leak=True,
        allow_dropped=True,
        allow_code_execution=ask.allow_code_execution,
        training=TrainingConfig(max_length=ask.max_length or min(LONGEST, _reach(base) or LONGEST)),
        purpose=ask.purpose,
        license=ask.license,
    )


def _refuse_too_long(ask: Adoption, base: BaseConfig) -> None:
    reach = _reach(base)
    for option, tokens in (
        ("--max-length", (ask.max_length or 1) - 1),
        ("--max-new-tokens", ask.max_new_tokens),
    ):
        if reach is not None and tokens >= reach:
            raise BadInput(
                f"{option} of task {ask.task!r}", f"less than {reach}, all that the base can read"
            )


def _reach(base: BaseConfig) -> int | None:
    """Tokens the base reads, as its settings and its tokenizer's say; None where they do not."""
    config = read_base_config(base)
    tokenizer = read_json_object(find_base(base, weights=False), "tokenizer_config.json") or {}
    said = (
        config.get("max_position_embeddings"),
        config.get("n_positions"),
        tokenizer.get("model_max_length"),
    )
    return min((each for each in said if isinstance(each, int) and each > 0), default=None)
