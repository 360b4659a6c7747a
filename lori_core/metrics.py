"""How an answer is scored: each metric gives each row a number from 0 to 1, more is better.

Every metric has a version, which changes whenever it would score some answer differently: a score
is known by metric and version. One's own metric is a function named as `package.module:function`;
its version is the digest of its file.
"""

import importlib
import math
import os
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Literal

from lori_core.candidates import candidates
from lori_core.digests import sha256_file
from lori_core.errors import BadInput, RowRefused
from lori_core.numbers import final_number
from lori_core.prompts import Example
from lori_core.refusals import VERSION as REFUSALS_VERSION
from lori_core.refusals import is_answer, is_refusal
from lori_core.sandbox import run_tests

Asks = Literal["generate", "choose", "sample"]
"""How a model is asked: for text, for one of the row's candidates, or for `k` texts."""

Answers = Sequence[tuple[str, ...]]
"""What the model gave for each row: one text, or `k` of them."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One row's answer and its score."""

    id: str
    prediction: str
    score: float
    """From 0 to 1."""
    parts: Mapping[str, object] = field(default_factory=dict)
    """Plain data that explains the score: outcomes of tests, further samples."""


@dataclass(frozen=True, slots=True)
class Metric:
    """A way to score answers."""

    name: str
    version: str
    asks: Asks
    score: Callable[[Sequence[Example], Answers], list[Scored]]
    """Rows and what the model answered -> one score each, in order."""
    check: Callable[[Example], object] | None = None
    """Raises BadInput for a row that it cannot score, before any model is asked."""
    direction: Literal["higher"] = "higher"
    """Which way is better."""


def pass_at_k(n: int, c: int, k: int) -> float:
    """The chance that one of k samples passes, when c of n did: 1 - C(n-c, k) / C(n, k).

    Unbiased, unlike 1 - (1 - c/n)^k.

    Raises:
        BadInput: unless 0 <= c <= n and 1 <= k <= n.

    Source: Chen et al., "Evaluating Large Language Models Trained on Code", 2021, arXiv:2107.03374.

    >>> pass_at_k(4, 1, 2)
    0.5
    """
    if not (0 <= c <= n and 1 <= k <= n):
        raise BadInput(f"pass@{k} of {c} in {n} samples", "0 <= c <= n and 1 <= k <= n")
    return 1.0 - math.comb(n - c, k) / math.comb(n, k)


def code_of(output: str) -> str:
    """The Python in an answer: its first fenced block, or all of it.

    Space before the first line is dropped: no module begins with an indented line.

    >>> code_of("Sure!\\n```python\\nx = 1\\n```\\nDone.")
    'x = 1\\n'
    """
    fenced = re.search(r"```[^\n`]*\n(.*?)(?:```|\Z)", output, flags=re.DOTALL)
    return (fenced[1] if fenced else output).lstrip()


def program(example: Example, output: str) -> tuple[str, list[str]]:
    """The module an answer makes, and the statements that test it.

    The row's `tests` are statements; its `setup` runs after the code and before them; with an
    `entry_point` they define `check`, which is called on it, and the answer may go on where the
    prompt ends, inside the function that it began (the form of HumanEval).

    Raises:
        BadInput: the row has no tests, or they are no list of texts.
    """
    tests = example.meta.get("tests")
    if not isinstance(tests, list) or not tests or not all(isinstance(test, str) for test in tests):
        expected = "a list of Python statements in every row that `pass_at_k` scores"
        raise RowRefused(
            f"row {example.id!r}: `tests` is {tests!r}",
            expected,
            "",
            f"`tests`: expected {expected}",
        )
    setup = example.meta.get("setup")
    statements = [setup] if isinstance(setup, str) and setup.strip() else []
    statements += tests
    entry = example.meta.get("entry_point")
    code = code_of(output)
    if isinstance(entry, str):
        statements.append(f"check({entry})")
        if not re.search(rf"^(?:async\s+)?def\s+{re.escape(entry)}\b", code, flags=re.MULTILINE):
            code = example.prompt.rstrip() + "\n" + output.strip("\n") + "\n"
    return code, statements


