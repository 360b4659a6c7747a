"""What LoRI is shown beside."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from lori_core.adapters import read_a, read_b
from lori_core.baselines import LoraState, SequentialLora, head_only, one_lora_per_task, show
from lori_core.heads import head_state
from lori_core.phase import Progress, Watch
from lori_core.phases import Ground, train_lora
from tests.lori_core.training_cases import (
    ADAPTER,
    TRAINING,
    bert_with_adapter,
    causal_ground,
    causal_lesson,
    encoder_ground,
    encoder_lesson,
    llama_with_adapter,
    same,
    tiny_bert,
)

LORA = replace(ADAPTER, method="lora", protection="separate", read="isolated")
IDS = torch.tensor([[3, 4, 5, 6]])


def alike(one: LoraState, other: LoraState) -> bool:
    return same(one.a, other.a) and same(one.b, other.b) and same(one.head or {}, other.head or {})


def sequence(ground: Ground, output: Path) -> SequentialLora:
    sequential = SequentialLora(llama_with_adapter(LORA), ground)
    for seed, task in enumerate(("sums", "words")):
        sequential.learn(causal_lesson(task, seed), output=output / task)
    return sequential


def test_a_sequential_lora_goes_on_from_where_it_stands_and_moves_everything(
    tmp_path: Path,
) -> None:
    model, ground = llama_with_adapter(LORA), causal_ground(LORA)
    begin_a = read_a(model)
    sequential = SequentialLora(model, ground)
    sequential.learn(causal_lesson("sums", 0), output=tmp_path / "a")
    first = sequential.state("sums")
    sequential.learn(causal_lesson("words", 1), output=tmp_path / "b")
    second = sequential.state("sums")
    assert not any(torch.equal(first.a[n], begin_a[n]) for n in begin_a)
    for before, after in ((first.a, second.a), (first.b, second.b)):
        assert not any(torch.equal(before[n], after[n]) for n in before)
    alone = one_lora_per_task(
        llama_with_adapter(LORA), [causal_lesson("words", 1)], ground, output=tmp_path / "alone"
    )
    assert not same(alone["words"].b, second.b)


def test_a_sequential_lora_is_the_same_every_time_and_left_alone_by_evaluation(
    tmp_path: Path,
) -> None:
    ground = causal_ground(LORA)
    whole = sequence(ground, tmp_path / "a").state("words")
    assert alike(sequence(ground, tmp_path / "b").state("words"), whole)
    model = llama_with_adapter(LORA)
    sequential = SequentialLora(model, ground)
    sequential.learn(causal_lesson("sums", 0), output=tmp_path / "c" / "sums")
    zero = {n: torch.zeros_like(b) for n, b in read_b(model).items()}
    show(model, LoraState(read_a(model), zero, None))  # another adapter is looked at in between
    sequential.learn(causal_lesson("words", 1), output=tmp_path / "c" / "words")
    assert alike(sequential.state("words"), whole)


def test_an_interrupted_baseline_resumes_to_the_bit(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    ground = causal_ground(LORA)
    lesson = replace(causal_lesson(), training=replace(TRAINING, save_steps=2))
    whole = one_lora_per_task(
        llama_with_adapter(LORA), [lesson], ground, output=tmp_path / "straight"
    )
    broken = SequentialLora(llama_with_adapter(LORA), ground)
    with pytest.raises(Killed):
        broken.learn(lesson, output=tmp_path / "s", watch=Watch(on_progress=stop))
    with pytest.raises(Killed):
        one_lora_per_task(
            llama_with_adapter(LORA),
            [lesson],
            ground,
            output=tmp_path / "o",
            watch=Watch(on_progress=stop),
        )
    seen: list[int] = []
    note = Watch(on_progress=lambda progress: seen.append(progress.step))
    again = one_lora_per_task(
        llama_with_adapter(LORA), [lesson], ground, output=tmp_path / "o", watch=note
    )
    assert seen == [3, 4, 5, 6]
    assert alike(again["sums"], whole["sums"])
    resumed = SequentialLora(llama_with_adapter(LORA), ground)
    resumed.learn(lesson, output=tmp_path / "s")
    straight = SequentialLora(llama_with_adapter(LORA), ground)
    straight.learn(lesson, output=tmp_path / "t")
    assert alike(resumed.state("sums"), straight.state("sums"))


def test_one_lora_per_task_does_not_depend_on_the_other_tasks(tmp_path: Path) -> None:
    ground = causal_ground(LORA)
    lessons = [causal_lesson("sums", 0), causal_lesson("words", 1)]
    both = one_lora_per_task(llama_with_adapter(LORA), lessons, ground, output=tmp_path / "a")
    turned = one_lora_per_task(
        llama_with_adapter(LORA), lessons[::-1], ground, output=tmp_path / "b"
    )
    assert all(alike(both[task], turned[task]) for task in ("sums", "words"))


def test_one_lora_per_task_is_what_the_method_lora_learns(tmp_path: Path) -> None:
    ground, lesson = causal_ground(LORA), causal_lesson()
    one = one_lora_per_task(llama_with_adapter(LORA), [lesson], ground, output=tmp_path / "a")
    filed = train_lora(llama_with_adapter(LORA), lesson, ground, output=tmp_path / "b").adapter
    assert filed.a is not None
    assert same(filed.a, one["sums"].a)
    assert same(filed.write_onto({n: torch.zeros_like(b) for n, b in one["sums"].b.items()}), one["sums"].b)  # fmt: skip


def test_an_encoders_sequence_keeps_a_head_per_task(tmp_path: Path) -> None:
    model, ground = bert_with_adapter(LORA), encoder_ground(LORA)
    sequential = SequentialLora(model, ground)
    sequential.learn(encoder_lesson("moods", 0), output=tmp_path / "a")
    first = sequential.state("moods")
    sequential.learn(encoder_lesson("doubts", 1, 2), output=tmp_path / "b")
    now = sequential.state("moods")
    assert first.head is not None
    assert now.head is not None
    assert same(now.head, first.head)
    assert not same(now.b, first.b)
    show(model, now)
    assert model(input_ids=IDS).logits.shape == (1, 3)
    show(model, sequential.state("doubts"))
    assert model(input_ids=IDS).logits.shape == (1, 2)


def test_a_head_alone_leaves_the_base_as_it_was(tmp_path: Path) -> None:
    ground = encoder_ground(LORA)
    lessons = [encoder_lesson("moods", 0), encoder_lesson("doubts", 1, 2)]
    bare = tiny_bert()
    before = {n: p.clone() for n, p in bare.bert.encoder.named_parameters()}
    heads = head_only(bare, lessons, ground, output=tmp_path / "bare")
    assert same(dict(bare.bert.encoder.named_parameters()), before)
    assert {task: head["classifier.weight"].shape[0] for task, head in heads.items()} == {
        "moods": 3,
        "doubts": 2,
    }
    assert same(heads["doubts"], head_state(bare))
    adapted = bert_with_adapter(LORA)
    again = head_only(adapted, lessons, ground, output=tmp_path / "adapted")
    assert all(same(again[task], heads[task]) for task in heads)
    assert not any(b.any() for b in read_b(adapted).values())


def test_a_causal_model_has_no_head_to_train(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="head"):
        head_only(llama_with_adapter(), [], causal_ground(), output=tmp_path)
