"""`docs/reference.md`: every key of a sequence file, made from the dataclasses that hold them.

python -m lori_core.reference_doc > docs/reference.md
"""

import ast
import inspect
import sys
import types
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from lori_core import config
from lori_core.config import (
    AdapterConfig,
    BaseConfig,
    DataSource,
    GateConfig,
    ResourcesConfig,
    SequenceConfig,
    TaskConfig,
    TrainingConfig,
)
from lori_core.validation import BOUNDS

_SECTIONS: tuple[tuple[str, type, str], ...] = (
    ("The file", SequenceConfig, ""),
    ("`base`", BaseConfig, "Plain text is short for `{path: TEXT}`."),
    ("`adapter`", AdapterConfig, ""),
    ("`training`", TrainingConfig, "A task's own `training` overrides any of these keys."),
    ("A task (an item of `tasks`)", TaskConfig, ""),
    ("`train`, `test`, `validation`, `over_refusal` of a task", DataSource, ""),
    ("`resources` of a task", ResourcesConfig, ""),
    ("`gate`", GateConfig, ""),
)

_LEFT_OUT = {
    ("AdapterConfig", "read"): "inherited (isolated under separate, cumulative under overlap)",
    ("GateConfig", "read"): "the adapter's",
    ("GateConfig", "certificate"): "the highest the adapter's settings reach",
    ("TaskConfig", "training"): "the sequence's",
}
"""What is taken where a key is left out, if it is not the field's own default."""

_INTRODUCTION = """\
# Reference: the sequence file

<!-- Made from lori_core/config.py by `python -m lori_core.reference_doc > docs/reference.md`. -->

A sequence file is YAML: one mapping, in UTF-8. An unknown key is an error that names the nearest
known one; a key may stand once. Numbers are JSON's (`5e-5` is a number, `inf` and `nan` are not),
`true` and `false` are the only truth values, and everything else is text. Relative paths start at
the folder of the file. `lori check FILE` reads a file and trains nothing.
"""

_RULES = """\
## Rules between keys

- `sequence` and every task's `name` match `[a-z0-9][a-z0-9._-]{0,63}`; task names differ.
- `protection: separate` goes with `read: isolated`, `protection: overlap` with `read: cumulative`.
- `gate.read` is `adapter.read`: a gate judges what serves.
- `method: lora` needs `protection: separate` and takes no `sparsity`.
- Under `protection: disjoint` the sum of 1 - `sparsity` over the tasks is at most 1.
- `gate.certificate` is at most G2 under `isolated` and `inherited`, G1 under `cumulative`, G0 under
  `protection: overlap`.
- `train_batch_size` is a multiple of `gradient_accumulation_steps`.
- `resources.processes` is `resources.gpus` where that is above 0, and at most the rows of a
  micro-batch.
- Rows come from `path` or from `dataset` with `split`; `name`, `split` and `revision` go with
  `dataset` alone.
- `prompt` and `completion` go together. A field is `{name}`, or `{meta.name}` within a mapping;
  `{{` is a brace. What stands for `{input}` is the one part of a prompt that may be cut.
- `metric: refusal` needs `over_refusal` (rows, or `none` said aloud), and no other metric takes it.
- `metric: pass_at_k` needs `allow_code_execution: true`; `k` is for it alone.
- Every name in `guards` is a task.
- `supersedes` names an earlier task with the same metric and the same test rows, which no other task
  supersedes.

## Rows

A row is a JSON object (`.jsonl`, `.jsonl.gz`), a line of CSV under a header, or a row of Parquet or
of a data set. It is in one of these forms, tried in this order:

| form | prompt | completion |
|---|---|---|
| the task's `prompt` and `completion` templates | as the template says | as the template says |
| `messages`: a list of {role, content} | the base's chat template over all but the last | the assistant's last |
| `prompt`, `completion` | `prompt` | `completion` |
| `instruction`, `input`, `target` or `output` | instruction, a line break, input, a line break | `target` or `output` |
| `text` | none | `text` |

`id` (text, unique; made from the row's number where it is absent), `choices` (a list of texts),
`label` (an index into `choices`) and `meta` (a mapping) go with any form; other fields join `meta`.
An encoder classifies `input`, or the whole prompt where that is empty.

A prompt that is too long is cut at the end of its `input` and nowhere else, and counted. A row whose
completion does not fit even then is dropped and counted; more than 5 % dropped is refused unless
`allow_dropped: true`.
"""


def reference_markdown() -> str:
    """The whole of `docs/reference.md`: every key with type, default, bounds and meaning."""
    parts = [_INTRODUCTION]
    for title, kind, note in _SECTIONS:
        parts.append(_table(title, kind, note))
    parts.append(_RULES)
    return "\n".join(parts)


def _table(title: str, kind: type, note: str) -> str:
    said = inspect.getdoc(kind) or ""
    hints = get_type_hints(kind)
    meanings = _docstrings()[kind.__name__]
    lines = [f"## {title}", "", " ".join(f"{said} {note}".split()), ""]
    lines += ["| key | type | default | bounds | meaning |", "|---|---|---|---|---|"]
    for item in fields(kind):
        bound = BOUNDS.get((kind.__name__, item.name))
        cells = (
            f"`{item.name}`",
            _type(hints[item.name]),
            _LEFT_OUT.get((kind.__name__, item.name)) or _default(item),
            str(bound) if bound else "",
            meanings[item.name],
        )
        lines.append(
            f"| {' | '.join(' '.join(cell.split()).replace('|', '·') for cell in cells)} |"
        )
    return "\n".join([*lines, ""])


@cache
def _docstrings() -> dict[str, dict[str, str]]:
    """class -> field -> the text beneath the field, read from the source of `config.py`."""
    found: dict[str, dict[str, str]] = {}
    for node in ast.parse(inspect.getsource(config)).body:
        if not isinstance(node, ast.ClassDef):
            continue
        found[node.name] = {
            line.target.id: beneath.value.value
            for line, beneath in zip(node.body, node.body[1:], strict=False)
            if isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(beneath, ast.Expr)
            and isinstance(beneath.value, ast.Constant)
            and isinstance(beneath.value.value, str)
        }
    return found


def _type(hint: Any) -> str:
    if get_origin(hint) in (Union, types.UnionType):
        return ", ".join(_type(option) for option in get_args(hint))
    if get_origin(hint) is Literal:
        return ", ".join(f"`{word}`" for word in get_args(hint))
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return "list of tasks" if is_dataclass(inner) else "list of texts"
    if is_dataclass(hint):
        return "mapping"
    return {int: "whole number", float: "number", str: "text", bool: "truth value"}.get(
        hint, "null"
    )


def _default(item: "Field[object]") -> str:
    if item.default is not MISSING:
        return _shown(item.default)
    if item.default_factory is not MISSING:
        return "its own defaults"
    return "**needed**"


def _shown(value: object) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return "none" if value == () else f"`{value:g}`" if isinstance(value, float) else f"`{value}`"


if __name__ == "__main__":
    sys.stdout.write(reference_markdown())