def own_metric(name: str, folder: Path | None = None) -> Metric:
    """The metric a user wrote: a function of prompts, outputs and rows.

    It is called as `function(prompts, outputs, rows)`: what the model read, what it wrote, and each
    row as a dict of its fields (`id`, `completion`, `choices`, `label`, and those of `meta`), all in
    the order of the rows, and returns one number from 0 to 1 for each.

    Args:
        name: `package.module:function`.
        folder: searched for the module besides what Python searches (that of the sequence file).

    Raises:
        BadInput: no such module or function.
    """
    module_name, _, function_name = name.partition(":")
    if not re.fullmatch(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*", name):
        raise BadInput(
            f"metric {name!r}", f"one of {', '.join(METRICS)}, or package.module:function"
        )
    if folder is not None:
        sys.path.insert(0, str(folder))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise BadInput(
            f"metric {name!r}: {error}",
            "a module that can be imported",
            "Install it, or put it beside the sequence file.",
        ) from error
    finally:
        if folder is not None:
            sys.path.remove(str(folder))
    function = vars(module).get(function_name)
    if not callable(function):
        raise BadInput(
            f"metric {name!r}: {module_name} has no function {function_name}", "one that is there"
        )

    def score(examples: Sequence[Example], answers: Answers) -> list[Scored]:
        outputs = [answer[0] for answer in answers]
        try:
            numbers = function(
                [e.prompt for e in examples], outputs, [_as_row(e) for e in examples]
            )
        except Exception as error:  # whatever the user's own code raises is told in a line
            raise BadInput(
                f"metric {name!r} raised {type(error).__name__}: {error}",
                "a function that scores every row",
                "Mend it and run again; what is learned is kept.",
            ) from error
        if not isinstance(numbers, Sequence) or len(numbers) != len(examples):
            length = f" of {len(numbers)}" if isinstance(numbers, Sequence) else ""
            raise BadInput(
                f"metric {name!r} returned {type(numbers).__name__}{length} for {len(examples)} rows",
                "a list of one number for each",
                "Mend it and run again; what is learned is kept.",
            )
        for example, number in zip(examples, numbers, strict=True):
            if not isinstance(number, int | float) or not 0 <= number <= 1:
                raise BadInput(
                    f"metric {name!r}, row {example.id!r}: {number!r}", "a number from 0 to 1"
                )
        return [
            Scored(example.id, output, float(number))
            for example, output, number in zip(examples, outputs, numbers, strict=True)
        ]

    source = vars(module).get("__file__")
    version = sha256_file(Path(source))[:16] if isinstance(source, str) else "built in"
    return Metric(name, version, "generate", score)


def metric_named(name: str, folder: Path | None = None) -> Metric:
    """One of METRICS, or one's own; raises BadInput as `own_metric` does."""
    return METRICS[name] if name in METRICS else own_metric(name, folder)


def _per_row(score: Callable[[Example, str], float]) -> Callable[..., list[Scored]]:
    """A metric that looks at one row and one answer at a time."""

    def score_rows(examples: Sequence[Example], answers: Answers) -> list[Scored]:
        return [
            Scored(example.id, answer[0], score(example, answer[0]))
            for example, answer in zip(examples, answers, strict=True)
        ]

    return score_rows


def _exact_match(example: Example, output: str) -> float:
    """Equal, but for space at the ends and how much of it is between words."""
    return float(output.split() == example.completion.split())


def _wanted_number(example: Example) -> Decimal:
    wanted = final_number(example.completion)
    if wanted is None:
        expected = "a number in every row that `exact_number` scores"
        raise RowRefused(
            f"row {example.id!r}: target {example.completion[-40:]!r} has no number",
            expected,
            "",
            f"target: expected {expected}",
        )
    return wanted


def _exact_number(example: Example, output: str) -> float:
    return float(final_number(output) == _wanted_number(example))


def _program_without_answer(example: Example) -> object:
    return program(example, "")


def _accuracy(example: Example, chosen: str) -> float:
    allowed = candidates(example)
    return float(chosen == allowed.texts[allowed.right])


def _refused(example: Example, output: str) -> float:
    return float(is_refusal(output))


def _answered(example: Example, output: str) -> float:
    return float(is_answer(output))


def _pass_at_k(examples: Sequence[Example], answers: Answers) -> list[Scored]:
    """Runs every sample in its sandbox, as many at a time as there are cores."""
    jobs = [
        program(example, output)
        for example, outputs in zip(examples, answers, strict=True)
        for output in outputs
    ]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        verdicts = iter(list(pool.map(lambda job: run_tests(*job), jobs)))
    scored = []
    for example, outputs in zip(examples, answers, strict=True):
        found = [next(verdicts) for _ in outputs]
        passed = sum(verdict.passed for verdict in found)
        parts: dict[str, object] = {
            "outcomes": [verdict.outcome for verdict in found],
            "details": [verdict.detail for verdict in found],
        }
        if len(outputs) > 1:
            parts["samples"] = list(outputs)
        score = pass_at_k(len(outputs), passed, len(outputs))
        scored.append(Scored(example.id, outputs[0], score, parts))
    return scored


def _as_row(example: Example) -> dict[str, object]:
    return {
        **example.meta,
        "id": example.id,
        "prompt": example.prompt,
        "input": example.input,
        "completion": example.completion,
        "choices": None if example.choices is None else list(example.choices),
        "label": example.label,
    }


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "1", "choose", _per_row(_accuracy), candidates),
        Metric("exact_match", "1", "generate", _per_row(_exact_match)),
        Metric("exact_number", "1", "generate", _per_row(_exact_number), _wanted_number),
        Metric("refusal", REFUSALS_VERSION, "generate", _per_row(_refused)),
        Metric("pass_at_k", "1", "sample", _pass_at_k, _program_without_answer),
    )
}
"""The metrics there are. `refusal` scores harmful rows; see ANSWERED for the harmless ones."""

ANSWERED = Metric("answered", REFUSALS_VERSION, "generate", _per_row(_answered))
"""The other half of `refusal`: rows that should be answered."""
