"""A sequence as it was recorded: its settings and files, found by name, without its sequence file."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from flows.keys import data_key
from lori_core.config import Read, SequenceConfig
from lori_core.errors import BadInput
from lori_core.names import check_name
from lori_core.sequence_file import sequence_from_json
from registry.home import find_home
from registry.records import FiledVersion, SequenceRecord, TaskRecord
from registry.store import Registry, open_registry


@dataclass(frozen=True, slots=True)
class Named:
    """A version as a user names it: `S`, `S/3`, `S@champion`."""

    sequence: str

    version: int | None
    """None: the newest."""


def parse_name(text: str) -> Named:
    """Read `S`, `S/3` or `S@alias`.

    Raises:
        BadInput: it is none of these, or nothing serves under that alias.
    """
    sequence, at, alias = text.partition("@")
    sequence, slash, number = sequence.partition("/")
    check_name("sequence", sequence)
    if at:
        raise BadInput(
            f"{text}: no version of {sequence!r} is {alias or '(no alias)'}",
            "a version that was promoted",
            f"Name one by number, e.g. {sequence}/1.",
        )
    if slash and not (number.isascii() and number.isdigit() and int(number) > 0):
        raise BadInput(
            f"version {text!r}", "a number after the slash", f"`lori versions {sequence}`"
        )
    return Named(sequence, int(number) if slash else None)


def open_existing() -> Registry:
    """The registry of the home, which must be there already: readers make nothing.

    Raises:
        BadInput: nothing was learned here yet.
    """
    home = find_home()
    if not home.is_dir():
        raise BadInput(
            f"home {home} does not exist",
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
        settings = self.record.settings
        permitted = _list(settings.get("allow_code_execution", []))
        return sequence_from_json(
            {
                "sequence": self.name,
                "base": {"path": self.record.base_path, **self.record.base},
                "adapter": dict(self.record.adapter),
                "tasks": [self._task(task, task.name in permitted) for task in self.tasks],
                "guards": _list(settings["guards"]),
                "evaluate": settings["evaluate"],
                "eval_rows": settings["eval_rows"],
                "gate": settings["gate"],
                "promotion": settings["promotion"],
            }
        )

    def read_mode(self, asked: str | None) -> Read:
        """The read mode asked for, or the one the sequence is trained under."""
        modes: tuple[Read, ...] = ("isolated", "inherited", "cumulative")
        wanted = asked or self.record.adapter["read"]
        return next(mode for mode in modes if mode == wanted)

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
        wanted = last if named.version is None else named.version
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

    def _task(self, task: TaskRecord, permitted: bool) -> dict[str, Any]:
        folder = self.data_folder(task.position)
        sources: dict[str, Any] = {
            role: {"path": str(folder / f"{role}.jsonl")} for role in task.data
        }
        if task.config["metric"] == "refusal":
            sources.setdefault("over_refusal", "none")
        return {
            **task.config,
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
