"""The reference is the obvious way: dense B as a parameter, the gradient multiplied by the mask."""

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import LlamaConfig, LlamaForCausalLM

from lori_core.adapters import attach, lora_layers, read_b, write_b
from lori_core.config import AdapterConfig
from lori_core.errors import MaskMismatch
from lori_core.masks import magnitude_masks
from lori_core.packed import PackedB

STEPS = 6


def tiny_model(seed: int = 0) -> PeftModel:
    torch.manual_seed(seed)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=30,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            num_key_value_heads=1,
        )
    )
    return attach(model, AdapterConfig(r=4, lora_alpha=8.0), seed=0)


def random_masks(peft_model: PeftModel, sparsity: float = 0.8) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    scores = {n: torch.randn(b.shape, generator=generator) for n, b in read_b(peft_model).items()}
    return magnitude_masks(scores, sparsity=sparsity)


def loss_of(peft_model: PeftModel, step: int) -> Tensor:
    ids = torch.randint(0, 30, (3, 7), generator=torch.Generator().manual_seed(step))
    loss: Tensor = peft_model(input_ids=ids, labels=ids).loss
    return loss


def clip(gradients: list[Tensor], entries: Tensor, max_norm: float) -> None:
    """torch's clip_grad_norm_ on `gradients`, its norm taken of `entries`."""
    factor = (max_norm / (torch.linalg.vector_norm(entries) + 1e-6)).clamp(max=1.0)
    for gradient in gradients:
        gradient.mul_(factor)


def train_dense(
    peft_model: PeftModel, masks: dict[str, Tensor], max_norm: float, accumulate: int = 1
) -> list[float]:
    weights = {n: layer.lora_B["default"].weight for n, layer in lora_layers(peft_model).items()}
    optimizer = torch.optim.AdamW(weights.values(), lr=1e-2, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        for part in range(accumulate):
            loss = loss_of(peft_model, step * accumulate + part) / accumulate
            loss.backward()
            losses.append(float(loss))
        for name, weight in weights.items():
            assert weight.grad is not None
            weight.grad.mul_(masks[name])
        entries = torch.cat([w.grad[masks[n]] for n, w in weights.items()])  # type: ignore[index]
        clip([w.grad for w in weights.values()], entries, max_norm)  # type: ignore[misc]
        optimizer.step()
    return losses


def train_packed(
    peft_model: PeftModel, masks: dict[str, Tensor] | None, max_norm: float, accumulate: int = 1
) -> list[float]:
    packed = PackedB(peft_model, masks)
    optimizer = torch.optim.AdamW([packed.values], lr=1e-2, weight_decay=0.0)
    losses = []
    for step in range(STEPS):
        optimizer.zero_grad()
        for part in range(accumulate):
            loss = loss_of(peft_model, step * accumulate + part) / accumulate
            loss.backward()
            losses.append(float(loss))
        nn.utils.clip_grad_norm_([packed.values], max_norm)
        optimizer.step()
        packed.push()
    packed.remove()
    return losses


@pytest.mark.parametrize("max_norm", [1e-2, 1e6], ids=["clipped", "not clipped"])
@pytest.mark.parametrize("accumulate", [1, 2])
def test_training_is_bit_identical_to_dense_b_with_a_masked_gradient(
    max_norm: float, accumulate: int
) -> None:
    dense, packed = tiny_model(), tiny_model()
    masks = random_masks(dense)
    reference = train_dense(dense, masks, max_norm, accumulate)
    assert train_packed(packed, masks, max_norm, accumulate) == reference
    expected = read_b(dense)
    for name, b in read_b(packed).items():
        assert torch.equal(b, expected[name])
        assert b[masks[name]].all()
        assert not b[~masks[name]].any()


def test_without_masks_all_of_b_trains_as_plain_lora_with_frozen_a_does() -> None:
    dense, packed = tiny_model(), tiny_model()
    everything = {n: torch.ones_like(b, dtype=torch.bool) for n, b in read_b(dense).items()}
    train_dense(dense, everything, 1e6)
    values = PackedB(packed)
    assert values.values.numel() == sum(b.numel() for b in read_b(dense).values())
    values.remove()
    train_packed(packed, None, 1e6)
    assert all(torch.equal(b, read_b(dense)[n]) for n, b in read_b(packed).items())


def test_entries_outside_the_masks_take_part_in_the_forward_pass_and_never_move() -> None:
    peft_model = tiny_model()
    masks = random_masks(peft_model)
    before = {n: torch.randn_like(b) for n, b in read_b(peft_model).items()}
    plain = float(loss_of(peft_model, 0))
    write_b(peft_model, before)
    losses = train_packed(peft_model, masks, 1.0)
    assert losses[0] != plain
    for name, b in read_b(peft_model).items():
        assert torch.equal(b[~masks[name]], before[name][~masks[name]])
        assert not torch.equal(b[masks[name]], before[name][masks[name]])


@pytest.mark.parametrize(
    "optimizer", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad], ids=lambda o: o.__name__
)
def test_no_optimiser_and_no_weight_decay_can_reach_other_entries(
    optimizer: type[torch.optim.Optimizer],
) -> None:
    peft_model = tiny_model()
    masks = random_masks(peft_model)
    start = {n: torch.randn_like(b) for n, b in read_b(peft_model).items()}
    write_b(peft_model, start)
    packed = PackedB(peft_model, masks)
    stepper = optimizer([packed.values], lr=0.1, weight_decay=0.5)  # type: ignore[call-arg]
    for step in range(3):
        stepper.zero_grad()
        loss_of(peft_model, step).backward()
        stepper.step()
        packed.push()
    for name, b in read_b(peft_model).items():
        assert torch.equal(b[~masks[name]], start[name][~masks[name]])


