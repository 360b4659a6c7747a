"""Estimates: few real steps, and multiplication."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lori_core.adapters import read_a, read_b
from lori_core.estimates import (
    Load,
    estimate,
    measure_answers,
    measure_steps,
    memory_bytes,
    steps_of,
)
from lori_core.heads import head_state
from lori_core.phase import Watch
from lori_core.phases import NOTHING_LEARNED, Lesson, calibrate
from tests.lori_core.training_cases import (
    ADAPTER,
    TRAINING,
    bert_with_adapter,
    causal_ground,
    causal_lesson,
    causal_rows,
    encoder_ground,
    encoder_lesson,
    llama_with_adapter,
    same,
)


def test_steps_are_counted_as_training_counts_them(tmp_path: Path) -> None:
    for epochs, batch in ((1.0, 4), (1.5, 4), (0.1, 7), (2.0, 14)):
        training = replace(TRAINING, num_train_epochs=epochs, train_batch_size=batch)
        lesson = replace(causal_lesson(), training=training)
        folder = tmp_path / f"{epochs}-{batch}"
        found = calibrate(llama_with_adapter(), lesson, causal_ground(), output=folder)
        assert steps_of(lesson.training, len(lesson.rows)) == found.log.steps


def test_measuring_puts_the_model_back() -> None:
    model = bert_with_adapter()
    with torch.no_grad():
        model.get_base_model().classifier.bias.fill_(0.5)
    a, b, head = read_a(model), read_b(model), head_state(model)
    measure_steps(model, encoder_lesson(classes=2), encoder_ground(), clock=time.perf_counter)
    assert same(read_a(model), a)
    assert same(read_b(model), b)
    assert same(head_state(model), head)


@pytest.mark.parametrize("method", ["lori", "lora"])
def test_seconds_are_steps_and_rows_times_what_they_cost(method: str) -> None:
    adapter = replace(ADAPTER, method="lora", protection="separate", read="isolated")
    adapter = adapter if method == "lora" else ADAPTER
    now = [0.0]

    def clock() -> float:  # every look at it takes a second
        now[0] += 1.0
        return now[0]

    lesson = replace(causal_lesson(), rows=causal_rows(100))
    load = Load(lesson, answer=lambda n: None, evaluated=200)
    found = estimate(
        llama_with_adapter(adapter), [load], causal_ground(adapter), clock=clock, answers=8
    )
    phases = 2 if method == "lori" else 1
    # 38 steps of one second; begin and end are looked at once each, 5 steps measured in between
    assert found.training == {"sums": phases * (1.0 + 38 * 1.0)}
    assert found.evaluation == {"sums": 200 / 8}
    assert found.seconds == sum(found.training.values()) + sum(found.evaluation.values())


def test_answers_are_timed_after_one_that_warms_up() -> None:
    asked: list[int] = []
    clock = iter([10.0, 14.0])
    assert measure_answers(asked.append, clock=lambda: next(clock), rows=8) == 0.5
    assert asked == [1, 8]


def test_an_estimate_is_within_a_factor_of_two_of_a_real_phase(tmp_path: Path) -> None:
    lesson = replace(causal_lesson(), rows=causal_rows(160))
    model, ground = llama_with_adapter(), causal_ground()
    clock = time.process_time  # ours alone: other processes do not count
    cost = measure_steps(model, lesson, ground, clock=clock, steps=8)
    begin = clock()
    calibrate(model, lesson, ground, earlier=NOTHING_LEARNED, output=tmp_path, watch=Watch())
    real = clock() - begin
    assert (
        real / 2 < cost.phase + cost.step * steps_of(lesson.training, len(lesson.rows)) < real * 2
    )


def test_memory_grows_with_what_it_is_made_of() -> None:
    model, ground = llama_with_adapter(), causal_ground()

    def needed(**changes: int) -> int:
        return memory_bytes(model, lesson(**changes), ground)

    def lesson(**changes: int) -> Lesson:
        return replace(causal_lesson(), training=replace(TRAINING, **changes))

    batch = needed(train_batch_size=4)
    assert needed(train_batch_size=40) > batch
    assert needed(train_batch_size=40, gradient_accumulation_steps=10) == batch
    weights = sum(p.numel() * 4 for p in model.parameters())
    optimiser = 16 * sum(b.numel() for b in read_b(model).values())
    assert batch > weights + optimiser
