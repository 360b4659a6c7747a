"""From a row to what the model reads and what it should write.

A prompt is `prefix + input + suffix`. Only `input` may be cut when a prompt is too long: the
instruction, the template around it and the completion are what the task is.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from lori_core.errors import BadInput, RowRefused, shown

Chat = Callable[[Sequence[Mapping[str, str]]], str]
"""Renders messages as a prompt that ends where the assistant begins (a tokenizer's chat template)."""

FORMS = "prompt + completion, messages, instruction + input + target (or output), or text"
"""The row forms that need no template."""

_FORM_FIELDS = frozenset(
    ("prompt", "completion", "messages", "instruction", "input", "target", "output", "text")
)
_OWN_FIELDS = _FORM_FIELDS | {"id", "choices", "label", "meta"}
_SLOT = re.compile(r"\{\{|\}\}|\{([A-Za-z_][\w.-]*)\}|[{}]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """One row, rendered."""

    id: str
    """Unique in its file."""

    prefix: str
    """What comes before `input`: instruction or template. Never cut."""

    input: str
    """The one part of a prompt that may be cut, at its end."""

    suffix: str
    """What comes after `input`. Never cut."""

    completion: str
    """What is learned, and what an answer is compared with. Empty where none is expected."""

    choices: tuple[str, ...] | None = None
    """The answers there are, for a row with a closed question."""

    label: int | None = None
    """Index of the right one among `choices`."""

    chat: bool = False
    """The prompt is a rendered chat template: special tokens in it are tokens. Anywhere else, what
    looks like one is text."""

    meta: Mapping[str, object] = field(default_factory=dict)
    """Whatever else the row says: tests of code, the expected behaviour, its source."""

    @property
    def prompt(self) -> str:
        """What the model reads."""
        return self.prefix + self.input + self.suffix


def template_fields(template: str) -> tuple[str, ...]:
    """The fields a template names, in order; `{{` and `}}` are braces.

    Raises:
        BadInput: a brace that belongs to no field.

    >>> template_fields("{question} in {{braces}} {meta.unit}")
    ('question', 'meta.unit')
    """
    fields = []
    for match in _SLOT.finditer(template):
        if match[0] in "{}":
            raise BadInput(
                f"template {template!r}: lone `{match[0]}` at character {match.start() + 1}",
                "fields as {name}",
                "Double a brace that is meant as text.",
            )
        if match[1]:
            fields.append(match[1])
    return tuple(fields)


def render(
    row: Mapping[str, object],
    *,
    prompt: str | None,
    completion: str | None,
    chat: Chat | None,
    target_needed: bool = True,
    where: str = "",
) -> Example:
    """Render one row in the form it is in, or by the task's templates.

    Args:
        row: plain data with an `id`.
        prompt: template over the row's fields, or None for the row's own form. Its `{input}` is
            the part that may be cut.
        completion: template of the completion; goes with `prompt`.
        chat: the base's chat template, for rows of `messages`.
        target_needed: False for rows that are only answered (harmless rows, own metrics): a
            missing completion is then empty.
        where: file and line, for messages.

    Raises:
        RowRefused: a field that is missing or of the wrong kind, or a label outside its choices;
            names row and field.
    """
    at = f"{where}: row {row.get('id')!r}" if where else f"row {row.get('id')!r}"
    try:
        return _rendered(row, prompt, completion, chat, at, target_needed=target_needed)
    except BadInput as error:
        outside = f"{where or 'a row'}: expected {error.expected}"
        raise RowRefused(error.what, error.expected, error.remedy, outside) from None


def _rendered(
    row: Mapping[str, object],
    prompt: str | None,
    completion: str | None,
    chat: Chat | None,
    at: str,
    *,
    target_needed: bool,
) -> Example:
    """`expected` of what is raised here is ours: it holds no word of a row."""
    if prompt is not None:
        prefix, text, suffix = _fill(prompt, row, at)
        target = _filled_target(completion, row, at, target_needed)
        own = set(template_fields(prompt)) | set(template_fields(completion or ""))
    elif "messages" in row:
        prefix, text, suffix, target = _conversation(row["messages"], chat, at, target_needed)
        own = set()
    elif "prompt" in row:
        prefix, text, suffix = _text(row, "prompt", at), "", ""
        target = _target(row, ("completion",), at, target_needed)
        own = set()
    elif "instruction" in row:
        prefix, text, suffix = _instruction(row, at)
        target = _target(row, ("target", "output"), at, target_needed)
        own = set()
    elif "text" in row:
        prefix, text, suffix = "", "", ""
        target = _text(row, "text", at)
        own = set()
    else:
        raise BadInput(
            f"{at} has the fields {', '.join(map(str, row)) or 'none'}",
            FORMS,
            "Or give the task `prompt` and `completion` templates.",
        )
    choices = _choices(row, at)
    return Example(
        id=str(row.get("id")),
        prefix=prefix,
        input=text,
        suffix=suffix,
        completion=target,
        choices=choices,
        label=_label(row, choices, target, at) if "label" not in own else None,
        chat=prompt is None and "messages" in row,
        meta=_meta(row, at),
    )


def _instruction(row: Mapping[str, object], at: str) -> tuple[str, str, str]:
    instruction = _text(row, "instruction", at)
    given = row.get("input")
    text = "" if given is None else _text(row, "input", at)
    return instruction + ("\n" if text else ""), text, "\n"


def _conversation(
    messages: object, chat: Chat | None, at: str, target_needed: bool
) -> tuple[str, str, str, str]:
    expected = "a list of {role, content}, ending with the assistant's answer"
    if not isinstance(messages, list) or not messages:
        raise BadInput(f"{at}: field `messages`", expected)
    turns: list[dict[str, str]] = []
    for number, turn in enumerate(messages, start=1):
        role = turn.get("role") if isinstance(turn, Mapping) else None
        content = turn.get("content") if isinstance(turn, Mapping) else None
        if not isinstance(role, str) or not isinstance(content, str):
            raise BadInput(f"{at}: message {number} of `messages`", "a role and a content as text")
        turns.append({"role": role, "content": content})
    answered = turns[-1]["role"] == "assistant"
    if not answered and target_needed:
        raise BadInput(f"{at}: `messages` ends with role {turns[-1]['role']!r}", expected)
    asked = turns[:-1] if answered else turns
    if not asked:
        raise BadInput(f"{at}: `messages` holds an answer alone", expected)
    if chat is None:
        raise BadInput(
            f"{at} has `messages`",
            "a base with a chat template",
            "Use an instruct model, or rows with prompt and completion.",
        )
    try:
        asking = chat(asked)
    except BadInput as error:
        raise BadInput(f"{at}: {error.what}", error.expected, error.remedy) from None
    return asking, "", "", turns[-1]["content"] if answered else ""


def _fill(template: str, row: Mapping[str, object], at: str) -> tuple[str, str, str]:
    """The template filled in, split around its first `{input}`."""
    template_fields(template)
    before: list[str] = []
    after: list[str] = []
    parts, text, last = before, "", 0
    for match in _SLOT.finditer(template):
        parts.append(template[last : match.start()])
        last = match.end()
        if match[1] is None:
            parts.append(match[0][0])
        elif match[1] == "input" and parts is before:
            parts, text = after, _value(row, "input", at)
        else:
            parts.append(_value(row, match[1], at))
    parts.append(template[last:])
    return "".join(before), text, "".join(after)


def _filled_target(
    template: str | None, row: Mapping[str, object], at: str, target_needed: bool
) -> str:
    if template is None:
        raise BadInput(f"{at}: a prompt template without one for the completion", "both")
    if not target_needed and any(_look_up(row, name) is None for name in template_fields(template)):
        return ""
    return "".join(_fill(template, row, at))


def _look_up(row: Mapping[str, object], name: str) -> object:
    """Field `name` of the row, or, through dots, of the mappings within it."""
    if name in row:
        return row[name]
    value: object = row
    for part in name.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


def _value(row: Mapping[str, object], name: str, at: str) -> str:
    value = _look_up(row, name)
    if isinstance(value, str | int | float):
        return str(value)
    if value is None:
        raise BadInput(
            f"{at}: field `{name}` is missing", f"`{name}` in every row", _fields_there(row)
        )
    raise BadInput(f"{at}: field `{name}` is a {type(value).__name__}", "text or a number")


def _target(row: Mapping[str, object], names: tuple[str, ...], at: str, target_needed: bool) -> str:
    for name in names:
        if row.get(name) is not None:
            return _text(row, name, at)
    if not target_needed:
        return ""
    either = " or ".join(f"`{name}`" for name in names)
    raise BadInput(
        f"{at}: field {either} is missing",
        f"{either} in every row",
        _fields_there(row),
    )


def _text(row: Mapping[str, object], name: str, at: str) -> str:
    value = row[name]
    if not isinstance(value, str):
        raise BadInput(
            f"{at}: field `{name}` is {shown(value)}",
            "text",
            f"Write it in quotes, or say how in a template such as `{{{name}}}`.",
        )
    return value


def _fields_there(row: Mapping[str, object]) -> str:
    return f"The row has {', '.join(str(name) for name in row)}."


def _choices(row: Mapping[str, object], at: str) -> tuple[str, ...] | None:
    given = row.get("choices")
    if given is None:
        return None
    if not isinstance(given, list) or not all(isinstance(choice, str) for choice in given):
        raise BadInput(f"{at}: field `choices`", "a list of texts")
    if len(given) < 2:
        raise BadInput(f"{at}: field `choices` is {given!r}", "two or more texts")
    return tuple(given)


def _label(
    row: Mapping[str, object], choices: tuple[str, ...] | None, target: str, at: str
) -> int | None:
    if choices is None:
        return None  # a label without choices has no set to be checked against
    given = row.get("label")
    if given is None:
        return choices.index(target) if target in choices else None
    if isinstance(given, bool) or not isinstance(given, int) or not 0 <= given < len(choices):
        raise BadInput(
            f"{at}: label {shown(given)} is outside the set",
            f"an index from 0 to {len(choices) - 1}",
            f"The choices are {', '.join(choices)}. Correct the row's `label` (counted from 0) or its"
            " `choices`.",
        )
    if target in choices and choices[given] != target:
        raise BadInput(
            f"{at}: label {given} is {choices[given]!r} but the target is {target!r}",
            "both to say the same",
            "Correct one of them; `label` counts from 0.",
        )
    return given


def _meta(row: Mapping[str, object], at: str) -> dict[str, object]:
    given = row.get("meta")
    if given is not None and not isinstance(given, Mapping):
        raise BadInput(f"{at}: field `meta` is {given!r}", "a mapping")
    rest = {name: value for name, value in row.items() if name not in _OWN_FIELDS}
    return {**rest, **(given or {})}
