"""YAML read strictly: one mapping, no key twice, numbers that look like numbers, no surprises.

PyYAML follows YAML 1.1, where `5e-5` is text, `no` is false, `1:30` is ninety and the second of two
equal keys wins without a word. Here the scalars are those of JSON (YAML 1.2's core schema).
"""

import re
from pathlib import Path

import yaml

from lori_core.errors import BadInput

_FLOAT = re.compile(
    r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
)
_SCALARS = (
    ("tag:yaml.org,2002:null", re.compile(r"~|null|Null|NULL|"), "~nN\0"),
    ("tag:yaml.org,2002:bool", re.compile(r"true|True|TRUE|false|False|FALSE"), "tTfF"),
    ("tag:yaml.org,2002:int", re.compile(r"[-+]?[0-9]{1,18}"), "-+0123456789"),
    ("tag:yaml.org,2002:float", _FLOAT, "-+.0123456789"),
)


class _StrictLoader(yaml.SafeLoader):
    """PyYAML's safe loader without its own scalar rules, without tags, and without doubled keys."""

    def fetch_tag(self) -> None:
        """Refuse `!!set`, `!!bool` and all other tags: a value's type is what it looks like."""
        raise yaml.MarkedYAMLError(
            problem="a tag (`!`); text that begins so needs quotes", problem_mark=self.get_mark()
        )


_StrictLoader.yaml_implicit_resolvers = {}
for _tag, _pattern, _first in _SCALARS:
    _whole = re.compile(rf"(?:{_pattern.pattern})\Z")
    for _character in _first:
        _key = "" if _character == "\0" else _character
        _StrictLoader.yaml_implicit_resolvers.setdefault(_key, []).append((_tag, _whole))


class _LongNumber(float):
    """Digits beyond those of any whole number: a real number, which messages show as it is written."""

    text = ""

    def __repr__(self) -> str:
        """As it is written."""
        return self.text


def _mapping_once(loader: _StrictLoader, node: yaml.MappingNode) -> dict[object, object]:
    built: dict[object, object] = {}
    for key_node, value_node in node.value:
        key = loader.construct_object(key_node, deep=True)
        if isinstance(key, list | dict):
            raise yaml.MarkedYAMLError(
                problem="a key must be text", problem_mark=key_node.start_mark
            )
        if key in built:
            raise yaml.MarkedYAMLError(
                problem=f"key `{key}` appears twice", problem_mark=key_node.start_mark
            )
        built[key] = loader.construct_object(value_node, deep=True)
    return built


def _decimal(loader: _StrictLoader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))


def _real(loader: _StrictLoader, node: yaml.ScalarNode) -> float:
    if str(node.value).lstrip("+-").isdigit():
        number = _LongNumber(node.value)
        number.text = str(node.value)
        return number
    return float(loader.construct_scalar(node).replace(".inf", "inf").replace(".nan", "nan"))


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _mapping_once)
_StrictLoader.add_constructor("tag:yaml.org,2002:int", _decimal)
_StrictLoader.add_constructor("tag:yaml.org,2002:float", _real)


def read_text(path: Path, kind: str) -> str:
    """The text of a UTF-8 file (a byte order mark is dropped).

    Args:
        path: the file.
        kind: what it should be, for the message ("a sequence file (YAML)").

    Raises:
        BadInput: it is missing, a folder, not readable, or not UTF-8 (with the line).
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"{path}: no such file", kind, "Check the path.") from None
    except IsADirectoryError:
        raise BadInput(f"{path} is a folder", kind, "Name the file in it.") from None
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise BadInput(
            f"{path} cannot be read ({reason})", kind, "Check path and rights."
        ) from None
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise BadInput(
            f"{path} line {line}: byte 0x{data[error.start]:02x} is not UTF-8",
            "UTF-8 text",
            "Save it as UTF-8.",
        ) from None


def read_mapping(path: Path) -> dict[object, object]:
    """The one mapping a YAML file holds.

    Raises:
        BadInput: as `read_text`, and: not YAML (with the line), a key twice (with the line),
            several documents, empty, or not a mapping.
    """
    return parse_mapping(read_text(path, "a sequence file (YAML)"), str(path))


def parse_mapping(text: str, path: str) -> dict[object, object]:
    """The one mapping YAML text holds; `path` opens every message.

    Raises:
        BadInput: as `read_mapping`.
    """
    try:
        value = yaml.load(text, Loader=_StrictLoader)  # a SafeLoader: builds plain data alone
    except yaml.composer.ComposerError as error:
        if error.context != "expected a single document in the stream":  # PyYAML's own words
            raise _not_yaml(path, error) from None
        line = f" line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInput(
            f"{path}{line}: a second document begins (`---`)",
            "one sequence in a file",
            "Move it to a file of its own.",
        ) from None
    except yaml.MarkedYAMLError as error:
        raise _not_yaml(path, error) from None
    except yaml.reader.ReaderError as error:
        line = f" line {text.count(chr(10), 0, error.position) + 1}"
        raise BadInput(
            f"{path}{line}: character U+{ord(text[error.position]):04X} ({error.reason})",
            "YAML",
            "Remove it.",
        ) from None
    except RecursionError:
        raise BadInput(f"{path}: nested too deeply", "a sequence file (YAML)") from None
    except ValueError as error:
        raise BadInput(f"{path}: {error}", "YAML", "Correct the value.") from None
    if value is None:
        raise BadInput(f"{path} is empty", "a sequence file (YAML)", "`lori init` writes one.")
    if not isinstance(value, dict):
        raise BadInput(
            f"{path} holds {_kind_of(value)}",
            "a mapping of keys to values",
            "Begin with `sequence: NAME`.",
        )
    return value


def _not_yaml(path: str, error: yaml.MarkedYAMLError) -> BadInput:
    mark = error.problem_mark or error.context_mark
    line = f" line {mark.line + 1}" if mark else ""
    return BadInput(f"{path}{line}: {error.problem}", "YAML", "Correct the line.")


def _kind_of(value: object) -> str:
    return "a list" if isinstance(value, list) else f"one value, {value!r}"
