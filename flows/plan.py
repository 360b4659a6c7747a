"""What a sequence file asks for, read and checked before anything heavy is imported or written.

Order of the checks, cheapest first: the file, the places it names, the rows of every task, then
(in the training child, see `flows.stages.inspect`) what needs the base.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from flows.keys import adapter_settings, data_key, task_settings
from flows.memo import recall, remembered
from lori_core.base_folder import find_base
from lori_core.base_identity import identify_base
from lori_core.config import BaseConfig, DataSource, SequenceConfig, TaskConfig
from lori_core.errors import BadInput, NoRoom
from lori_core.rows import source_name
from lori_core.sequence_file import load_sequence, require_files
from lori_core.task_rows import data_digests
from lori_core.validation import task_sources
from registry.records import SequenceRecord, TaskRecord
from registry.store import open_registry, registry_exists


@dataclass(frozen=True, slots=True)
class Plan:
    """A sequence file and the digests of all it stands on."""

    file: Path

    config: SequenceConfig

    data: tuple[Mapping[str, str], ...]
    """For each task: role -> digest of its rows."""

    @property
    def name(self) -> str:
        """Name of the sequence."""
        return self.config.sequence

    def data_folder(self, home: Path, position: int) -> Path:
        """Where the snapshot of the rows of the task at `position` (from 1) lies."""
        return home / "data" / data_key(self.data[position - 1])

    def sequence_record(self, base_digest: str) -> SequenceRecord:
        """The sequence as the registry knows it."""
        config = self.config
        return SequenceRecord(
            name=config.sequence,
            base_digest=base_digest,
            base_path=config.base.path,
            base={"revision": config.base.revision, "dtype": config.base.dtype},
            adapter=adapter_settings(config),
            settings={
                "guards": list(config.guards),
                "evaluate": config.evaluate,
                "eval_rows": config.eval_rows,
                "gate": asdict(config.gate),
                "promotion": config.promotion,
                "metric_folder": str(self.file.absolute().parent),
                "allow_code_execution": [t.name for t in config.tasks if t.allow_code_execution],
                "about": about(config),
                "training": asdict(config.training),
            },
            tasks=tuple(task.name for task in config.tasks),
        )

    def task_record(self, position: int) -> TaskRecord:
        """The task at `position` (from 1) as the registry knows it."""
        task = self.config.tasks[position - 1]
        return TaskRecord(
            position=position,
            name=task.name,
            config=task_settings(task),
            data=self.data[position - 1],
        )


def about(config: SequenceConfig) -> dict[str, object]:
    """What a sequence says of itself for people: purposes and licences, no part of what is learned."""
    tasks = {t.name: {"purpose": t.purpose, "license": t.license} for t in config.tasks}
    return {"purpose": config.purpose, "license": config.license, "tasks": tasks}


def read_plan(file: Path, home: Path) -> Plan:
    """Read a sequence file and the digests of its rows.

    Raises:
        BadInput: the file, or a file it names, is missing, damaged or not what it should be.
    """
    try:
        config = load_sequence(file)
    except NoRoom as full:
        raise full.told(fixed=_is_learned(home, full.sequence)) from None
    require_files(config)
    data = tuple(row_digests(home, task) for task in config.tasks)
    plan = Plan(file, config, data)
    refuse_other_tests(plan)
    return plan


def _is_learned(home: Path, sequence: str) -> bool:
    """Whether anything of a sequence is learned here."""
    if not home.is_dir() or not registry_exists(home):
        return False
    with open_registry(home) as registry:
        known = registry.find_sequence(sequence) is not None
        return known and any(each.state == "registered" for each in registry.versions(sequence))


def refuse_other_tests(plan: Plan) -> None:
    """A new version of a task is compared with the one before it, on the same rows."""
    tests = {task.name: rows for task, rows in zip(plan.config.tasks, plan.data, strict=True)}
    for task in plan.config.tasks:
        if task.supersedes is None:
            continue
        for role in ("test", "over_refusal"):
            if tests[task.name].get(role) != tests[task.supersedes].get(role):
                raise BadInput(
                    f"{plan.file}: tasks.{task.name}.{role} has other rows than "
                    f"{task.supersedes!r}, which it supersedes",
                    "the same rows: the gate compares the two on them",
                    "Or leave `supersedes` out and make it a task of its own.",
                )


def base_digest(base: BaseConfig, home: Path) -> str:
    """The identity of a base; its weights are read only when they were touched since last asked.

    Raises:
        BadInput: it does not exist or is not a model.
    """
    return _remembered_base(
        base, home, lambda: identify_base(base.path, base.revision, base.dtype).digest
    )


def known_base(base: BaseConfig, home: Path) -> str | None:
    """The identity of a base whose files were not touched since it was last asked for, or None."""
    facts = recall(home, "base", *_question(base))
    return None if facts is None else facts["digest"]


def remember_base(base: BaseConfig, home: Path, digest: str) -> None:
    """Keep the identity of a base that somebody else computed."""
    _remembered_base(base, home, lambda: digest)


def _remembered_base(base: BaseConfig, home: Path, identify: Callable[[], str]) -> str:
    question, files = _question(base)
    return remembered(home, "base", question, files, lambda: {"digest": identify()})["digest"]


def _question(base: BaseConfig) -> tuple[list[object], list[Path]]:
    folder = find_base(base)
    files = sorted(path for path in folder.iterdir() if path.is_file())
    return [str(folder.resolve()), base.revision, base.dtype], files


def row_digests(home: Path, task: TaskConfig) -> Mapping[str, str]:
    """role -> digest of a task's rows as they are now."""
    sources = task_sources(task)
    files = [Path(source.path) for _, source in sources if source.path is not None]
    if len(files) < len(sources):
        return data_digests(task)  # a data set of the hub: its revision may have moved
    question = [[role, _described(source)] for role, source in sources]
    return remembered(home, "data", question, files, lambda: data_digests(task))


def _described(source: DataSource) -> list[object]:
    return [source_name(source), source.limit]
