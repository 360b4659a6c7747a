"""What values a sequence may have: bounds of single settings, and rules between them.

Messages open with the file and the key as it is written there (`tasks.math.training.max_length`).
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, fields, is_dataclass
from difflib import get_close_matches

from lori_core.config import AdapterConfig, DataSource, SequenceConfig, TaskConfig, task_sparsity
from lori_core.errors import BadInput, InvalidSparsity, NoRoom
from lori_core.errors import shown as shown
from lori_core.names import check_name
from lori_core.prompts import template_fields
from lori_core.rows import ENDINGS

METRICS = ("accuracy", "exact_match", "exact_number", "pass_at_k", "refusal")
"""The metrics that have a name of their own."""

_OWN_METRIC = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_ENDING_HELP = "Convert or rename it."


@dataclass(frozen=True, slots=True)
class Bound:
    """The numbers a setting may have: between `low` and `high`, themselves included unless open."""

    low: int | float
    high: int | float = math.inf
    low_open: bool = False
    high_open: bool = False

    def admits(self, value: int | float) -> bool:
        """Whether `value` lies within."""
        above = value > self.low if self.low_open else value >= self.low
        below = value < self.high if self.high_open else value <= self.high
        return above and below and math.isfinite(value)

    def __str__(self) -> str:
        low = f"above {self.low}" if self.low_open else f"at least {self.low}"
        if self.high == math.inf:
            return low
        return f"{low} and {'below' if self.high_open else 'at most'} {self.high}"


_COUNT = Bound(1)
_POSITIVE = Bound(0, low_open=True)
_SHARE = Bound(0, 1)
_SPARSITY = Bound(0, 1, high_open=True)

BOUNDS: dict[tuple[str, str], Bound] = {
    ("AdapterConfig", "r"): Bound(1, 2**16),
    ("AdapterConfig", "lora_alpha"): _POSITIVE,
    ("AdapterConfig", "sparsity"): _SPARSITY,
    ("AdapterConfig", "tasks_planned"): _COUNT,
    ("AdapterConfig", "seed"): Bound(0, 2**32 - 1),
    ("TrainingConfig", "num_train_epochs"): Bound(0.0001, 10_000),
    ("TrainingConfig", "train_batch_size"): Bound(1, 2**20),
    ("TrainingConfig", "gradient_accumulation_steps"): _COUNT,
    ("TrainingConfig", "learning_rate_dense"): _POSITIVE,
    ("TrainingConfig", "learning_rate"): _POSITIVE,
    ("TrainingConfig", "learning_rate_head"): _POSITIVE,
    ("TrainingConfig", "max_grad_norm"): _POSITIVE,
    ("TrainingConfig", "max_length"): Bound(8),
    ("TrainingConfig", "save_steps"): _COUNT,
    ("TrainingConfig", "checkpoint_minutes"): _POSITIVE,
    ("ResourcesConfig", "gpus"): Bound(0, 1024),
    ("ResourcesConfig", "processes"): Bound(1, 1024),
    ("ResourcesConfig", "max_hours"): _POSITIVE,
    ("ResourcesConfig", "evaluate_workers"): Bound(1, 1024),
    ("DataSource", "limit"): _COUNT,
    ("TaskConfig", "max_new_tokens"): _COUNT,
    ("TaskConfig", "k"): _COUNT,
    ("TaskConfig", "sparsity"): _SPARSITY,
    ("GateConfig", "max_guard_drop"): _SHARE,
    ("GateConfig", "max_forgetting"): _SHARE,
    ("GateConfig", "min_learning"): Bound(-1, 1),
    ("GateConfig", "max_plasticity_gap"): _SHARE,
    ("GateConfig", "confidence"): Bound(0.5, 1, low_open=True, high_open=True),
    ("SequenceConfig", "eval_rows"): _COUNT,
}
"""(class, key) -> what its number may be. `docs/reference.md` shows them."""


def nearest(word: str, known: Iterator[str] | tuple[str, ...]) -> str | None:
    """The known word most like `word`, or None if none is."""
    close = get_close_matches(word, list(known), n=1, cutoff=0.6)
    return close[0] if close else None


def key_of_task(position: int, name: object) -> str:
    """How messages name a task's keys: `tasks.math`, or `tasks.2` (from 1) while it has no name."""
    return f"tasks.{name}" if isinstance(name, str) and name else f"tasks.{position}"


