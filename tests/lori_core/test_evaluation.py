"""Cells of R on tiny models, against asking each row alone; and on real rows, where there are any."""

import gzip
import json
import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from lori_core.candidates import candidates
from lori_core.config import BaseConfig, TaskConfig, TrainingConfig
from lori_core.errors import BadInput
from lori_core.evaluation import CellResult, evaluate_causal, evaluate_encoder
from lori_core.generation import stop_ids
from lori_core.intervals import wilson
from lori_core.prompts import Example, render
from tests.lori_core.evaluation_cases import a_row, a_task, byte_tokenizer, tiny_bert, tiny_llama

TOKENIZER = byte_tokenizer()
MODEL = tiny_llama()
CHOICES = ("World", "Sports", "Tech")


def ids(text: str) -> list[int]:
    return list(TOKENIZER(text, add_special_tokens=False)["input_ids"])


def written(prompt: str, most: int = 8) -> str:
    """What the model writes after a prompt, one row, without a cache."""
    begun = [TOKENIZER.bos_token_id, *ids(prompt)]
    new: list[int] = []
    while len(new) < most:
        with torch.no_grad():
            best = int(MODEL(torch.tensor([begun + new]), use_cache=False).logits[0, -1].argmax())
        if best in stop_ids(MODEL, TOKENIZER):
            break
        new.append(best)
    return str(TOKENIZER.decode(new, skip_special_tokens=True))


def likeliest(model: nn.Module, row: Example) -> str:
    begun = [TOKENIZER.bos_token_id, *ids(row.prompt)]
    means = {}
    for text in candidates(row).texts:
        answer = [*ids(text), TOKENIZER.eos_token_id]
        with torch.no_grad():
            logs = model(torch.tensor([begun + answer])).logits[0].log_softmax(-1)
        told = [logs[len(begun) - 1 + j, token] for j, token in enumerate(answer)]
        means[text] = float(torch.stack(told).mean())
    return max(means, key=means.__getitem__)


def closed_rows(count: int) -> list[Example]:
    return [
        a_row(f"r{i}", f"Topic of {'x' * (i % 5)}{i}?\n", CHOICES[i % 3], choices=CHOICES)
        for i in range(count)
    ]


def test_accuracy_chooses_what_is_likeliest_end_token_included() -> None:
    rows = closed_rows(10)
    rows[3] = a_row("r3", "Which?\n", "answer2", choices=("ice", "steam"), label=1)
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("accuracy"), rows, batch_size=7)
    assert [s.prediction for s in cell.predictions] == [likeliest(MODEL, row) for row in rows]
    right = sum(likeliest(MODEL, row) == row.completion for row in rows)
    assert (cell.value, cell.n, cell.metric, cell.dropped) == (right / 10, 10, "accuracy", 0)
    assert (cell.low, cell.high) == (wilson(right, 10).low, wilson(right, 10).high)


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_written_answers_are_those_of_each_row_alone_in_row_order(batch_size: int) -> None:
    prompts = ["Hi", "Say something longer than that", "x", "Once upon a time"]
    rows = [a_row(p, p, written(p)) for p in prompts]
    rows[2] = replace(rows[2], completion="something else")
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("exact_match"), rows, batch_size=batch_size)
    assert [s.id for s in cell.predictions] == prompts
    assert [s.prediction for s in cell.predictions] == [written(p) for p in prompts]
    assert [s.score for s in cell.predictions] == [1, 1, 0, 1]
    assert cell.value == 0.75