def test_the_dense_gradient_is_freed_and_the_flat_one_is_its_masked_entries() -> None:
    dense, packed_model = tiny_model(), tiny_model()
    masks = random_masks(dense)
    packed = PackedB(packed_model, masks)
    loss_of(dense, 0).backward()
    loss_of(packed_model, 0).backward()
    layers = lora_layers(dense)
    expected = torch.cat([layers[n].lora_B["default"].weight.grad[m] for n, m in masks.items()])
    assert packed.values.grad is not None
    assert torch.equal(packed.values.grad, expected)
    assert all(x.lora_B["default"].weight.grad is None for x in lora_layers(packed_model).values())


def test_values_start_as_b_holds_them_and_come_back_by_layer() -> None:
    peft_model = tiny_model()
    masks = random_masks(peft_model)
    start = {n: torch.randn_like(b) for n, b in read_b(peft_model).items()}
    write_b(peft_model, start)
    packed = PackedB(peft_model, masks)
    for name, values in packed.layer_values().items():
        assert torch.equal(values, start[name][masks[name]])
    packed.push()
    assert all(torch.equal(b, start[n]) for n, b in read_b(peft_model).items())


def test_pull_reads_b_again() -> None:
    peft_model = tiny_model()
    packed = PackedB(peft_model, random_masks(peft_model))
    write_b(peft_model, {n: torch.ones_like(b) for n, b in read_b(peft_model).items()})
    packed.pull()
    assert bool((packed.values == 1).all())


def test_a_layer_left_out_of_the_masks_does_not_train() -> None:
    peft_model = tiny_model()
    name = "model.layers.1.mlp.up_proj"
    packed = PackedB(peft_model, {name: torch.ones(24, 4, dtype=torch.bool)})
    assert packed.values.numel() == 96
    loss_of(peft_model, 0).backward()
    with torch.no_grad():
        packed.values.add_(1.0)
    packed.push()
    assert [n for n, b in read_b(peft_model).items() if b.any()] == [name]


def test_after_remove_gradients_are_ordinary_again() -> None:
    peft_model = tiny_model()
    packed = PackedB(peft_model)
    packed.remove()
    loss_of(peft_model, 0).backward()
    assert packed.values.grad is None
    weights = [layer.lora_B["default"].weight for layer in lora_layers(peft_model).values()]
    assert all(weight.grad is not None for weight in weights)


def test_a_bf16_b_keeps_fp32_masters() -> None:
    peft_model = tiny_model()
    for layer in lora_layers(peft_model).values():
        layer.lora_B["default"].to(torch.bfloat16)
    packed = PackedB(peft_model)
    with torch.no_grad():
        packed.values.fill_(1.0 + 2**-12)  # bf16 cannot hold this
    packed.push()
    assert all(bool((b == 1.0).all()) for b in read_b(peft_model).values())
    assert packed.values.dtype == torch.float32
    assert bool((packed.values != 1.0).all())


def test_a_mask_of_another_shape_names_its_layer() -> None:
    name = "model.layers.0.self_attn.q_proj"
    with pytest.raises(MaskMismatch, match="q_proj"):
        PackedB(tiny_model(), {name: torch.ones(16, 3, dtype=torch.bool)})


def test_gradient_checkpointing_gives_the_same_gradient() -> None:
    plain, saving = tiny_model(), tiny_model()
    masks = random_masks(plain)
    one, two = PackedB(plain, masks), PackedB(saving, masks)
    saving.train()
    saving.enable_input_require_grads()
    saving.gradient_checkpointing_enable({"use_reentrant": False})
    loss_of(plain, 0).backward()
    loss_of(saving, 0).backward()
    assert one.values.grad is not None
    assert two.values.grad is not None
    assert torch.equal(one.values.grad, two.values.grad)


def test_its_one_parameter_is_values() -> None:
    packed = PackedB(tiny_model())
    assert (
        [name for name, _ in packed.named_parameters()] == list(packed.state_dict()) == ["values"]
    )