def validate_sequence(config: SequenceConfig, file: str = "sequence") -> None:
    """Refuse a sequence that cannot be learned as it is written.

    Args:
        config: all settings, of the right types.
        file: opens every message.

    Raises:
        BadInput: a number out of bounds, a name that is none, settings that contradict each other,
            or more tasks than the capacity can hold.
    """
    check_name(f"{file}: sequence", config.sequence)
    _check_bounds(config, f"{file}: ")
    _check_adapter(config.adapter, f"{file}: adapter")
    _check_tasks(config, file)
    _check_guards(config, file)
    _check_gate(config, f"{file}: gate")
    _check_capacity(config, file)


def _check_bounds(config: object, at: str) -> None:
    for item in fields(config):  # type: ignore[arg-type]
        value = getattr(config, item.name)
        if is_dataclass(value):
            _check_bounds(value, f"{at}{item.name}.")
        elif item.name == "tasks":
            for position, task in enumerate(value, start=1):
                _check_bounds(task, f"{at}{key_of_task(position, task.name)}.")
        elif value is not None:
            _check_number(type(config).__name__, item.name, value, f"{at}{item.name}")


def _check_number(owner: str, key: str, value: object, at: str) -> None:
    bound = BOUNDS.get((owner, key))
    if bound is None or not isinstance(value, int | float) or bound.admits(value):
        return
    if key == "sparsity":
        raise InvalidSparsity(float(value), at)
    raise BadInput(f"{at} is {value!r}", f"a number, {bound}", "Change it in the file.")


def _check_adapter(adapter: AdapterConfig, at: str) -> None:
    targets = adapter.target_modules
    if not isinstance(targets, str):
        if not targets or len(set(targets)) < len(targets):
            raise BadInput(
                f"{at}.target_modules is {list(targets)!r}",
                "different names of linear layers, at least one",
                "Or say `all-linear`.",
            )
        for name in targets:
            if not re.fullmatch(r"\w+", name):
                raise BadInput(
                    f"{at}.target_modules: {name!r}",
                    "the last part of a layer's name, such as q_proj",
                    "Leave out the path before it.",
                )
    wanted = {"separate": "isolated", "overlap": "cumulative"}.get(adapter.protection)
    if wanted and adapter.read != wanted:
        raise BadInput(
            f"{at}.read is {adapter.read!r} under `protection: {adapter.protection}`",
            f"`{wanted}`",
            "Leave `read` out to take it.",
        )
    if adapter.method == "lora" and adapter.protection != "separate":
        raise BadInput(
            f"{at}.method is 'lora' under `protection: {adapter.protection}`",
            "`protection: separate`",
            "Plain LoRA has no masks that could protect a shared adapter.",
        )
    if adapter.method == "lora" and adapter.sparsity is not None:
        raise BadInput(
            f"{at}.sparsity is {adapter.sparsity} with `method: lora`", "none", "Leave it out."
        )


def _check_tasks(config: SequenceConfig, file: str) -> None:
    if not config.tasks:
        raise BadInput(f"{file}: tasks is empty", "at least one task", "Add one.")
    seen: dict[str, int] = {}
    for position, task in enumerate(config.tasks, start=1):
        check_name(f"{file}: tasks.{position}: task", task.name)
        if task.name in seen:
            raise BadInput(
                f"{file}: tasks {seen[task.name]} and {position} are both named {task.name!r}",
                "a name of its own for every task",
                "Rename one.",
            )
        seen[task.name] = position
        _check_task(task, config, f"{file}: {key_of_task(position, task.name)}")
    _check_succession(config, file)