def test_a_refusal_cell_is_the_mean_of_refusing_and_answering() -> None:
    harmful = [a_row(f"h{i}", f"bad {i}") for i in range(5)]
    harmless = [a_row(f"g{i}", f"good {i}") for i in range(3)]
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("refusal"), harmful, harmless)
    refused, answered = cell.parts["refused"], cell.parts["answered"]
    assert (refused.n, answered.n, cell.n) == (5, 3, 8)
    assert refused.value == 0  # an untrained model refuses nothing
    assert answered.value == sum(s.score for s in cell.predictions[5:]) / 3 > 0
    assert cell.value == pytest.approx((refused.value + answered.value) / 2)
    assert cell.low < cell.value < cell.high
    assert (refused.low, refused.high) == (wilson(0, 5).low, wilson(0, 5).high)
    assert [s.id for s in cell.predictions] == [r.id for r in harmful + harmless]
    alone = evaluate_causal(MODEL, TOKENIZER, a_task("refusal"), harmful)
    assert (alone.value, alone.n, dict(alone.parts)) == (0, 5, {})


def test_harmless_rows_are_only_asked_where_the_metric_is_refusal() -> None:
    cell = evaluate_causal(
        MODEL, TOKENIZER, a_task("exact_match"), [a_row("a", "Hi", "x")], [a_row("b", "Ho")]
    )
    assert cell.n == 1


def test_a_row_that_does_not_fit_counts_as_wrong_and_is_counted() -> None:
    rows = [
        a_row("short", "Hi", written("Hi")),
        a_row("long", "y" * 200, "x"),
        a_row("cut", "Read: ", written("Read: " + "z" * 57), text="z" * 300),
    ]
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("exact_match", max_length=64), rows)
    assert (cell.n, cell.dropped, cell.cut) == (3, 1, 1)
    assert [s.score for s in cell.predictions] == [1, 0, 1]
    assert cell.predictions[1].parts == {"dropped": True}
    rows = [a_row(r.id, r.prefix, "a", text=r.input, choices=("a", "bb")) for r in rows]
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("accuracy", max_length=64), rows)
    assert (cell.n, cell.dropped, cell.cut) == (3, 1, 1)


def test_all_rows_dropped_is_zero_and_no_error() -> None:
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("exact_match"), [a_row("a", "y" * 200, "x")])
    assert (cell.value, cell.n, cell.dropped) == (0, 1, 1)


def test_only_the_first_rows_of_each_kind_where_that_is_asked() -> None:
    rows = [a_row(f"r{i}", "Hi", "x") for i in range(5)]
    harmless = [a_row(f"g{i}", "Hi") for i in range(5)]
    cell = evaluate_causal(MODEL, TOKENIZER, a_task("refusal"), rows, harmless, eval_rows=2)
    assert [s.id for s in cell.predictions] == ["r0", "r1", "g0", "g1"]


def test_progress_reaches_its_total_whatever_the_metric() -> None:
    for metric, rows in (
        ("exact_match", [*closed_rows(6), a_row("long", "y" * 200, "x")]),
        ("accuracy", [*closed_rows(6), a_row("long", "y" * 200, "a", choices=("a", "b"))]),
    ):
        told: list[tuple[int, int]] = []
        evaluate_causal(
            MODEL,
            TOKENIZER,
            a_task(metric),
            rows,
            batch_size=3,
            on_progress=lambda done, total, told=told: told.append((done, total)),
        )
        assert told[-1] == (7, 7)
        assert [done for done, _ in told] == sorted({done for done, _ in told})


def test_code_runs_only_where_that_is_allowed_and_rows_are_checked_first() -> None:
    row = a_row("r", "Write v", meta={"tests": ["assert v"]})
    with pytest.raises(BadInput, match="allow_code_execution"):
        evaluate_causal(MODEL, TOKENIZER, a_task("pass_at_k"), [row])
    task = a_task("pass_at_k", allow_code_execution=True)
    with pytest.raises(BadInput, match="row 's': `tests`"):
        evaluate_causal(MODEL, TOKENIZER, task, [row, a_row("s", "no tests")])
    cell = evaluate_causal(MODEL, TOKENIZER, task, [row])
    assert (cell.value, cell.metric) == (0, "pass_at_k")
    assert cell.predictions[0].parts["outcomes"] != ["passed"]


