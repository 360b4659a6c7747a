"""Sequence files: strict YAML in, a `SequenceConfig` out, or one sentence about what is wrong.

The keys are the fields of the dataclasses in `config.py` and nothing else; this file only knows how
to read them, and the few conveniences of the form (a base as plain text, a task's overrides of
`training`, what is taken where a key is left out).
"""

import math
import os
import re
import types
from collections.abc import Mapping
from dataclasses import MISSING, Field, asdict, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from lori_core.config import (
    AdapterConfig,
    DataSource,
    GateConfig,
    ResourcesConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)
from lori_core.errors import BadInput, UnknownKey
from lori_core.strict_yaml import read_mapping
from lori_core.validation import key_of_task, nearest, reachable_level, shown, validate_sequence

T = TypeVar("T")

_HUB_ID = re.compile(r"[\w.-]+(/[\w.-]+)?")
_HOMES = {
    "adapter": AdapterConfig,
    "training": TrainingConfig,
    "gate": GateConfig,
    "tasks": TaskConfig,
    "resources": ResourcesConfig,
}
_KINDS = {int: "a whole number", float: "a number", str: "text", bool: "true or false"}


def load_sequence(path: Path) -> SequenceConfig:
    """Read a sequence file.

    Relative paths become absolute, from the folder of the file. A task's `training` is the
    sequence's with the task's own keys on top. Where they are left out, `read` is `isolated` under
    `protection: separate` and `cumulative` under `overlap`, and the gate takes the adapter's read
    mode and the highest certificate level it can reach. No rows or weights are touched: see
    `require_files`.

    Raises:
        BadInput: the file or a value in it cannot be used.
        UnknownKey: a key that no setting has.
    """
    config = parse_sequence(read_mapping(path), str(path))
    validate_sequence(config, str(path))
    return located(config, path.resolve().parent)


def parse_sequence(given: Mapping[object, object], file: str) -> SequenceConfig:
    """The settings that the content of a sequence file says, paths as they stand there.

    Only types are looked at: `validate_sequence` says whether they can be learned.

    Raises:
        BadInput: a value of the wrong type, or a key missing; `file` opens the message.
        UnknownKey: a key that no setting has.
    """
    return _section(SequenceConfig, _with_conveniences(given, file), file, "")


def located(config: SequenceConfig, folder: Path) -> SequenceConfig:
    """The settings with every relative path made absolute, from a folder."""
    return replace(
        config,
        base=replace(config.base, path=_base_path(config.base.path, folder)),
        tasks=tuple(_with_absolute_paths(task, folder) for task in config.tasks),
    )


def sequence_to_json(config: SequenceConfig) -> dict[str, object]:
    """The settings as plain data, for another process or a record."""
    return asdict(config)


def sequence_from_json(value: Mapping[str, object]) -> SequenceConfig:
    """The settings that `sequence_to_json` gave, after a way through JSON."""
    config = _section(SequenceConfig, dict(value), "sequence", "")
    validate_sequence(config)
    return config


def require_files(config: SequenceConfig) -> None:
    """Refuse, before anything heavy is loaded, a sequence whose local files are not there.

    Raises:
        BadInput: a base folder or a file of rows that does not exist or is of the wrong kind.
    """
    base = Path(config.base.path)
    if base.is_absolute() and not _is_file(base / "config.json"):
        found = "holds no config.json" if _is_folder(base) else "does not exist"
        found = "is a file" if _is_file(base) else found
        raise BadInput(
            f"base {base} {found}", "the folder of a model, or an id on the hub", "Check the path."
        )
    for task in config.tasks:
        for source in (task.train, task.test, task.validation, task.over_refusal):
            if not isinstance(source, DataSource) or source.path is None:
                continue
            file = Path(source.path)
            if not _is_file(file):
                found = "is a folder" if _is_folder(file) else "no such file"
                raise BadInput(
                    f"task {task.name}: {file}: {found}", "a file of rows", "Check the path."
                )


def _is_file(path: Path) -> bool:
    return os.path.isfile(path)  # noqa: PTH113 (unlike Path's own it never raises)


def _is_folder(path: Path) -> bool:
    return os.path.isdir(path)  # noqa: PTH112 (unlike Path's own it never raises)


# Conveniences of the file form


def _with_conveniences(given: Mapping[object, object], file: str) -> dict[object, object]:
    raw = dict(given)
    if isinstance(raw.get("base"), str):
        raw["base"] = {"path": raw["base"]}
    elif "base" in raw and not isinstance(raw["base"], dict):
        raise BadInput(
            f"{file}: base is {shown(raw['base'])}",
            "a folder, a hub id, or {path, revision, dtype}",
            "A number or truth value meant as text needs quotes.",
        )
    adapter = raw.get("adapter", {})
    if isinstance(adapter, dict) and "read" not in adapter:
        protection = adapter.get("protection")
        read = "isolated" if protection == "separate" else "inherited"
        adapter = {**adapter, "read": "cumulative" if protection == "overlap" else read}
        raw["adapter"] = adapter
    gate = raw.get("gate", {})
    if isinstance(gate, dict):
        known = _section(AdapterConfig, adapter, file, "adapter")
        raw["gate"] = {"read": known.read, "certificate": reachable_level(known), **gate}
    shared, tasks = raw.get("training", {}), raw.get("tasks")
    if isinstance(shared, dict) and isinstance(tasks, list):
        raw["tasks"] = [_with_training(task, shared) for task in tasks]
    return raw


def _with_training(task: object, shared: dict[object, object]) -> object:
    if not isinstance(task, dict):
        return task
    own = task.get("training", {})
    return {**task, "training": {**shared, **own}} if isinstance(own, dict) else task