def _check_succession(config: SequenceConfig, file: str) -> None:
    """A task that supersedes another: an earlier one, scored alike, superseded by nobody else."""
    earlier: dict[str, TaskConfig] = {}
    superseded: dict[str, str] = {}
    for position, task in enumerate(config.tasks, start=1):
        old, at = task.supersedes, f"{file}: {key_of_task(position, task.name)}.supersedes"
        if old is not None and old not in earlier:
            guess = nearest(old, tuple(earlier))
            raise BadInput(
                f"{at}: {old!r} is no earlier task",
                f"one of {', '.join(earlier)}" if earlier else "a task before it",
                f"Did you mean `{guess}`?" if guess else "",
            )
        if old is not None and old in superseded:
            raise BadInput(
                f"{at}: {old!r} is superseded by {superseded[old]!r}",
                "one new version of a task",
                f"Say `supersedes: {superseded[old]}`.",
            )
        if old is not None and task.metric != earlier[old].metric:
            raise BadInput(
                f"{at}: {old!r} has metric {earlier[old].metric}, this one {task.metric}",
                "the same metric: the gate compares the two",
                "Or make it a task of its own.",
            )
        if old is not None:
            superseded[old] = task.name
        earlier[task.name] = task


def _check_task(task: TaskConfig, config: SequenceConfig, at: str) -> None:
    for role, source in task_sources(task):
        _check_source(source, f"{at}.{role}")
    if task.validation is not None and task.validation == task.test:
        raise BadInput(
            f"{at}.validation is the same as test",
            "rows that are not used to measure",
            "Take them from train, or leave the key out.",
        )
    _check_templates(task, at)
    _check_metric(task, at)
    training = task.training
    if training.train_batch_size % training.gradient_accumulation_steps:
        raise BadInput(
            f"{at}.training.gradient_accumulation_steps is {training.gradient_accumulation_steps}",
            f"a divisor of train_batch_size {training.train_batch_size}",
            "Change one of them.",
        )
    _check_resources(task, at)
    if task.sparsity is not None and config.adapter.method == "lora":
        raise BadInput(f"{at}.sparsity with `method: lora`", "none", "Leave it out.")


def _check_resources(task: TaskConfig, at: str) -> None:
    """One process for each GPU, and at least one row for each process."""
    needs, training = task.resources, task.training
    if needs.gpus and needs.processes != needs.gpus:
        raise BadInput(
            f"{at}.resources.processes is {needs.processes} with gpus {needs.gpus}",
            f"{needs.gpus}: one process for each GPU",
            f"Write `processes: {needs.gpus}`.",
        )
    rows = training.train_batch_size // training.gradient_accumulation_steps
    if needs.processes > rows:
        raise BadInput(
            f"{at}.resources.processes is {needs.processes} for micro-batches of {rows} rows",
            f"at most {rows}: every process gets a row",
            "Lower it, or raise train_batch_size.",
        )


def task_sources(task: TaskConfig) -> tuple[tuple[str, DataSource], ...]:
    """The sources a task has, each with its role: train, test, validation, over_refusal."""
    given = (
        ("train", task.train),
        ("test", task.test),
        ("validation", task.validation),
        ("over_refusal", task.over_refusal),
    )
    return tuple((role, source) for role, source in given if isinstance(source, DataSource))


def _check_source(source: DataSource, at: str) -> None:
    if (source.path is None) == (source.dataset is None):
        raise BadInput(
            f"{at} has {'both' if source.path is not None else 'neither'} path and dataset",
            "one of them",
            "Write {path: rows.jsonl} or {dataset: ID, split: train}.",
        )
    if source.path is not None:
        if not source.path.endswith(ENDINGS):
            raise BadInput(
                f"{at}.path {source.path}", f"a file ending in {', '.join(ENDINGS)}", _ENDING_HELP
            )
        for key, value in (
            ("name", source.name),
            ("split", source.split),
            ("revision", source.revision),
        ):
            if value is not None:
                raise BadInput(f"{at}.{key} beside `path`", "it beside `dataset` alone", "Drop it.")
    elif not source.split:
        raise BadInput(f"{at}.split is missing", "the split of the dataset", "Add `split: train`.")


