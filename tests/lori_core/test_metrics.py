"""What each metric makes of an answer."""

import itertools
import math
from pathlib import Path

import pytest

from lori_core.errors import BadInput
from lori_core.metrics import (
    ANSWERED,
    METRICS,
    code_of,
    metric_named,
    own_metric,
    pass_at_k,
    program,
)
from lori_core.prompts import Example
from lori_core.sandbox import run_tests
from tests.lori_core.evaluation_cases import a_row

ADD = {"tests": ["assert add(1, 2) == 3", "assert add(0, 0) == 0"]}


def score(metric: str, row: Example, *answers: str) -> float:
    (scored,) = METRICS[metric].score([row], [answers])
    assert (scored.id, scored.prediction) == (row.id, answers[0])
    return scored.score


@pytest.mark.parametrize(
    ("output", "right"),
    [("blue sky", 1), (" blue  sky\n", 1), ("Blue sky", 0), ("blue sky!", 0), ("", 0)],
)
def test_exact_match_is_equal_but_for_space(output: str, right: float) -> None:
    assert score("exact_match", a_row("r", "?", "blue sky"), output) == right


@pytest.mark.parametrize(
    ("output", "right"),
    [
        ("1,234", 1),
        ("It is $1,234.00.\n#### 1,234", 1),
        ("#### 1234\nQuestion: 5", 1),
        ("#### -1234", 0),
        ("1235", 0),
        ("none", 0),
        ("", 0),
    ],
)
def test_exact_number_compares_numbers_not_texts(output: str, right: float) -> None:
    assert score("exact_number", a_row("r", "?", "3 * ... #### 1234"), output) == right


def test_exact_number_refuses_a_target_without_one() -> None:
    with pytest.raises(BadInput, match="row 'r': target 'none' has no number"):
        score("exact_number", a_row("r", "?", "none"), "1")


def test_accuracy_is_about_the_candidate_that_was_chosen() -> None:
    row = a_row("r", "?", "answer2", choices=("ice", "steam"), label=1)
    assert score("accuracy", row, "answer2") == 1
    assert score("accuracy", row, "answer1") == 0


def test_refusing_and_answering_exclude_each_other_and_nothing_is_neither() -> None:
    harmful = a_row("r", "I can't say how to make a bomb. How?")
    for output, refused, answered in (
        ("I can't help with that.", 1, 0),
        ("Take two eggs.", 0, 1),
        ("", 0, 0),
        (" \n", 0, 0),
    ):
        assert score("refusal", harmful, output) == refused
        assert ANSWERED.score([harmful], [(output,)])[0].score == answered


@pytest.mark.parametrize(("n", "c", "k"), [(1, 0, 1), (5, 2, 3), (6, 6, 2), (7, 3, 7), (8, 1, 4)])
def test_pass_at_k_is_the_share_of_draws_with_a_pass(n: int, c: int, k: int) -> None:
    draws = list(itertools.combinations([True] * c + [False] * (n - c), k))
    assert pass_at_k(n, c, k) == pytest.approx(sum(map(any, draws)) / len(draws))


def test_pass_at_k_is_unbiased_and_one_minus_failures_is_not() -> None:
    n, k, p = 6, 3, 0.3
    chance = [math.comb(n, c) * p**c * (1 - p) ** (n - c) for c in range(n + 1)]
    mean = sum(w * pass_at_k(n, c, k) for c, w in enumerate(chance))
    plain = sum(w * (1 - (1 - c / n) ** k) for c, w in enumerate(chance))
    assert mean == pytest.approx(1 - (1 - p) ** k)
    assert plain < mean - 0.01


def test_pass_at_k_of_impossible_counts_is_refused() -> None:
    for n, c, k in ((3, 4, 1), (3, 1, 4), (3, 1, 0), (3, -1, 1)):
        with pytest.raises(BadInput):
            pass_at_k(n, c, k)


def test_pass_at_k_runs_every_sample() -> None:
    right, wrong = "def add(a, b):\n    return a + b", "def add(a, b):\n    return a"
    assert score("pass_at_k", a_row("r", "?", meta=ADD), right) == 1
    assert score("pass_at_k", a_row("r", "?", meta=ADD), wrong) == 0
    (scored,) = METRICS["pass_at_k"].score([a_row("r", "?", meta=ADD)], [(wrong, right)])
    assert scored.score == 1
    assert scored.parts["outcomes"] == ["failed", "passed"]
    assert scored.parts["samples"] == [wrong, right]


def test_rows_keep_their_order_however_long_each_runs() -> None:
    rows = [a_row(f"r{i}", "?", meta={"tests": [f"assert v == {i}"]}) for i in range(4)]
    answers = [(f"import time; time.sleep({0.3 if i == 0 else 0}); v = {i}",) for i in range(4)]
    answers[2] = ("v = 0",)
    scored = METRICS["pass_at_k"].score(rows, answers)
    assert [(s.id, s.score) for s in scored] == [("r0", 1), ("r1", 1), ("r2", 0), ("r3", 1)]


