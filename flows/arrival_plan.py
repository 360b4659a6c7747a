"""What an arrival is learned under: what its sequence has learned so far, and this one task.

The order of a sequence is the order its tasks were learned in, which need be that of no file. So the
settings of an arrival are put together when its turn comes: the learned tasks as they are recorded,
rows from their snapshots; the task itself, rows from the snapshot its submission made; and what its
document says about the sequence (guards, gate, ...), as far as it can hold for the tasks there are.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flows.keys import data_key
from flows.plan import Plan
from flows.recorded import Recorded, recorded
from lori_core.config import SequenceConfig
from lori_core.errors import BadInput, NoRoom
from lori_core.sequence_file import sequence_from_json
from registry.arrival_records import Arrival
from registry.records import Json, TaskRecord
from registry.store import Registry

SETTINGS = ("guards", "evaluate", "eval_rows", "gate", "promotion")
"""What a document may say about its sequence; what it leaves out stays as it is recorded."""


def plan_of(registry: Registry, home: Path, arrival: Arrival) -> Plan:
    """The plan of an arrival whose turn it is: the task comes after all that is learned.

    Where the task is learned already (the run before was killed after filing it), the plan ends
    with what is learned, and there is nothing left to learn in it.

    Raises:
        BadInput: the task cannot follow what was learned meanwhile (no room, another task of its
            name), or rows that were kept are not in this home.
    """
    found = learned_part(registry, arrival.sequence)
    names = [] if found is None else [task.name for task in found.tasks]
    data = [] if found is None else [digests_of(task.data) for task in found.tasks]
    document = arrival.document
    if arrival.task in names:
        tasks: list[Json] = []
    else:
        tasks = [snapshotted(home, arrival)]
        data.append(dict(arrival.data))
    config = compose(found, document, tasks, f"arrival {arrival.id}")
    plan = Plan(Path(metric_folder(found, document)) / f"arrival-{arrival.id}", config, tuple(data))
    if found is not None and arrival.task in names:
        _refuse_another(registry, plan, arrival, names.index(arrival.task) + 1)
    _refuse_missing(plan, home)
    return plan


def learned_part(registry: Registry, sequence: str) -> Recorded | None:
    """A sequence with the tasks alone that are learned; None where none is."""
    if registry.find_sequence(sequence) is None:
        return None
    found = recorded(registry, sequence)
    if not found.versions:
        return None
    tasks = found.tasks[: len(found.versions)]
    names = tuple(task.name for task in tasks)
    settings = {**found.record.settings, "guards": among(found.record.settings["guards"], names)}
    return replace(found, tasks=tasks, record=replace(found.record, tasks=names, settings=settings))


def compose(
    found: Recorded | None, document: Json, tasks: Sequence[Json], name: str
) -> SequenceConfig:
    """The learned tasks and some more, under the settings that a document asks for.

    Args:
        found: what is learned of the sequence.
        document: of an arrival.
        tasks: settings of what comes after the learned tasks.
        name: of what is composed, for messages.

    Raises:
        BadInput: they cannot be learned after one another.
    """
    known: dict[str, Any] = {"tasks": []} if found is None else found.as_json()
    asked = mapping(document["settings"])
    whole: dict[str, Any] = {
        **known,
        **{key: value for key, value in mapping(document["about"]).items() if value is not None},
        "sequence": document["sequence"],
        "base": document["base"],
        "adapter": document["adapter"],
        "training": document["training"],
        **asked,
        "tasks": [*known["tasks"], *tasks],
    }
    names = [str(task["name"]) for task in whole["tasks"]]
    whole["guards"] = among(whole.get("guards", ()), names)
    try:
        return sequence_from_json(whole)
    except NoRoom as full:
        raise full.told(where=name, fixed=bool(known["tasks"])) from None
    except BadInput as error:
        what = error.what.removeprefix("sequence: ")
        raise BadInput(f"{name}: {what}", error.expected, error.remedy) from None


def snapshotted(home: Path, arrival: Arrival) -> Json:
    """The settings of an arrival's task, its rows those that its submission kept."""
    return with_snapshots(mapping(arrival.document["task"]), home, arrival.data)


def with_snapshots(task: Json, home: Path, data: Mapping[str, str]) -> Json:
    """The settings of a task, its rows those kept in the home under these digests."""
    folder = home / "data" / data_key(data)
    return {**task, **{role: {"path": str(folder / f"{role}.jsonl")} for role in data}}


def metric_folder(found: Recorded | None, document: Json) -> str:
    """Where metrics of one's own are looked for: where the newest task that has one was submitted."""
    own = ":" in str(mapping(document["task"])["metric"])
    if found is None or own:
        return str(document["metric_folder"])
    return str(found.record.settings["metric_folder"])


def among(guards: object, names: Iterable[str]) -> list[str]:
    """The guards that are there to guard."""
    assert isinstance(guards, list | tuple)
    there = set(names)
    return [str(guard) for guard in guards if guard in there]


def mapping(value: object) -> Mapping[str, Any]:
    """A value of a document that is known to be a mapping."""
    assert isinstance(value, Mapping)
    return value


def digests_of(data: Json) -> dict[str, str]:
    """Role of rows -> digest, as a record of a task has them."""
    return {role: str(digest) for role, digest in data.items()}


def _refuse_another(registry: Registry, plan: Plan, arrival: Arrival, position: int) -> None:
    """The task that is learned under the arrival's name must be the arrival's."""
    settings = mapping(arrival.document["record"])
    record = TaskRecord(position=position, name=arrival.task, config=settings, data=arrival.data)
    base = str(arrival.document["base_digest"])
    registry.refuse_changes(plan.sequence_record(base), [record])


def _refuse_missing(plan: Plan, home: Path) -> None:
    for position, (task, data) in enumerate(zip(plan.config.tasks, plan.data, strict=True), 1):
        folder = plan.data_folder(home, position)
        for role in data:
            if not (folder / f"{role}.jsonl").is_file():
                raise BadInput(
                    f"task {task.name!r}: its {role} rows are not in {folder}",
                    "the rows that were kept when it was submitted",
                    "Hosts that learn one sequence share one home (LORI_HOME).",
                )
