"""Training against an independent plain torch loop, and against itself interrupted."""

import math
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from lori_core.adapters import read_a, read_b
from lori_core.encoding import IGNORED, EncodedRow
from lori_core.errors import BadInput
from lori_core.heads import head_parameters, head_state, pretrained_head, restart_head
from lori_core.order import row_order
from lori_core.packed import PackedB
from lori_core.phase import PhaseLog, PhaseSettings, Progress, Watch
from lori_core.training import train_packed
from tests.lori_core.training_cases import (
    bert_with_adapter,
    causal_rows,
    encoder_rows,
    llama_with_adapter,
    random_masks,
    same,
    settings,
    tiny_bert,
)


class Run:
    """One phase on a fresh tiny Llama whose B is not zero."""

    def __init__(
        self,
        folder: Path,
        settings: PhaseSettings,
        watch: Watch | None = None,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        self.model = llama_with_adapter(dtype=dtype)
        _disturb_b(self.model)
        self.before = {n: p.detach().clone() for n, p in self.model.named_parameters()}
        self.masks = random_masks(self.model)
        self.packed = PackedB(self.model, self.masks)
        self.folder, self.settings, self.watch = folder, settings, watch

    def go(self, rows: list[EncodedRow] | None = None) -> PhaseLog:
        return train_packed(
            self.model,
            self.packed,
            {},
            causal_rows() if rows is None else rows,
            settings=self.settings,
            output=self.folder,
            watch=self.watch,
        )


def _disturb_b(model: PeftModel) -> None:
    generator = torch.Generator().manual_seed(2)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_B" in name:
                parameter.copy_(0.02 * torch.randn(parameter.shape, generator=generator))


def plain_loop(
    model: nn.Module,
    trained: dict[str, Tensor | None],
    rows: list[EncodedRow],
    settings: PhaseSettings,
    row_loss: Callable[[nn.Module, EncodedRow], tuple[Tensor, int]],
) -> tuple[list[float], list[float]]:
    """The same phase with nothing of ours but the row order: row by row, unpadded, masks on grads.

    `trained`: parameter name -> mask of entries that may move (None: all), at `learning_rate`, or
    at `learning_rate_head` where the name has no `lora_`.
    """
    named = dict(model.named_parameters())
    parameters = [named[name] for name in trained]
    for parameter in parameters:
        parameter.requires_grad_(True)
    rates = [
        settings.learning_rate if "lora_" in name else settings.learning_rate_head
        for name in trained
    ]
    optimizer = torch.optim.AdamW(
        [{"params": [p], "lr": lr} for p, lr in zip(parameters, rates, strict=True)],
        betas=(0.9, 0.999),
        eps=1e-8,
        weight_decay=0.0,
        fused=False,
        foreach=False,
    )
    order = row_order(
        len(rows),
        settings.num_train_epochs,
        settings.seed,
        phase=settings.phase,
        task=settings.task,
    )
    steps = math.ceil(len(order) / settings.train_batch_size)
    losses, norms = [], []
    for step in range(steps):
        batch = order[step * settings.train_batch_size : (step + 1) * settings.train_batch_size]
        parts = [row_loss(model, rows[i]) for i in batch]
        loss = sum(part for part, _ in parts) / sum(n for _, n in parts)
        optimizer.zero_grad()
        loss.backward()
        for name, parameter in zip(trained, parameters, strict=True):
            mask = trained[name]
            if mask is not None:
                parameter.grad.mul_(mask)
        norms.append(math.sqrt(sum(float((p.grad.double() ** 2).sum()) for p in parameters)))
        for parameter in parameters:
            parameter.grad.mul_(min(1.0, settings.max_grad_norm / (norms[-1] + 1e-6)))
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (steps - step) / steps
        optimizer.step()
        losses.append(loss.item())
    return losses, norms


def causal_row_loss(model: nn.Module, row: EncodedRow) -> tuple[Tensor, int]:
    logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
    learned = [i for i, label in enumerate(row.labels) if label != IGNORED]
    return -sum(logits[i - 1, row.labels[i]] for i in learned), len(learned)


def encoder_row_loss(model: nn.Module, row: EncodedRow) -> tuple[Tensor, int]:
    logits = model(input_ids=torch.tensor([row.input_ids])).logits[0].log_softmax(-1)
    return -logits[row.labels[0]], 1


def b_names(model: PeftModel) -> dict[str, str]:
    """layer name -> full parameter name of its B."""
    return {
        name.removeprefix("base_model.model.").split(".lora_B")[0]: name
        for name, _ in model.named_parameters()
        if "lora_B" in name
    }


@pytest.mark.parametrize("max_grad_norm", [1.0, 0.05])
@pytest.mark.parametrize("accumulation", [1, 2, 4])
def test_losses_norms_and_b_equal_an_independent_loop(
    tmp_path: Path, accumulation: int, max_grad_norm: float
) -> None:
    chosen = settings(
        gradient_accumulation_steps=accumulation,
        max_grad_norm=max_grad_norm,
        num_train_epochs=2.6,
    )
    run = Run(tmp_path, chosen)
    log = run.go()
    other = llama_with_adapter()
    _disturb_b(other)
    trained = {name: run.masks[layer] for layer, name in b_names(other).items()}
    losses, norms = plain_loop(other, trained, causal_rows(), chosen, causal_row_loss)
    assert log.steps == len(losses) == 9  # 36 rows
    torch.testing.assert_close(log.losses, tuple(losses), rtol=0, atol=1e-6)
    torch.testing.assert_close(log.grad_norms, tuple(norms), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(read_b(run.model), read_b(other), rtol=0, atol=1e-5)


def test_an_encoder_with_its_head_equals_an_independent_loop(tmp_path: Path) -> None:
    chosen = settings(family="encoder", gradient_accumulation_steps=2)
    model, other = bert_with_adapter(), bert_with_adapter()
    for each in (model, other):
        restart_head(each, pretrained_head(tiny_bert()), seed=5, num_labels=3)
    log = train_packed(
        model,
        PackedB(model),
        head_parameters(model),
        encoder_rows(),
        settings=chosen,
        output=tmp_path,
    )
    heads = [
        name for name, p in other.named_parameters() if p.requires_grad and "lora_" not in name
    ]
    trained = dict.fromkeys([*b_names(other).values(), *heads])
    losses, norms = plain_loop(other, trained, encoder_rows(), chosen, encoder_row_loss)
    torch.testing.assert_close(log.losses, tuple(losses), rtol=0, atol=1e-6)
    torch.testing.assert_close(log.grad_norms, tuple(norms), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(head_state(model), head_state(other), rtol=0, atol=1e-5)


def test_only_the_entries_of_the_mask_move(tmp_path: Path) -> None:
    run = Run(tmp_path, settings())
    run.go()
    after = dict(run.model.named_parameters())
    assert after.keys() == run.before.keys()
    for layer, name in b_names(run.model).items():
        mask = run.masks[layer]
        assert torch.equal(after[name][~mask], run.before[name][~mask])
        assert not torch.equal(after[name][mask], run.before[name][mask])
    rest = after.keys() - b_names(run.model).values()
    assert all(torch.equal(after[name], run.before[name]) for name in rest)


def test_the_flat_parameter_leaves_the_model_again(tmp_path: Path) -> None:
    run = Run(tmp_path, settings())
    run.go()
    assert run.model.state_dict().keys() == llama_with_adapter().state_dict().keys()
    assert not hasattr(run.model, "lori_values")


def test_the_same_seed_twice_gives_the_same_bits(tmp_path: Path) -> None:
    runs = [Run(tmp_path / name, settings()) for name in "ab"]
    torch.manual_seed(0)
    first = runs[0].go()
    torch.manual_seed(1)  # the global random state has no say
    assert runs[1].go() == first
    assert same(read_b(runs[0].model), read_b(runs[1].model))


def test_the_callers_random_state_is_left_as_it_was(tmp_path: Path) -> None:
    def states() -> tuple[str, list[int]]:
        return str(np.random.get_state()), torch.get_rng_state().tolist()  # noqa: NPY002

    run = Run(tmp_path, settings())
    before = states()
    run.go()
    assert states() == before


def test_a_model_that_cannot_choose_its_logits_learns_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = Run(tmp_path / "a", settings()).go()
    monkeypatch.setattr("lori_core.training._keeps_logits", lambda model: False)
    whole = Run(tmp_path / "b", settings()).go()
    torch.testing.assert_close(whole.losses, usual.losses, rtol=0, atol=1e-6)


def test_another_seed_takes_another_course(tmp_path: Path) -> None:
    first, second = Run(tmp_path / "a", settings()), Run(tmp_path / "b", settings(seed=4))
    assert first.go().losses != second.go().losses


class Killed(BaseException):
    """Stands for a signal that ends the process between two steps."""


def _killed_after(step: int) -> Watch:
    def stop(progress: Progress) -> None:
        if progress.step == step:
            raise Killed

    return Watch(on_progress=stop)


def _final_tensors(folder: Path) -> dict[str, Tensor]:
    from safetensors.torch import load_file

    (file,) = folder.glob("checkpoint-*/tensors.safetensors")
    return {n: t for n, t in load_file(file).items() if not n.startswith("rng.")}


@pytest.mark.parametrize(
    ("save_steps", "kills"), [(1, (1,)), (1, (2, 3, 5)), (2, (3,)), (3, (5, 5)), (100, (4,))]
)
def test_any_split_of_a_phase_gives_the_bits_of_the_whole(
    tmp_path: Path, save_steps: int, kills: tuple[int, ...]
) -> None:
    straight = Run(tmp_path / "straight", settings())
    whole = straight.go()
    for kill in kills:
        broken = Run(tmp_path / "split", settings(save_steps=save_steps), _killed_after(kill))
        with pytest.raises(Killed):
            broken.go()
    resumed = Run(tmp_path / "split", settings(save_steps=save_steps))
    assert resumed.go() == whole
    assert torch.equal(resumed.packed.values, straight.packed.values)
    assert same(read_b(resumed.model), read_b(straight.model))
    assert same(_final_tensors(tmp_path / "split"), _final_tensors(tmp_path / "straight"))


def test_a_bf16_base_resumes_from_fp32_masters(tmp_path: Path) -> None:
    straight = Run(tmp_path / "straight", settings(), dtype=torch.bfloat16)
    whole = straight.go()
    broken = Run(tmp_path / "split", settings(), _killed_after(4), dtype=torch.bfloat16)
    with pytest.raises(Killed):
        broken.go()
    resumed = Run(tmp_path / "split", settings(), dtype=torch.bfloat16)
    assert resumed.go() == whole
    assert resumed.packed.values.dtype == torch.float32
    assert torch.equal(resumed.packed.values, straight.packed.values)


def test_an_encoder_resumes_its_head_and_optimiser_to_the_bit(tmp_path: Path) -> None:
    def run(folder: str, watch: Watch | None = None) -> tuple[PhaseLog, dict[str, Tensor]]:
        model = bert_with_adapter()
        restart_head(model, pretrained_head(tiny_bert()), seed=5, num_labels=3)
        log = train_packed(
            model,
            PackedB(model, random_masks(model)),
            head_parameters(model),
            encoder_rows(),
            settings=settings(family="encoder", gradient_accumulation_steps=2),
            output=tmp_path / folder,
            watch=watch,
        )
        return log, head_state(model)

    log, head = run("straight")
    with pytest.raises(Killed):
        run("split", _killed_after(4))
    again, other = run("split")
    assert again == log
    assert same(other, head)
    assert same(_final_tensors(tmp_path / "split"), _final_tensors(tmp_path / "straight"))


def test_a_finished_phase_is_not_trained_again(tmp_path: Path) -> None:
    first = Run(tmp_path, settings())
    log = first.go()
    steps: list[int] = []
    again = Run(tmp_path, settings(), Watch(on_progress=lambda p: steps.append(p.step)))
    assert again.go() == log
    assert steps == []
    assert same(read_b(again.model), read_b(first.model))


def test_a_checkpoint_of_another_phase_is_not_loaded(tmp_path: Path) -> None:
    Run(tmp_path, settings()).go()
    fresh = Run(tmp_path / "fresh", settings(learning_rate=2e-2)).go()
    assert Run(tmp_path, settings(learning_rate=2e-2)).go() == fresh
    other_rows = causal_rows(seed=9)
    fresh = Run(tmp_path / "fresh-rows", settings()).go(other_rows)
    assert Run(tmp_path, settings()).go(other_rows) == fresh


def test_a_checkpoint_of_another_runtime_is_not_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def go() -> None:
        Run(tmp_path, settings(), Watch(on_progress=lambda p: seen.append(p.step))).go()

    go()
    assert len(seen) == 6
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)  # sums are split over them, and so round otherwise
    try:
        go()
    finally:
        torch.set_num_threads(threads)
    assert len(seen) == 12
    go()
    assert len(seen) == 18
    monkeypatch.setattr("lori_core.training.fingerprint", lambda: {"torch": "another"})
    go()
    assert len(seen) == 24


@pytest.mark.slow
def test_a_process_killed_while_it_writes_resumes_from_the_last_whole_checkpoint(
    tmp_path: Path,
) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from tests.lori_core.test_training import Run, settings
left = int(sys.argv[2])
flush = os.fsync
def fsync(handle):
    global left
    left -= 1
    if left == 0:
        os.kill(os.getpid(), signal.SIGKILL)
    flush(handle)
os.fsync = fsync
Run(Path(sys.argv[1]), settings(save_steps=1)).go()
"""
    straight = Run(tmp_path / "straight", settings())
    whole = straight.go()
    root = Path(__file__).parents[2]
    killed = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "split"), "10"],  # amid the third of six
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert list((tmp_path / "split").glob(".writing-3-*"))
    seen: list[int] = []
    resumed = Run(tmp_path / "split", settings(), Watch(on_progress=lambda p: seen.append(p.step)))
    assert resumed.go() == whole
    assert seen == [3, 4, 5, 6]
    assert same(read_b(resumed.model), read_b(straight.model))
    assert not list((tmp_path / "split").glob(".writing-*"))


def test_progress_counts_steps_and_tokens_and_says_what_was_saved(tmp_path: Path) -> None:
    seen: list[Progress] = []
    due = iter([True, False, False, False, False, False])
    watch = Watch(on_progress=seen.append, checkpoint_due=lambda: next(due))
    rows = causal_rows()
    log = Run(tmp_path, settings(save_steps=4), watch).go(rows)
    order = row_order(len(rows), 1.5, 3, phase="train", task="sums")
    assert [p.step for p in seen] == [1, 2, 3, 4, 5, 6]
    assert {p.total for p in seen} == {6}
    assert [p.saved for p in seen] == [True, False, False, True, False, True]
    assert tuple(p.loss for p in seen) == log.losses
    assert seen[0].tokens == sum(len(rows[i].input_ids) for i in order[:4])
    assert seen[-1].tokens == log.tokens == sum(len(rows[i].input_ids) for i in order)


def test_files_are_safetensors_and_json_alone(tmp_path: Path) -> None:
    Run(tmp_path, settings()).go()
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".safetensors", ".json"}
    assert len(list(tmp_path.iterdir())) == 1  # older checkpoints are gone


def test_nothing_is_printed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    Run(tmp_path, settings()).go()
    assert capfd.readouterr() == ("", "")


def test_a_loss_that_is_not_finite_ends_the_phase_with_a_sentence(tmp_path: Path) -> None:
    run = Run(tmp_path, settings())
    with torch.no_grad():
        run.packed.values[0] = math.nan
    run.packed.push()
    with pytest.raises(BadInput, match=r"task 'sums', phase 'train', step 1: loss nan"):
        run.go()


def test_dropout_is_refused(tmp_path: Path) -> None:
    model = llama_with_adapter()
    model.get_base_model().model.layers[0].mlp.act_fn = nn.Dropout(0.1)
    with pytest.raises(ValueError, match="dropout"):
        train_packed(model, PackedB(model), {}, causal_rows(), settings=settings(), output=tmp_path)


def test_a_stays_frozen(tmp_path: Path) -> None:
    run = Run(tmp_path, settings())
    before = read_a(run.model)
    run.go()
    assert same(read_a(run.model), before)