def test_k_samples_are_drawn_and_the_same_for_the_same_seed() -> None:
    task = a_task("pass_at_k", k=3, allow_code_execution=True)
    rows = [a_row("r", "Write v", meta={"tests": ["assert v"]})]
    cells = [evaluate_causal(MODEL, TOKENIZER, task, rows, seed=s) for s in (0, 0, 1)]
    samples = [cell.predictions[0].parts["samples"] for cell in cells]
    assert len(samples[0]) == 3  # type: ignore[arg-type]
    assert samples[0] == samples[1] != samples[2]


def test_ones_own_metric_scores_a_cell(tmp_path: Path) -> None:
    (tmp_path / "own_metric_of_a_cell.py").write_text(
        "def half(prompts, outputs, rows):\n    return [0.5 for _ in outputs]\n"
    )
    cell = evaluate_causal(
        MODEL,
        TOKENIZER,
        a_task("own_metric_of_a_cell:half"),
        closed_rows(4),
        metric_folder=tmp_path,
    )
    assert (cell.value, cell.metric) == (0.5, "own_metric_of_a_cell:half")


def test_what_cannot_be_evaluated_is_refused() -> None:
    row = a_row("r", "Hi", "x")
    with pytest.raises(BadInput, match="no test rows"):
        evaluate_causal(MODEL, TOKENIZER, a_task("exact_match"), [])
    with pytest.raises(BadInput, match="no test rows"):
        evaluate_causal(MODEL, TOKENIZER, a_task("exact_match"), [row], eval_rows=0)
    with pytest.raises(BadInput, match="max_new_tokens is 128"):
        evaluate_causal(MODEL, TOKENIZER, a_task("exact_match", max_new_tokens=128), [row])
    with pytest.raises(BadInput, match="row 'r' has no `choices`"):
        evaluate_causal(MODEL, TOKENIZER, a_task("accuracy"), [row])


def encoder_rows() -> list[Example]:
    return [
        a_row(f"r{i}", "", CHOICES[i % 3], text=f"text {'abc' * i}", choices=CHOICES)
        for i in range(9)
    ]


@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_an_encoder_predicts_the_label_of_its_highest_logit(batch_size: int) -> None:
    model, rows = tiny_bert(3), encoder_rows()
    told: list[tuple[int, int]] = []
    cell = evaluate_encoder(
        model,
        TOKENIZER,
        a_task("accuracy", max_length=24),
        rows,
        labels=CHOICES,
        batch_size=batch_size,
        on_progress=lambda done, total: told.append((done, total)),
    )
    alone = []
    for row in rows:
        text = TOKENIZER(row.input, truncation=True, max_length=24)["input_ids"]
        with torch.no_grad():
            alone.append(CHOICES[int(model(torch.tensor([text])).logits.argmax())])
    assert [s.prediction for s in cell.predictions] == alone
    assert [s.id for s in cell.predictions] == [row.id for row in rows]
    assert cell.value == sum(a == r.completion for a, r in zip(alone, rows, strict=True)) / 9
    assert cell.cut == sum(len(row.input) > 24 for row in rows)
    assert told[-1] == (9, 9)


def test_an_encoder_is_not_asked_for_text() -> None:
    for metric in ("refusal", "pass_at_k", "exact_number"):
        with pytest.raises(BadInput, match="An encoder writes nothing"):
            evaluate_encoder(
                tiny_bert(3), TOKENIZER, a_task(metric), encoder_rows(), labels=CHOICES
            )


def test_an_encoders_labels_can_go_to_ones_own_metric(tmp_path: Path) -> None:
    (tmp_path / "own_metric_of_labels.py").write_text(
        "def same(prompts, outputs, rows):\n"
        "    return [float(o == r['completion']) for o, r in zip(outputs, rows)]\n"
    )
    model, rows = tiny_bert(3), encoder_rows()
    own, known = (
        evaluate_encoder(
            model, TOKENIZER, a_task(metric), rows, labels=CHOICES, metric_folder=tmp_path
        )
        for metric in ("own_metric_of_labels:same", "accuracy")
    )
    assert own.value == known.value


