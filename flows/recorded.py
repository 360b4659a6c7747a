"""A sequence as it was recorded: its settings and files, found by name, without its sequence file."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

from flows.keys import data_key
from lori_core.config import Read, SequenceConfig
from lori_core.errors import BadInput, NotFound
from lori_core.sequence_file import sequence_from_json
from registry.decisions import BARE_BASE
from registry.desks import Decisions, acting, opened
from registry.home import find_home
from registry.named import Named as Named
from registry.named import parse_name as parse_name
from registry.records import FiledVersion, MatrixCells, SequenceRecord, TaskRecord
from registry.settings import find_settings
from registry.store import Registry, open_registry, registry_exists

ADOPTED = "adopted"
"""In a task's recorded settings: digests of the PEFT folder it was adopted from, if it was."""


def parse_sequence(text: str) -> str:
    """Read `S` where no version can be meant.

    Raises:
        BadInput: it is no name, or names a version.
    """
    named = parse_name(text)
    if str(named) != named.sequence:
        raise BadInput(f"sequence {text!r}", f"the sequence alone: {named.sequence}")
    return named.sequence


def asked_version(desk: Decisions, named: Named) -> int | None:
    """The number a name stands for; None for the newest, 0 for the bare base under an alias.

    Raises:
        NotFound: there is no such sequence, or nothing has that alias.
    """
    if named.alias is None:
        return named.version
    number = desk.champion(named.sequence, named.alias)
    if number is None:
        raise NotFound(
            f"no version of {named.sequence!r} is {named.alias}",
            "a version that was promoted",
            f"Name one by number, e.g. {named.sequence}/1.",
        )
    return number


def read_named(text: str) -> Read:
    """A read mode by its name, which was checked before."""
    modes: tuple[Read, ...] = get_args(Read)
    return next(mode for mode in modes if mode == text)


def up_to(cells: MatrixCells, version: int | None) -> MatrixCells:
    """R as it was at a version; whole where None is named.

    Raises:
        NotFound: it has no such row.
    """
    if version is None:
        return cells
    if version > cells.rows[-1].version:
        raise NotFound(
            f"version {cells.sequence}/{version}",
            f"a version up to {cells.rows[-1].version}",
            f"`lori versions {cells.sequence}` lists them.",
        )
    return replace(cells, rows=tuple(row for row in cells.rows if row.version <= version))


def open_existing() -> Registry:
    """The registry of the home, which must be there already: readers make nothing.

    Raises:
        BadInput: nothing was learned here yet.
    """
    home = find_home()
    find_settings(home)  # that LORI_REGISTRY_URL is a server's address is told before all else
    if not home.is_dir():
        raise BadInput(
            f"home {home} does not exist",
            "the folder something was learned in",
            "Set LORI_HOME, change the folder, or learn with `lori run FILE`.",
        )
    if not registry_exists(home):
        raise BadInput(
            f"home {home}: nothing is recorded in it",
            "the folder something was learned in",
            "Set LORI_HOME, change the folder, or learn with `lori run FILE`.",
        )
    return open_registry(home)