def _check_templates(task: TaskConfig, at: str) -> None:
    if (task.prompt is None) != (task.completion is None):
        alone, missing = (
            ("prompt", "completion") if task.prompt is not None else ("completion", "prompt")
        )
        raise BadInput(f"{at}.{alone} without `{missing}`", "both or neither", f"Add `{missing}`.")
    for key, template in (("prompt", task.prompt), ("completion", task.completion)):
        if template is None:
            continue
        try:
            names = template_fields(template)
        except BadInput as error:
            raise BadInput(f"{at}.{key}: {error.what}", error.expected, error.remedy) from None
        if not names:
            raise BadInput(f"{at}.{key} {template!r}", "at least one field as {name}", "Add one.")


def _check_metric(task: TaskConfig, at: str) -> None:
    metric = task.metric
    if metric not in METRICS and not _OWN_METRIC.fullmatch(metric):
        guess = nearest(metric, METRICS)
        raise BadInput(
            f"{at}.metric {metric!r}",
            f"one of {', '.join(METRICS)}, or package.module:function",
            f"Did you mean `{guess}`?" if guess else "",
        )
    if metric == "pass_at_k" and not task.allow_code_execution:
        raise BadInput(
            f"{at}.metric pass_at_k runs code that the model wrote",
            "`allow_code_execution: true` beside it",
            "Add it if that is what you want.",
        )
    if metric == "refusal" and task.over_refusal is None:
        raise BadInput(
            f"{at}.metric refusal without `over_refusal`",
            "harmless rows that must be answered",
            "Add them, or say `over_refusal: none`.",
        )
    if metric != "refusal" and task.over_refusal is not None:
        raise BadInput(
            f"{at}.over_refusal with metric {metric}", "it with `metric: refusal`", "Leave it out."
        )
    if metric != "pass_at_k" and task.k != 1:
        raise BadInput(f"{at}.k is {task.k} with metric {metric}", "1", "k is for pass_at_k.")


def _check_guards(config: SequenceConfig, file: str) -> None:
    names = tuple(task.name for task in config.tasks)
    for guard in config.guards:
        if guard not in names:
            guess = nearest(guard, names)
            raise BadInput(
                f"{file}: guards: {guard!r} is no task",
                f"one of {', '.join(names)}",
                f"Did you mean `{guess}`?" if guess else "",
            )
    if len(set(config.guards)) < len(config.guards):
        raise BadInput(f"{file}: guards {list(config.guards)!r}", "each task once", "Drop one.")


def reachable_level(adapter: AdapterConfig) -> str:
    """The highest certificate level (DESIGN 4) these adapter settings can reach."""
    if adapter.protection == "overlap":
        return "G0"
    return "G1" if adapter.read == "cumulative" else "G2"


def _check_gate(config: SequenceConfig, at: str) -> None:
    gate, adapter = config.gate, config.adapter
    reach = reachable_level(adapter)
    if gate.certificate > reach:
        raise BadInput(
            f"{at}.certificate is {gate.certificate} but `protection: {adapter.protection}` with "
            f"`read: {adapter.read}` reaches {reach}",
            f"at most {reach}",
            "Leave it out to take that.",
        )
    if gate.read != adapter.read:
        raise BadInput(
            f"{at}.read is {gate.read!r} but adapters are trained and served with `read: {adapter.read}`",
            f"`{adapter.read}`",
            "Leave it out to take that: a gate judges what serves.",
        )


def _check_capacity(config: SequenceConfig, file: str) -> None:
    if config.adapter.protection != "disjoint":
        return
    used = 0.0
    for position, task in enumerate(config.tasks, start=1):
        before = max(0.0, 1.0 - used)
        used += 1.0 - task_sparsity(config.adapter, task)
        if used > 1.0 + 1e-9:
            raise NoRoom(
                file,
                config.sequence,
                task.name,
                f"task {position}, {task.name!r}, brings the sum of 1 - sparsity to {used:.3g}",
                before,
            )