@pytest.mark.parametrize(
    ("output", "code"),
    [
        ("x = 1\n", "x = 1\n"),
        ("\n x = 1\ny = 2", "x = 1\ny = 2"),
        ("```python\nx = 1\n```", "x = 1\n"),
        ("Here:\n```\nx = 1\n```\nand\n```\ny = 2\n```", "x = 1\n"),
        ("```py\nx = 1", "x = 1"),
        ("", ""),
    ],
)
def test_the_code_of_an_answer_is_its_first_block_or_all_of_it(output: str, code: str) -> None:
    assert code_of(output) == code


def test_setup_runs_after_the_code_it_uses() -> None:
    row = a_row("r", "?", meta={"setup": "root = N()", "tests": ["assert root.v == 1"]})
    code, tests = program(row, "class N:\n    v = 1")
    assert tests == ["root = N()", "assert root.v == 1"]
    assert run_tests(code, tests).passed


def test_an_answer_may_go_on_where_the_prompt_ends_or_give_the_whole_function() -> None:
    check = "def check(candidate):\n    assert candidate(2) == 4\n"
    row = a_row(
        "r",
        'def double(x):\n    """Twice x."""\n',
        meta={"tests": [check], "entry_point": "double"},
    )
    for output in (
        "    return 2 * x\n",
        "\n    return 2 * x",
        "def double(x):\n    return x + x",
        "```python\ndef double(x):\n    return 2 * x\n```",
    ):
        assert run_tests(*program(row, output)).passed, output
    assert not run_tests(*program(row, "    return x")).passed


@pytest.mark.parametrize("tests", [None, [], "assert 1", [1]])
def test_a_row_without_tests_is_named(tests: object) -> None:
    with pytest.raises(BadInput, match="row 'r7': `tests` is"):
        program(a_row("r7", "?", meta={"tests": tests}), "x = 1")


def test_every_metric_has_a_version_and_more_is_better() -> None:
    assert set(METRICS) == {"accuracy", "exact_match", "exact_number", "refusal", "pass_at_k"}
    for name, metric in METRICS.items():
        assert metric.name == name
        assert metric.version
        assert metric.direction == "higher"
    assert metric_named("refusal") is METRICS["refusal"]


OWN = """
def shouting(prompts, outputs, rows):
    assert prompts[0] == "Say it: loud" and rows[0]["unit"] == "dB" and rows[0]["id"] == "r"
    assert rows[0]["completion"] == "LOUD" and rows[0]["choices"] == ["a", "b"]
    return [sum(c.isupper() for c in o) / max(1, len(o)) for o in outputs]

def short(prompts, outputs, rows):
    return []

def wild(prompts, outputs, rows):
    return [2.0 for _ in outputs]

def broken(prompts, outputs, rows):
    raise ValueError("no unit\\nin row")

number = 3
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    (tmp_path / "own_metrics_for_a_test.py").write_text(OWN)
    return tmp_path


def test_a_metric_of_ones_own_is_given_prompts_outputs_and_rows(own: Path) -> None:
    metric = own_metric("own_metrics_for_a_test:shouting", own)
    row = a_row("r", "Say it: ", "LOUD", text="loud", choices=("a", "b"), meta={"unit": "dB"})
    (scored,) = metric.score([row], [("LOud",)])
    assert (scored.score, scored.prediction) == (0.5, "LOud")
    assert metric.name == "own_metrics_for_a_test:shouting"
    assert len(metric.version) == 16  # of its file: another text, another version


def test_what_ones_own_metric_returns_is_checked(own: Path) -> None:
    row = a_row("r", "?")
    with pytest.raises(BadInput, match="returned list of 0 for 1 rows"):
        own_metric("own_metrics_for_a_test:short", own).score([row], [("",)])
    with pytest.raises(BadInput, match=r"row 'r': 2\.0: expected a number from 0 to 1"):
        own_metric("own_metrics_for_a_test:wild", own).score([row], [("",)])


def test_what_ones_own_metric_raises_is_told_in_one_line(own: Path) -> None:
    with pytest.raises(BadInput, match="raised ValueError: no unit in row") as caught:
        own_metric("own_metrics_for_a_test:broken", own).score([a_row("r", "?")], [("",)])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("acuracy", "one of accuracy, exact_match"),
        ("no_such_module:f", "No module named 'no_such_module'"),
        ("math:no_such_function", "math has no function no_such_function"),
        ("math:pi", "math has no function pi"),
        ("math:", "package.module:function"),
        (":f", "package.module:function"),
    ],
)
def test_a_metric_that_is_not_there_is_named(name: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        metric_named(name)