@dataclass(frozen=True, slots=True)
class Recorded:
    """One sequence of a registry."""

    registry: Registry

    record: SequenceRecord

    tasks: tuple[TaskRecord, ...]

    versions: tuple[FiledVersion, ...]
    """The filed ones, in order."""

    @property
    def home(self) -> Path:
        """Where it was learned."""
        return self.registry.settings.home

    @property
    def name(self) -> str:
        """Name of the sequence."""
        return self.record.name

    def data_folder(self, position: int) -> Path:
        """Where the snapshot of a task's rows lies."""
        return self.home / "data" / data_key(_strings(self.tasks[position - 1].data))

    def config(self) -> SequenceConfig:
        """The sequence's settings, as if read from a file whose rows are the snapshots."""
        return sequence_from_json(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """As `config`, in the form of `sequence_to_json`."""
        settings = self.record.settings
        permitted = _list(settings.get("allow_code_execution", []))
        about = _strings(settings.get("about", {}))
        return {
            "sequence": self.name,
            "purpose": about.get("purpose"),
            "license": about.get("license"),
            "base": {"path": self.record.base_path, **self.record.base},
            "adapter": dict(self.record.adapter),
            "tasks": [
                self._task(task, task.name in permitted, about.get("tasks", {}))
                for task in self.tasks
            ],
            "guards": _list(settings["guards"]),
            "evaluate": settings["evaluate"],
            "eval_rows": settings["eval_rows"],
            "gate": settings["gate"],
            "promotion": settings["promotion"],
        }

    def read_mode(self, asked: str | None) -> Read:
        """The read mode asked for, or the one the sequence is trained under."""
        return read_named(asked or str(self.record.adapter["read"]))

    def position(self, task: str) -> int:
        """The position of a learned task.

        Raises:
            BadInput: it is not one of this sequence, or not learned yet.
        """
        names = [each.task for each in self.versions]
        if task not in names:
            raise BadInput(
                f"task {task!r} of {self.name!r}",
                f"one of {', '.join(names)}" if names else "a sequence with a learned task",
            )
        return names.index(task) + 1

    def number(self, named: Named) -> int:
        """The number of a named version; the newest where none is named.

        Raises:
            BadInput: there is no such version.
        """
        last = len(self.versions)
        found = asked_version(opened(self.registry, acting(self.registry)).desk, named)
        if found == BARE_BASE and named.alias is not None:
            raise BadInput(f"{named} is the bare base", "a version with an adapter")
        wanted = last if found is None else found
        if not 1 <= wanted <= last:
            raise BadInput(
                f"version {self.name}/{wanted}",
                f"a version from 1 to {last}" if last else "a sequence with a filed version",
                f"`lori versions {self.name}` lists them.",
            )
        return wanted

    def learned_at(self, named: Named, task: str) -> tuple[int, int]:
        """The number of a named version and the position of a task that it has learned.

        Raises:
            BadInput: there is no such version or task, or the task was learned later.
        """
        number, position = self.number(named), self.position(task)
        if position > number:
            raise BadInput(
                f"task {task!r} at {self.name}/{number}",
                f"a version from {position} on, where it is learned",
            )
        return number, position

    def folders(self, version: int) -> list[Path]:
        """The folder of every version up to this one, each file checked.

        Raises:
            DigestMismatch: a file is not what was filed.
        """
        return [self.registry.artifact_path(self.name, k) for k in range(1, version + 1)]

    def _task(
        self, task: TaskRecord, permitted: bool, about: Mapping[str, dict[str, Any]]
    ) -> dict[str, Any]:
        folder = self.data_folder(task.position)
        sources: dict[str, Any] = {
            role: {"path": str(folder / f"{role}.jsonl")} for role in task.data
        }
        if task.config["metric"] == "refusal":
            sources.setdefault("over_refusal", "none")
        if ADOPTED in task.config:  # what it was trained on is not ours (`load_snapshot`)
            sources["train"] = sources["test"]
        return {
            **{key: value for key, value in task.config.items() if key != ADOPTED},
            **about.get(task.name, {}),
            **sources,
            "training": dict(_strings(task.config["training"])),
            "allow_leak": True,
            "allow_dropped": True,
            "allow_code_execution": permitted,
        }


def recorded(registry: Registry, sequence: str) -> Recorded:
    """A sequence by name. Raises BadInput naming the nearest when there is none."""
    return Recorded(
        registry,
        registry.sequence(sequence),
        registry.tasks(sequence),
        tuple(each for each in registry.versions(sequence) if each.state == "registered"),
    )


def _strings(value: object) -> Mapping[str, Any]:
    assert isinstance(value, Mapping)
    return value


def _list(value: object) -> list[Any]:
    assert isinstance(value, list | tuple)
    return list(value)
