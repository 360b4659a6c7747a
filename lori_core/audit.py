"""What is wrong with a task's rows before anything is learned from them.

An error makes every figure measured on the rows worthless (or the task unlearnable) and is refused; a
warning is shown.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from lori_core.config import TaskConfig
from lori_core.errors import RowRefused
from lori_core.prompts import Example
from lori_core.task_rows import TaskRows

Severity = Literal["error", "warning"]

_SHOWN = 3


@dataclass(frozen=True, slots=True)
class Finding:
    """One kind of thing that is wrong, over all rows."""

    kind: str
    """duplicate, conflict, leak, dev-is-test, dev-overlap, contradiction, label, empty-target,
    empty-prompt or task-name."""
    what: str
    """The finding in words, with its count."""
    count: int
    """Rows it concerns."""
    examples: tuple[str, ...]
    """Ids of the first of them."""
    severity: Severity
    expected: str
    """What rows should be instead."""
    remedy: str
    """What to do about it."""


@dataclass(frozen=True, slots=True)
class Audit:
    """All findings about a task, errors first."""

    task: str
    findings: tuple[Finding, ...]

    @property
    def errors(self) -> tuple[Finding, ...]:
        """The findings that must be dealt with."""
        return tuple(finding for finding in self.findings if finding.severity == "error")

    def refuse(self) -> None:
        """Raise for the first error.

        Raises:
            RowRefused: there is one; names the task, the count and the first rows.
        """
        for finding in self.errors:
            found = f"task {self.task}: {finding.what}"
            raise RowRefused(
                f"{found} (first: {', '.join(finding.examples)})",
                finding.expected,
                finding.remedy,
                f"{found}: expected {finding.expected}. {finding.remedy}",
            )


def audit_task(rows: TaskRows, task: TaskConfig) -> Audit:
    """Look for everything that spoils a measurement or a lesson.

    Duplicates and conflicting answers within train; test rows that are asked twice (they count twice
    and tell nothing new); test rows that occur in train (an error unless
    `allow_leak`); validation rows that are the test rows; harmless rows that are also harmful ones;
    labels outside the set; empty targets where an answer is compared or learned; empty prompts; and
    the task's name in its own prompts, where the model could read off which task it is in.
    """
    found = (
        *_duplicates(rows.train),
        *_asked_again(rows),
        *_leaks(rows, task),
        *_development(rows),
        *_contradictions(rows),
        *_empty(rows, task),  # before labels: rows without a prompt have none that is meant
        *_labels(rows, task),
        *_named(rows, task),
    )
    return Audit(task.name, tuple(sorted(found, key=lambda finding: finding.severity)))


def normalise_prompt(prompt: str) -> str:
    """The prompt as it is compared: compatibility forms, case and white space made equal.

    Punctuation stays: `12 + 7` and `12 - 7` are two questions.

    >>> normalise_prompt("  What IS\\n2 ＋ 2? ")
    'what is 2 + 2?'
    """
    return " ".join(unicodedata.normalize("NFKC", prompt).casefold().split())


def _finding(
    kind: str,
    what: str,
    ids: Sequence[str],
    severity: Severity,
    expected: str,
    remedy: str,
) -> Iterable[Finding]:
    """The finding about `ids`, or none when there are none.

    In `what`, `{n}` is their number; `{rows}`, `{s}` (of a verb), `{have}` and `{are}` follow it.
    """
    if ids:
        one = len(ids) == 1
        said = what.format(
            n=len(ids),
            rows="row" if one else "rows",
            s="s" if one else "",
            have="has" if one else "have",
            are="is" if one else "are",
        )
        yield Finding(kind, said, len(ids), tuple(ids[:_SHOWN]), severity, expected, remedy)


def _counted(examples: Sequence[Example], role: str) -> str:
    return f"{len(examples)} {role} {'row' if len(examples) == 1 else 'rows'}"


def _prompts(examples: Sequence[Example]) -> dict[str, Example]:
    """Normalised prompt -> the first example with it; without prompt, the text that is learned."""
    first: dict[str, Example] = {}
    for example in examples:
        first.setdefault(_compared(example), example)
    return first


def _compared(example: Example) -> str:
    return normalise_prompt(example.prompt if example.prompt.strip() else example.completion)


def _duplicates(train: Sequence[Example]) -> Iterable[Finding]:
    first = _prompts(train)
    again = [
        (example, first[_compared(example)])
        for example in train
        if first[_compared(example)] is not example
    ]
    same = [example.id for example, known in again if example.completion == known.completion]
    other = [example.id for example, known in again if example.completion != known.completion]
    yield from _finding(
        "duplicate",
        "{n} training {rows} repeat{s} an earlier one",
        same,
        "warning",
        "each row once",
        "Remove them, or mean them as weight.",
    )
    yield from _finding(
        "conflict",
        "{n} training {rows} repeat{s} an earlier prompt with another completion",
        other,
        "warning",
        "one answer to a prompt",
        "Decide on one.",
    )


def _asked_again(rows: TaskRows) -> Iterable[Finding]:
    for role, examples in (("test", rows.test), ("over_refusal", rows.over_refusal)):
        first = _prompts(examples)
        yield from _finding(
            "duplicate",
            f"{{n}} of {_counted(examples, role)} repeat{{s}} an earlier prompt",
            [example.id for example in examples if first[_compared(example)] is not example],
            "warning",
            "each row once",
            "Remove them: the figures count them as further evidence.",
        )


def _leaks(rows: TaskRows, task: TaskConfig) -> Iterable[Finding]:
    trained = _prompts(rows.train)
    for role, examples in (("test", rows.test), ("over_refusal", rows.over_refusal)):
        yield from _finding(
            "leak",
            f"{{n}} of {_counted(examples, role)} occur{{s}} in train",
            [example.id for example in examples if _compared(example) in trained],
            "warning" if task.allow_leak else "error",
            "rows apart",
            "Remove them from train, or say `allow_leak: true`.",
        )


def _development(rows: TaskRows) -> Iterable[Finding]:
    tested, trained = _prompts(rows.test), _prompts(rows.train)
    in_test = [example.id for example in rows.validation if _compared(example) in tested]
    whole = len(in_test) == len(rows.validation)
    yield from _finding(
        "dev-is-test" if whole else "dev-overlap",
        f"{{n}} of {_counted(rows.validation, 'validation')} {{are}} in test",
        in_test,
        "error" if whole else "warning",
        "rows apart",
        "Take validation rows from train.",
    )
    yield from _finding(
        "dev-overlap",
        f"{{n}} of {_counted(rows.validation, 'validation')} occur{{s}} in train",
        [example.id for example in rows.validation if _compared(example) in trained],
        "warning",
        "rows apart",
        "Remove them from train.",
    )


def _contradictions(rows: TaskRows) -> Iterable[Finding]:
    harmful = _prompts(rows.test)
    yield from _finding(
        "contradiction",
        "{n} over_refusal {rows} {are} in test too",
        [example.id for example in rows.over_refusal if _compared(example) in harmful],
        "error",
        "a prompt to be refused or answered, not both",
        "Remove them from one side.",
    )


def _labels(rows: TaskRows, task: TaskConfig) -> Iterable[Finding]:
    if task.metric != "accuracy":
        return
    known = {example.completion for example in rows.train}
    outside = [
        example.id
        for example in (*rows.train, *rows.test, *rows.validation)
        if not _in_set(example, known)
    ]
    yield from _finding(
        "label",
        "{n} {rows} {have} a label outside the set",
        outside,
        "error",
        "a target that is one of the row's choices, numbers one of them (answer2), or occurs in train",
        "Correct the rows.",
    )


def _in_set(example: Example, known: set[str]) -> bool:
    if example.choices is None:
        return example.completion in known
    numbered = re.fullmatch(r"\D*([1-9][0-9]*)", example.completion)
    in_range = numbered is not None and int(numbered[1]) <= len(example.choices)
    return example.completion in example.choices or in_range


def _empty(rows: TaskRows, task: TaskConfig) -> Iterable[Finding]:
    answered = task.metric in ("accuracy", "exact_match", "exact_number")
    yield from _finding(
        "empty-target",
        "{n} training {rows} {have} an empty target",
        [example.id for example in rows.train if not example.completion.strip()],
        "error",
        "something to learn in every row",
        "Remove them: empty targets are for rows that must merely be answered.",
    )
    yield from _finding(
        "empty-target",
        "{n} test {rows} {have} an empty target",
        [
            example.id
            for example in (*rows.test, *rows.validation)
            if answered and not example.completion.strip() and not _complies(example)
        ],
        "error",
        f"an answer to compare with, for metric {task.metric}",
        "Remove them, or choose a metric that looks at the output alone.",
    )
    yield from _finding(
        "empty-prompt",
        "{n} test {rows} {have} an empty prompt",
        [
            example.id
            for example in (*rows.test, *rows.validation, *rows.over_refusal)
            if not example.prompt.strip()
        ],
        "error",
        "a prompt in every row that is asked",
        "Remove them, or give the task `prompt` and `completion` templates (as {text} and {label}): rows"
        " of plain `text` can be learned and not asked.",
    )


def _complies(example: Example) -> bool:
    return example.meta.get("expected") == "comply"


def _named(rows: TaskRows, task: TaskConfig) -> Iterable[Finding]:
    name = re.compile(rf"(?<!\w){re.escape(task.name)}(?!\w)", re.IGNORECASE)
    everyone = (*rows.train, *rows.test)
    naming = Counter(example.id for example in everyone if name.search(example.prompt))
    yield from _finding(
        "task-name",
        f"{{n}} of {len(everyone)} prompts say{{s}} {task.name!r}, the task's own name",
        list(naming.elements()),
        "warning",
        "prompts that do not name their task",
        "Fine if it is a common word; else the figures may be a label read off.",
    )
