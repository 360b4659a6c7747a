"""LoRA layers as a training step computes them: the same formula in fewer passes over memory.

    y = W x + bias + s · B A x          s = lora_alpha / r

PEFT forms W x, B (A x), its product with s and their sum: four arrays of the layer's output for one
that is needed, and as many on the way back. Here s goes to A x, which is r wide, and the product with
B is added up where W x lies; backward alike. Values differ from PEFT's by rounding. Only training
computes so: whatever is certified, scored or served goes through PEFT's own forward.
"""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from peft import PeftModel
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from transformers import PreTrainedModel

from lori_core.adapters import ADAPTER, lora_layers
from lori_core.attention import fused_attention, trains_fused


@contextmanager
def as_a_step(model: nn.Module, device: str) -> Iterator[None]:
    """A base, with our layers or without, computed as training on `device` does: these, and attention."""
    bare = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(bare, PreTrainedModel)
    with ExitStack() as forms:
        if isinstance(model, PeftModel):
            forms.enter_context(step_form(model))
        if trains_fused(bare, device):
            forms.enter_context(fused_attention(bare))
        yield


@contextmanager
def step_form(peft_model: PeftModel) -> Iterator[None]:
    """Have the LoRA layers of the model computed this way while the block runs, then as before.

    Only layers whose three matrices have one type, and whose W is frozen and an ordinary linear
    layer's, are computed this way; any other stays PEFT's (A and B are fp32 on a bf16 base).
    """
    layers = [each for each in lora_layers(peft_model).values() if _is_plain(each)]
    for layer in layers:
        layer.forward = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward  # of the instance: its class's own is seen again


def _is_plain(layer: LoraLayer) -> bool:
    base = layer.get_base_layer()
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    return (
        type(base) is nn.Linear
        and base.weight.dtype == a.dtype == b.dtype
        and not any(each.requires_grad for each in base.parameters())
        and isinstance(layer.lora_dropout[ADAPTER], nn.Identity)
        and layer.active_adapters == [ADAPTER]
        and not layer.disable_adapters
        and not layer.merged
    )


def _forward(layer: LoraLayer, x: Float[Tensor, "*rows _in"]) -> Float[Tensor, "*rows _out"]:
    base = layer.get_base_layer()
    a, b = layer.lora_A[ADAPTER].weight, layer.lora_B[ADAPTER].weight
    # Shaped out here: autograd lets nobody change in place what a function of ours gave as a view,
    # and some bases do so to a layer's output (OLMo clips it, DeBERTa scales it).
    rows = x.reshape(-1, x.shape[-1])
    y: Tensor = _LowRankLinear.apply(  # type: ignore[no-untyped-call]
        rows, base.weight, base.bias, a, b, layer.scaling[ADAPTER]
    )
    return y.view(*x.shape[:-1], -1)


class _LowRankLinear(torch.autograd.Function):
    """Gradients of x, A and B, each where it is asked for; W and bias are frozen."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Float[Tensor, "rows _in"],
        w: Float[Tensor, "_out _in"],
        bias: Float[Tensor, " _out"] | None,
        a: Float[Tensor, "_r _in"],
        b: Float[Tensor, "_out _r"],
        s: float,
    ) -> Float[Tensor, "rows _out"]:
        narrow = (x @ a.t()).mul_(s)  # (rows, r)
        y = x @ w.t() if bias is None else torch.addmm(bias, x, w.t())
        y.addmm_(narrow, b.t())
        ctx.save_for_backward(w, a, b, narrow, x if a.requires_grad else None)
        ctx.s = s
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Float[Tensor, "rows _out"]) -> tuple[Tensor | None, ...]:
        w, a, b, narrow, x = ctx.saved_tensors
        of_x, _, _, of_a, of_b, _ = ctx.needs_input_grad
        grad_x = grad_a = grad_b = None
        if of_b:
            grad_b = grad.t() @ narrow
        if of_x or of_a:
            narrow_grad = (grad @ b).mul_(ctx.s)  # (rows, r)
            if of_x:
                grad_x = (grad @ w).addmm_(narrow_grad, a)
            if of_a:
                grad_a = narrow_grad.t() @ x
        return grad_x, None, None, grad_a, grad_b, None
