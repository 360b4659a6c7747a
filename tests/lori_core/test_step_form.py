"""The reference is PEFT's own forward, and autograd's way back through it, in double precision."""

from collections.abc import Callable

import pytest
import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor
from transformers import FalconConfig, FalconForCausalLM, OlmoConfig, OlmoForCausalLM

from lori_core.adapters import attach, lora_layers
from lori_core.attention import fused_attention, trains_fused
from lori_core.config import AdapterConfig
from lori_core.step_form import step_form
from tests.lori_core.training_cases import (
    ADAPTER,
    bert_with_adapter,
    llama_with_adapter,
    tiny_llama,
)

Made = Callable[[], PeftModel]


def lora_llama() -> PeftModel:
    return llama_with_adapter(AdapterConfig(r=4, lora_alpha=6.0, method="lora"))


def clipping_olmo() -> PeftModel:
    """Its attention clamps in place what the layers of q, k and v give."""
    config = OlmoConfig(
        vocab_size=48,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        clip_qkv=0.05,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(13)
        model = OlmoForCausalLM(config).requires_grad_(False).eval()
    return attach(model, ADAPTER, seed=0)


def in_double(made: Made) -> PeftModel:
    model = made().double()
    with torch.random.fork_rng():
        torch.manual_seed(5)
        for layer in lora_layers(model).values():
            torch.nn.init.normal_(layer.lora_B["default"].weight, std=0.3)
    return model


def logits_and_gradients(model: PeftModel) -> tuple[Tensor, dict[str, Tensor]]:
    ids = torch.randint(3, 40, (3, 7), generator=torch.Generator().manual_seed(1))
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    weights = torch.linspace(-1, 1, logits.numel(), dtype=logits.dtype).view_as(logits)
    (logits * weights).sum().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    return logits.detach(), grads


@pytest.mark.parametrize("made", [llama_with_adapter, lora_llama, bert_with_adapter, clipping_olmo])
def test_outputs_and_gradients_are_those_of_peft(made: Made) -> None:
    """A Llama's layers have no bias, a BERT's have one; with `method: lora` A trains too."""
    model = in_double(made)
    expected, wanted = logits_and_gradients(model)
    with step_form(model):
        logits, grads = logits_and_gradients(model)
    torch.testing.assert_close(logits, expected, rtol=1e-12, atol=1e-12)
    assert grads.keys() == wanted.keys()
    assert any("lora_B" in name for name in grads)
    assert any("lora_A" in name for name in grads) == (made is lora_llama)
    for name, gradient in grads.items():
        torch.testing.assert_close(gradient, wanted[name], rtol=1e-11, atol=1e-11)


def test_no_layer_asks_pefts_forward_within_and_all_do_afterwards(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = llama_with_adapter()
    layers = list(lora_layers(model).values())
    asked: list[LoraLayer] = []
    kind = type(layers[0])
    peft_forward = kind.forward

    def told(layer: LoraLayer, *arguments: Tensor) -> Tensor:
        asked.append(layer)
        return peft_forward(layer, *arguments)  # type: ignore[no-any-return]

    monkeypatch.setattr(kind, "forward", told)
    with step_form(model):
        logits_and_gradients(model)
    assert asked == []
    before = {name: each.clone() for name, each in model.state_dict().items()}
    logits_and_gradients(model)
    assert asked == layers
    assert all(torch.equal(each, before[name]) for name, each in model.state_dict().items())


def test_it_is_undone_when_the_block_fails() -> None:
    model = llama_with_adapter()
    with pytest.raises(KeyError), step_form(model):
        raise KeyError
    assert not any("forward" in vars(layer) for layer in lora_layers(model).values())


def test_layers_that_mix_types_stay_with_peft() -> None:
    """On a bf16 base A and B are fp32: PEFT casts between them."""
    model = attach(tiny_llama().to(torch.bfloat16), ADAPTER, seed=0)
    with step_form(model):
        assert not any("forward" in vars(layer) for layer in lora_layers(model).values())


def test_a_layer_whose_base_trains_stays_with_peft() -> None:
    model = llama_with_adapter()
    first, *rest = lora_layers(model).values()
    first.get_base_layer().weight.requires_grad_(True)
    with step_form(model):
        assert "forward" not in vars(first)
        assert all("forward" in vars(layer) for layer in rest)


def test_attention_is_fused_within_and_plain_again_afterwards() -> None:
    model = tiny_llama()
    with fused_attention(model):
        assert model.config._attn_implementation == "sdpa"
    assert model.config._attn_implementation == "eager"
    assert trains_fused(model, "cpu")
    assert not trains_fused(model, "cuda")


def test_a_model_without_fused_attention_keeps_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_llama()
    monkeypatch.setattr(type(model), "_supports_sdpa", False)
    with fused_attention(model):
        assert model.config._attn_implementation == "eager"
    assert not trains_fused(model, "cpu")


def test_a_model_that_cannot_change_its_attention_keeps_its_own() -> None:
    """A Falcon has the fused kernel, and takes it only when it is loaded."""
    model = FalconForCausalLM(
        FalconConfig(
            vocab_size=48,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            attn_implementation="eager",
        )
    )
    with fused_attention(model):
        assert model.config._attn_implementation == "eager"
    assert not trains_fused(model, "cpu")
