"""What was submitted, read: a whole sequence file, or one task for a sequence that is known.

    sequence: assistant          # a task file: no base, no adapter, `task` instead of `tasks`
    task: {name: code, train: {path: code.jsonl}, test: {path: code-test.jsonl}}
    guards: [safety]             # may be left out, as may gate, promotion, evaluate and eval_rows

A submission holds the text of a file, or the same keys as JSON.
"""

import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from flows.arrival_plan import SETTINGS
from lori_core.config import SequenceConfig, TaskConfig
from lori_core.errors import BadInput, NotFound, UnknownKey
from lori_core.names import check_name
from lori_core.sequence_file import located, parse_sequence
from lori_core.strict_yaml import parse_mapping, read_text
from lori_core.validation import nearest, shown, task_sources, validate_sequence
from registry.arrival_records import Source
from registry.records import Json

FROM_VARIABLE = "LORI_SUBMIT_FROM"
"""Folders, separated by `:`, whose files submissions from outside may name."""

TRUSTED: frozenset[Source] = frozenset({"command", "schedule"})
"""Written by who could run `lori run` here: he may name any file and let code run."""

_LARGEST = 4 * 1024**2
"""Bytes of a file with settings."""

_OF_A_TASK_FILE = ("sequence", "task", *SETTINGS)


@dataclass(frozen=True, slots=True)
class Wish:
    """What a submission asks for."""

    name: str
    """What messages call it: its file."""

    folder: Path
    """What relative paths are relative to, and where a metric of one's own is looked for."""

    config: SequenceConfig
    """Settings and the tasks that were sent, paths absolute."""

    settings: Mapping[str, object]
    """What it says of its sequence, of `flows.arrival_plan.SETTINGS`."""


def file_document(path: Path) -> dict[str, object]:
    """A file as the document of a submission: its text, as it is now.

    Raises:
        BadInput: it cannot be read, or is too large for a file with settings.
    """
    text = read_text(path, "a sequence file (YAML)")
    if len(text) > _LARGEST:
        raise BadInput(
            f"{path}: {len(text)} characters", f"at most {_LARGEST}", "Name rows by path."
        )
    if "\0" in text:
        raise BadInput(f"{path}: character U+0000", "YAML", "Remove it.")
    return {"file": str(path), "text": text}


def content_of(document: Json, default: str = "submission") -> tuple[str, Mapping[Any, object]]:
    """What a submission's document says, and what to call it.

    Raises:
        BadInput: the text it holds is no YAML mapping.
    """
    file, text = document.get("file"), document.get("text")
    if set(document) == {"file", "text"} and isinstance(file, str) and isinstance(text, str):
        return file, parse_mapping(text, file)
    return default, document


def sequence_named(content: Mapping[Any, object], name: str) -> str:
    """The sequence that is meant.

    Raises:
        BadInput: none is named.
    """
    if "sequence" not in content:
        raise BadInput(f"{name}: key `sequence` is missing", "text", "Add `sequence:`.")
    return check_name(f"{name}: sequence", content["sequence"])


def read_wish(content: Mapping[Any, object], name: str, folder: Path, known: Json | None) -> Wish:
    """Read what was submitted.

    Args:
        content: the keys.
        name: opens every message.
        folder: what relative paths are relative to.
        known: base, adapter and training of the sequence named; None where it is not known.

    Raises:
        BadInput: a key or value cannot be used, or a task comes for a sequence nobody knows.
    """
    if "task" not in content or "tasks" in content:
        config = parse_sequence(content, name)
        validate_sequence(config, name)
        given = asdict(config)
        return Wish(name, folder, located(config, folder), {key: given[key] for key in SETTINGS})
    for key in content:
        if key not in _OF_A_TASK_FILE:
            guess = nearest(str(key), _OF_A_TASK_FILE)
            raise UnknownKey(f"{name} (one task)", str(key), guess, _OF_A_TASK_FILE)
    if known is None:
        raise NotFound(
            f"{name}: sequence {content['sequence']!r} is not known here",
            "a sequence that was learned or submitted",
            "Submit its whole sequence file first: base, adapter, tasks.",
        )
    if not isinstance(content["task"], Mapping):
        raise BadInput(
            f"{name}: task is {shown(content['task'])}", "the settings of one task, a mapping"
        )
    said = {key: content[key] for key in SETTINGS if key in content}
    named = {"sequence": content["sequence"], "tasks": [content["task"]]}
    whole: Mapping[Any, object] = {**known, **said, **named}
    config = located(parse_sequence(whole, name), folder)
    given = asdict(config)
    return Wish(name, folder, config, {key: given[key] for key in said})


def check_keys(content: Mapping[Any, object], name: str) -> None:
    """Refuse what no base, no rows and no earlier task could make right: keys, types, values.

    A task file is read beside settings that stand for those of its sequence, which may come later.

    Raises:
        BadInput: as `read_wish`.
    """
    sequence_named(content, name)
    read_wish(content, name, Path("/"), {"base": {"path": "/base"}})


def refuse_from_outside(wish: Wish, source: Source, home: Path, base: str | None) -> None:
    """Refuse what only who works on this machine may ask for: other folders, code of his own.

    Args:
        wish: what is asked for.
        source: how it came.
        home: the folder that holds it is the default of what may be named.
        base: where the base of the known sequence lies, which may be named.

    Raises:
        BadInput: a file outside the folders of `LORI_SUBMIT_FROM`, or code that would run.
    """
    if source in TRUSTED:
        return
    roots = allowed_folders(home)
    if source == "folder":
        roots = (*roots, wish.folder.resolve())  # who may submit named it
    if wish.config.base.path != base:
        refuse_outside(f"{wish.name}: base", wish.config.base.path, roots)
    for task in wish.config.tasks:
        _refuse_code(wish.name, task)
        for role, place in _places(task):
            refuse_outside(f"{wish.name}: tasks.{task.name}.{role}", place, roots)


def allowed_folders(home: Path) -> tuple[Path, ...]:
    """The folders whose files may be named from outside."""
    named = [part for part in os.environ.get(FROM_VARIABLE, "").split(":") if part]
    return tuple(Path(part).expanduser().resolve() for part in named) or (home.parent.resolve(),)


def refuse_outside(what: str, place: str, roots: tuple[Path, ...]) -> None:
    """Raise BadInput for a file or folder of this machine outside these folders; links are followed."""
    path = Path(place).expanduser()
    if not (path.is_absolute() or place.startswith((".", "~")) or os.path.lexists(place)):
        return  # of the hub
    whole = path.resolve()
    if any(whole.is_relative_to(root) for root in roots):
        return
    raise BadInput(
        f"{what}: {whole} is not in a folder that may be named from outside",
        f"a file under {' or '.join(str(root) for root in roots)}",
        f"Whoever runs the worker sets {FROM_VARIABLE}, or submits with `lori submit` there.",
    )


def _refuse_code(name: str, task: TaskConfig) -> None:
    if task.allow_code_execution or ":" in task.metric:
        found = "allow_code_execution" if task.allow_code_execution else f"metric {task.metric}"
        raise BadInput(
            f"{name}: tasks.{task.name}: {found} would run code",
            "none from outside",
            "Submit it with `lori submit` on the machine that learns it.",
        )


def _places(task: TaskConfig) -> Iterator[tuple[str, str]]:
    for role, source in task_sources(task):
        place = source.path if source.path is not None else source.dataset
        if place is not None:
            yield role, place
