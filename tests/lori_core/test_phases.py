"""Calibrate, mask, train: what each phase sees, may write, and leaves."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from torch import Tensor

from lori_core.adapters import read_a, read_b, write_b
from lori_core.config import AdapterConfig, Protection, Read
from lori_core.errors import BadInput, CapacityError
from lori_core.heads import head_state
from lori_core.masks import union
from lori_core.phase import Progress, Watch
from lori_core.phases import (
    NOTHING_LEARNED,
    CalibratedB,
    Ground,
    Lesson,
    Trained,
    calibrate,
    choose_masks,
    load_calibrated,
    save_calibrated,
    task_seed,
    train_lora,
    train_sparse,
)
from lori_core.seeded import seeded_a
from lori_core.shared_adapter import SharedAdapter, content_digest
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
)

SPARSITY = 0.75


def learn(
    model: PeftModel, lesson: Lesson, ground: Ground, earlier: SharedAdapter, output: Path
) -> tuple[CalibratedB, Trained]:
    folder = output / lesson.task
    found = calibrate(model, lesson, ground, earlier=earlier, output=folder / "calibrate")
    masks = choose_masks(found, ground, sparsity=SPARSITY, earlier=earlier)
    return found, train_sparse(
        model, masks, lesson, ground, earlier=earlier, output=folder / "train"
    )


def adapter(protection: Protection, read: Read) -> AdapterConfig:
    return replace(ADAPTER, protection=protection, read=read)


def two_tasks(ground: Ground, output: Path) -> tuple[PeftModel, Trained, CalibratedB, Trained]:
    model = llama_with_adapter(ground.adapter)
    _, first = learn(model, causal_lesson("sums", 0), ground, NOTHING_LEARNED, output)
    earlier = SharedAdapter((first.adapter,))
    found, second = learn(model, causal_lesson("words", 1), ground, earlier, output)
    return model, first, found, second


def test_calibration_notes_the_change_and_puts_b_back(tmp_path: Path) -> None:
    model, ground = llama_with_adapter(), causal_ground()
    found = calibrate(model, causal_lesson(), ground, output=tmp_path)
    assert all(not b.any() for b in read_b(model).values())
    assert all(bool(change.any()) for change in found.change.values())
    assert found.log.steps == 6


def test_a_first_task_owns_exactly_its_budget_and_begins_at_zero(tmp_path: Path) -> None:
    model, ground = llama_with_adapter(), causal_ground()
    _, trained = learn(model, causal_lesson(), ground, NOTHING_LEARNED, tmp_path)
    total = sum(b.numel() for b in read_b(model).values())
    owned = sum(int(mask.sum()) for mask in trained.adapter.masks.values())
    assert owned == round((1 - SPARSITY) * total)
    for name, b in read_b(model).items():
        assert not b[~trained.adapter.masks[name]].any()
        assert torch.equal(b[trained.adapter.masks[name]], trained.adapter.values[name])


@pytest.mark.parametrize("read", ["isolated", "inherited", "cumulative"])
def test_disjoint_tasks_never_touch_each_others_entries(tmp_path: Path, read: Read) -> None:
    ground = causal_ground(adapter("disjoint", read))
    model, first, found, second = two_tasks(ground, tmp_path)
    after = read_b(model)
    for name, mask in first.adapter.masks.items():
        assert not (mask & second.adapter.masks[name]).any()
        assert not found.change[name][mask].any()  # exactly 0 where protected
        shown = torch.zeros_like(first.adapter.values[name])
        if read != "isolated":
            shown = first.adapter.values[name]
        assert torch.equal(after[name][mask], shown)
    shared = SharedAdapter((first.adapter, second.adapter))
    assert same(shared.effective(1, 2, "isolated").b, shared.effective(1, 1, "isolated").b)


def test_the_next_task_learns_on_top_of_what_its_read_mode_shows(tmp_path: Path) -> None:
    logs = {}
    for read in ("isolated", "inherited", "cumulative"):
        ground = causal_ground(adapter("disjoint", read))
        _, _, found, _ = two_tasks(ground, tmp_path / read)
        logs[read] = found.log.losses
    assert logs["inherited"] == logs["cumulative"]  # nothing later exists yet
    assert logs["isolated"][0] != logs["inherited"][0]
    alone = calibrate(
        llama_with_adapter(), causal_lesson("words", 1), causal_ground(), output=tmp_path / "alone"
    )
    assert alone.log.losses[0] == logs["isolated"][0]  # it begins as if nothing were there


def test_overlap_calibrates_from_zero_and_trains_on_what_stands(tmp_path: Path) -> None:
    ground = causal_ground(adapter("overlap", "cumulative"))
    model, first, found, second = two_tasks(ground, tmp_path)
    alone = calibrate(
        llama_with_adapter(), causal_lesson("words", 1), ground, output=tmp_path / "alone"
    )
    assert same(found.change, alone.change)
    kept = {n: m & ~second.adapter.masks[n] for n, m in first.adapter.masks.items()}
    before = SharedAdapter((first.adapter,)).b_at(1)
    after = read_b(model)
    assert sum(int((first.adapter.masks[n] & second.adapter.masks[n]).sum()) for n in kept) > 0
    assert all(torch.equal(after[n][mask], before[n][mask]) for n, mask in kept.items())
    assert same(SharedAdapter((first.adapter, second.adapter)).b_at(2), after)


def test_separate_tasks_have_an_a_of_their_own_and_all_of_b(tmp_path: Path) -> None:
    ground = causal_ground(adapter("separate", "isolated"))
    model, first, found, second = two_tasks(ground, tmp_path)
    assert len({ADAPTER.seed, first.adapter.seed, second.adapter.seed}) == 3
    for name, a in read_a(model).items():
        assert torch.equal(a, seeded_a(second.adapter.seed, name, 4, a.shape[1]))
    alone = calibrate(
        llama_with_adapter(), causal_lesson("words", 1), ground, output=tmp_path / "alone"
    )
    assert same(found.change, alone.change)
    assert second.adapter.parents == ()


def test_plain_lora_trains_and_files_both_a_and_b(tmp_path: Path) -> None:
    config = replace(adapter("separate", "isolated"), method="lora")
    model, ground = llama_with_adapter(config), causal_ground(config)
    trained = train_lora(model, causal_lesson(), ground, output=tmp_path).adapter
    assert trained.a is not None
    assert same(trained.a_matrices(), read_a(model))
    assert all(bool(mask.all()) for mask in trained.masks.values())
    assert same(SharedAdapter((trained,)).effective(1, 1, "isolated").b, read_b(model))
    start = seeded_a(task_seed(config, "sums"), next(iter(trained.a)), 4, 16)
    assert not torch.equal(next(iter(trained.a.values())), start)


@pytest.mark.parametrize("method", ["lori", "lora"])
def test_a_bf16_base_stores_bf16_and_the_next_task_stands_on_that(
    tmp_path: Path, method: str
) -> None:
    config = adapter("separate", "isolated") if method == "lora" else ADAPTER
    config = replace(config, method="lora" if method == "lora" else "lori")
    model = llama_with_adapter(config, dtype=torch.bfloat16)
    ground, lesson = causal_ground(config), causal_lesson()
    if method == "lora":
        trained = train_lora(model, lesson, ground, output=tmp_path).adapter
    else:
        _, learned = learn(model, lesson, ground, NOTHING_LEARNED, tmp_path)
        trained = learned.adapter
    for name, b in read_b(model).items():
        assert trained.values[name].dtype == torch.bfloat16
        assert torch.equal(trained.values[name], b[trained.masks[name]].bfloat16())
    assert all(a.dtype == torch.bfloat16 for a in trained.a_matrices().values())
    if method == "lori":
        earlier = SharedAdapter((trained,))
        calibrate(model, causal_lesson("words"), ground, earlier=earlier, output=tmp_path / "next")
        stored = {n: b.float() for n, b in earlier.b_at(1).items()}
        assert same({n: b.float() for n, b in read_b(model).items()}, stored)


def test_plain_lora_needs_a_model_attached_for_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="method: lora"):
        train_lora(llama_with_adapter(), causal_lesson(), causal_ground(), output=tmp_path)


def test_the_same_sequence_twice_has_the_same_digests(tmp_path: Path) -> None:
    digests = []
    for run in "ab":
        torch.manual_seed(ord(run))
        _, first, _, second = two_tasks(causal_ground(), tmp_path / run)
        digests.append((content_digest(first.adapter), content_digest(second.adapter)))
    assert digests[0] == digests[1]


def test_an_encoders_head_restarts_for_each_phase_and_goes_with_its_task(tmp_path: Path) -> None:
    model, ground = bert_with_adapter(), encoder_ground()
    lesson = encoder_lesson()
    found = calibrate(model, lesson, ground, output=tmp_path / "c")
    left_by_calibration = head_state(model)
    masks = choose_masks(found, ground, sparsity=SPARSITY)
    trained = train_sparse(model, masks, lesson, ground, output=tmp_path / "t").adapter
    assert trained.head is not None
    assert same(trained.head, head_state(model))
    assert trained.labels == ("no", "yes", "maybe")
    assert not any(torch.equal(v, left_by_calibration[n]) for n, v in trained.head.items())
    fresh = bert_with_adapter()  # whose head never saw the calibration
    again = train_sparse(fresh, masks, lesson, ground, output=tmp_path / "again").adapter
    assert content_digest(again) == content_digest(trained)
    assert not any(p.requires_grad for n, p in model.named_parameters() if "lora_B" not in n)


def test_encoder_tasks_may_have_different_classes(tmp_path: Path) -> None:
    model, ground = bert_with_adapter(), encoder_ground()
    _, first = learn(model, encoder_lesson("moods", 0), ground, NOTHING_LEARNED, tmp_path)
    earlier = SharedAdapter((first.adapter,))
    _, second = learn(model, encoder_lesson("doubts", 1, 2), ground, earlier, tmp_path)
    assert first.adapter.head is not None
    assert second.adapter.head is not None
    assert first.adapter.head["classifier.weight"].shape == (3, 16)
    assert second.adapter.head["classifier.weight"].shape == (2, 16)


def test_both_phases_resume_to_the_bit(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def stop(progress: Progress) -> None:
        if progress.step == 3:
            raise Killed

    model, ground = llama_with_adapter(), causal_ground()
    lesson = replace(causal_lesson(), training=replace(TRAINING, save_steps=2))
    found, straight = learn(model, lesson, ground, NOTHING_LEARNED, tmp_path / "straight")
    masks = straight.adapter.masks
    watch, broken = Watch(on_progress=stop), tmp_path / "broken"
    with pytest.raises(Killed):
        calibrate(model, lesson, ground, output=broken / "c", watch=watch)
    model, seen = llama_with_adapter(), list[int]()
    note = Watch(on_progress=lambda progress: seen.append(progress.step))
    resumed = calibrate(model, lesson, ground, output=broken / "c", watch=note)
    assert same(resumed.change, found.change)
    with pytest.raises(Killed):
        train_sparse(model, masks, lesson, ground, output=broken / "t", watch=watch)
    model = llama_with_adapter()
    again = train_sparse(model, masks, lesson, ground, output=broken / "t", watch=note)
    assert seen == [3, 4, 5, 6, 3, 4, 5, 6]
    assert content_digest(again.adapter) == content_digest(straight.adapter)
    assert again.log == straight.log


def test_a_checkpoint_under_another_mask_is_not_loaded(tmp_path: Path) -> None:
    model, lesson, ground = llama_with_adapter(), causal_lesson(), causal_ground()
    masks = {n: torch.rand(b.shape) < 0.5 for n, b in read_b(model).items()}
    turned = {n: m.flip(0) for n, m in masks.items()}  # as many entries, elsewhere
    train_sparse(model, masks, lesson, ground, output=tmp_path / "a")
    fresh = train_sparse(model, turned, lesson, ground, output=tmp_path / "b")
    assert train_sparse(model, turned, lesson, ground, output=tmp_path / "a").log == fresh.log


def test_what_was_in_the_model_before_does_not_matter(tmp_path: Path) -> None:
    model, other = llama_with_adapter(), llama_with_adapter(replace(ADAPTER, seed=9))
    write_b(other, {n: torch.ones_like(b) for n, b in read_b(other).items()})
    logs = [
        calibrate(m, causal_lesson(), causal_ground(), output=tmp_path / name).log
        for name, m in (("a", model), ("b", other))
    ]
    assert logs[0] == logs[1]


def test_a_task_that_does_not_fit_is_refused_with_numbers(tmp_path: Path) -> None:
    model, ground = llama_with_adapter(), causal_ground()
    lesson = causal_lesson()
    whole = {n: torch.ones_like(b, dtype=torch.bool) for n, b in read_b(model).items()}
    first = train_sparse(model, whole, lesson, ground, output=tmp_path / "all")
    earlier = SharedAdapter((first.adapter,))
    found = CalibratedB({n: torch.ones_like(b) for n, b in read_b(model).items()}, first.log)
    with pytest.raises(CapacityError, match="0 are free"):
        choose_masks(found, ground, sparsity=SPARSITY, earlier=earlier)


def test_a_calibration_is_stored_and_read_again_exactly(tmp_path: Path) -> None:
    found = calibrate(llama_with_adapter(), causal_lesson(), causal_ground(), output=tmp_path / "c")
    digest = save_calibrated(found, tmp_path / "found.safetensors")
    again = load_calibrated(tmp_path / "found.safetensors")
    assert again.log == found.log
    assert list(again.change) == list(found.change) != sorted(found.change)
    assert same(again.change, dict(found.change))
    assert save_calibrated(again, tmp_path / "again.safetensors") == digest
    (tmp_path / "found.safetensors").write_bytes(b"\0" * 20)
    with pytest.raises(BadInput, match="calibration"):
        load_calibrated(tmp_path / "found.safetensors")


def test_the_union_of_all_masks_is_what_the_next_task_may_not_have(tmp_path: Path) -> None:
    _, first, _, second = two_tasks(causal_ground(), tmp_path)
    shared = SharedAdapter((first.adapter, second.adapter))
    both: dict[str, Tensor] = union([first.adapter.masks, second.adapter.masks])
    assert same(shared.protected(2), both)