def _base_path(path: str, folder: Path) -> str:
    """An absolute folder, or the hub id as it is."""
    meant_local = path.startswith((".", "/", "~/")) or not _HUB_ID.fullmatch(path)
    local = meant_local or _is_folder(folder / path)
    return _from_folder(path, folder) if local else path


def _from_folder(path: str, folder: Path) -> str:
    """`path` as an absolute one; a relative one starts at `folder`, `~/` at the home folder."""
    whole = Path(path).expanduser() if path.startswith("~/") else folder / path
    try:
        return str(whole.resolve())
    except RuntimeError:
        raise BadInput(f"{whole}: a circle of links", "a file or folder", "Check it.") from None


def _with_absolute_paths(task: TaskConfig, folder: Path) -> TaskConfig:
    harmless = task.over_refusal
    return replace(
        task,
        train=_absolute(task.train, folder),
        test=_absolute(task.test, folder),
        validation=None if task.validation is None else _absolute(task.validation, folder),
        over_refusal=_absolute(harmless, folder) if isinstance(harmless, DataSource) else harmless,
    )


def _absolute(source: DataSource, folder: Path) -> DataSource:
    if source.path is None:
        return source
    return replace(source, path=_from_folder(source.path, folder))


# From plain data to dataclasses, by their own annotations


def _section(kind: type[T], given: object, file: str, at: str) -> T:
    """Build dataclass `kind` from a mapping; `at` is the mapping's own key path."""
    if not isinstance(given, Mapping):
        raise BadInput(
            f"{_place(file, at)} is {shown(given)}",
            f"a mapping of {', '.join(_names(kind))}",
            "Leave the key out to take the defaults." if at in _HOMES else "",
        )
    known = _names(kind)
    for key in given:
        if key not in known:
            raise UnknownKey(_place(file, at), str(key), _near_key(str(key), known, at), known)
    hints = get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in fields(kind):  # type: ignore[arg-type]
        path = f"{at}.{item.name}" if at else item.name
        if item.name in given:
            values[item.name] = _value(hints[item.name], given[item.name], file, path)
        elif _required(item):
            raise BadInput(
                f"{_place(file, at)}: key `{item.name}` is missing",
                _described(hints[item.name]),
                f"Add `{item.name}:`.",
            )
    return kind(**values)


def _value(hint: Any, given: object, file: str, at: str) -> object:
    """`given` as annotation `hint` wants it."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    if given is None and types.NoneType in options:
        return None
    for option in options:
        if get_origin(option) is Literal and isinstance(given, str) and given in get_args(option):
            return given
    for option in options:
        if is_dataclass(option) and (isinstance(given, Mapping) or len(options) == 1):
            return _section(option, given, file, at)  # type: ignore[arg-type]
        if get_origin(option) is tuple and isinstance(given, list | tuple):
            return _several(get_args(option)[0], given, file, at)
        if isinstance(option, type) and _is(option, given):
            return float(given) if option is float else given  # type: ignore[arg-type]
    guess = nearest(given, _literals(options)) if isinstance(given, str) else None
    raise BadInput(
        f"{file}: {at} is {shown(given)}",
        _described(hint),
        f"Did you mean `{guess}`?" if guess else "Change it in the file.",
    )


def _several(kind: Any, given: list[object] | tuple[object, ...], file: str, at: str) -> object:
    if not is_dataclass(kind):
        return tuple(
            _value(kind, item, file, f"{at}[{i}]") for i, item in enumerate(given, start=1)
        )
    return tuple(
        _section(kind, item, file, _task_key(position, item))  # type: ignore[arg-type]
        for position, item in enumerate(given, start=1)
    )


def _task_key(position: int, task: object) -> str:
    return key_of_task(position, task.get("name") if isinstance(task, Mapping) else None)


def _is(kind: type, given: object) -> bool:
    """Whether `given` is a `kind`: a bool, NaN or infinity is no number, blanks are no text."""
    if kind in (int, float):
        if isinstance(given, bool) or not isinstance(given, int | float):
            return False
        return isinstance(given, int) if kind is int else math.isfinite(given)
    if kind is str:
        return isinstance(given, str) and bool(given.strip()) and "\0" not in given
    return isinstance(given, kind)


def _names(kind: Any) -> tuple[str, ...]:
    return tuple(item.name for item in fields(kind))


def _required(item: "Field[object]") -> bool:
    return item.default is MISSING and item.default_factory is MISSING


def _near_key(key: str, known: tuple[str, ...], at: str) -> str | None:
    """The key meant: one of this section, or the same word where it does belong."""
    for section, kind in _HOMES.items():
        if key in _names(kind) and key != "name" and not at.endswith(section):
            return f"{section}: {key}"
    return nearest(key, known)


def _literals(options: tuple[Any, ...]) -> tuple[str, ...]:
    return tuple(
        word for option in options if get_origin(option) is Literal for word in get_args(option)
    )


def _described(hint: Any) -> str:
    """An annotation in words."""
    options = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    words = []
    for option in options:
        if option is types.NoneType:
            words.append("null")
        elif get_origin(option) is Literal:
            words.append(" or ".join(get_args(option)))
        elif get_origin(option) is tuple:
            inner = get_args(option)[0]
            words.append("a list of mappings" if is_dataclass(inner) else "a list of texts")
        elif is_dataclass(option):
            words.append(f"a mapping of {', '.join(_names(option))}")
        else:
            words.append(_KINDS[option])
    return ", or ".join(words)


def _place(file: str, at: str) -> str:
    return f"{file}: {at}" if at else file