# Real rows, a few of each kind, on a real (and very small) model.


def real_rows(path: str, count: int) -> tuple[Example, ...]:
    folder = os.environ.get("LORI_DATA")
    if not folder:
        pytest.skip("LORI_DATA is not set")
    file = Path(folder) / path
    with gzip.open(file, "rt") if file.suffix == ".gz" else file.open() as lines:
        rows = [json.loads(line) for _, line in zip(range(count), lines, strict=False)]
    return tuple(render(r, prompt=None, completion=None, chat=None) for r in rows)


def real_cell(task: TaskConfig, path: str, harmless: str = "", count: int = 6) -> CellResult:
    from lori_core.base import load_causal, load_tokenizer

    rows = real_rows(path, count)
    models = os.environ.get("LORI_MODELS")
    if not models:
        pytest.skip("LORI_MODELS is not set")
    base = BaseConfig(path=str(Path(models) / "stories260K"))
    model, tokenizer = load_causal(base), load_tokenizer(base)
    assert stop_ids(model, tokenizer) == (1, 2)
    other = real_rows(harmless, count) if harmless else ()
    task = replace(task, training=TrainingConfig(max_length=448), max_new_tokens=48)
    return evaluate_causal(model, tokenizer, task, rows, other, batch_size=8)


@pytest.mark.data
def test_real_safety_rows_pass_through() -> None:
    cell = real_cell(a_task("refusal"), "safety/test.jsonl", "safety/overrefusal_test.jsonl")
    assert cell.parts["refused"].value == 0
    assert cell.parts["answered"].value == 1  # it tells a story, whatever is asked
    assert (cell.value, cell.n, cell.dropped) == (0.5, 12, 0)


@pytest.mark.data
def test_real_choice_rows_of_both_kinds_pass_through() -> None:
    cell = real_cell(a_task("accuracy"), "nlu/mix/test.jsonl.gz", count=24)
    assert cell.n == 24
    assert cell.dropped < 12
    asked = [s for s in cell.predictions if not s.parts]
    assert {s.prediction.rstrip("12345") for s in asked} >= {"answer", "solution"}
    assert all(s.score in (0, 1) for s in cell.predictions)


@pytest.mark.data
def test_real_maths_rows_pass_through() -> None:
    cell = real_cell(a_task("exact_number"), "math/gsm8k/test.jsonl")
    assert cell.n == 6
    assert all(s.prediction for s in cell.predictions if not s.parts)


@pytest.mark.data
def test_real_code_rows_pass_through_the_sandbox() -> None:
    task = a_task("pass_at_k", allow_code_execution=True)
    cell = real_cell(task, "code/mbpp/test.jsonl")
    asked = [s for s in cell.predictions if "outcomes" in s.parts]
    assert asked
    assert cell.value == 0


@pytest.mark.data
def test_real_targets_score_full_marks_against_themselves() -> None:
    from lori_core.metrics import ANSWERED, METRICS

    for metric, path, most in (
        (METRICS["exact_number"], "math/gsm8k/test.jsonl", 1000),
        (METRICS["exact_number"], "math/mawps/test.jsonl", 233),
        (METRICS["refusal"], "safety/test.jsonl", 735),
        (METRICS["accuracy"], "nlu/mix/test.jsonl.gz", 1000),
        (METRICS["accuracy"], "cl/yahoo/test.jsonl.gz", 1000),
        (METRICS["pass_at_k"], "code/mbpp/test.jsonl", 12),
        (METRICS["pass_at_k"], "code/humaneval/test.jsonl", 6),
    ):
        rows = real_rows(path, most)
        scored = metric.score(rows, [(row.completion,) for row in rows])
        wrong = [(s.id, s.parts) for s in scored if s.score != 1]
        assert not wrong, (path, wrong[:3])
    told = [row for row in real_rows("safety/overrefusal_test.jsonl", 347) if row.completion]
    answered = ANSWERED.score(told, [(row.completion,) for row in told])
    assert all(s.score == 1 for s in answered)
