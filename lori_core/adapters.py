"""Ordinary PEFT LoRA modules, with A seeded and frozen: shapes, attach, read, write.

PEFT's modules stay untouched, so that everything that reads PEFT reads us. A is frozen through
PEFT's own list, because a bare `requires_grad_(False)` is undone by `set_adapter`.
"""

import warnings
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from peft.tuners.lora import LoraLayer
from torch import Tensor, nn
from transformers import PreTrainedModel

from lori_core.config import AdapterConfig
from lori_core.errors import BadInput, MaskMismatch, UnknownLayers
from lori_core.seeded import seeded_a

ADAPTER = "default"
"""PEFT's name of the one adapter we attach."""


@dataclass(frozen=True)
class TrainableCounts:
    """How many numbers each method trains on the same layers."""

    lora: int
    """A and B."""
    lori_d: int
    """B alone: N."""
    lori_s: int
    """round((1 - sparsity) · N)."""


def adapter_shapes(model: nn.Module, adapter: AdapterConfig) -> dict[str, tuple[int, int]]:
    """layer name -> (d_out, d_in) of every adapted layer, in the model's own order.

    `all-linear` is every linear layer of the blocks: those beneath an indexed list of modules. An
    output layer, embeddings, an encoder's pooler and its classifier are not in a block. Works on
    the meta device, on a bare model and on one with an adapter.

    Raises:
        UnknownLayers: a name in `target_modules` that is no linear layer of the blocks.
        BadInput: blocks with fused mixture-of-experts weights, or with no linear layer at all.
    """
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    found: dict[str, tuple[int, int]] = {}
    for name, module in base.named_modules():
        linear = module.get_base_layer() if isinstance(module, LoraLayer) else module
        if not any(part.isdigit() for part in name.split(".")):
            continue
        _refuse_fused_experts(name, module)
        inside = _inside_adapter(name) or name.endswith(".base_layer")
        if isinstance(linear, nn.Linear) and not inside:
            found[name] = (linear.out_features, linear.in_features)
    if not found:
        raise BadInput(
            f"base {type(base).__name__}: its blocks have no torch.nn.Linear",
            "a model built of linear layers",
            "Older models with Conv1D layers (GPT-2) are not supported.",
        )
    if adapter.target_modules == "all-linear":
        return found
    known = sorted({name.rsplit(".", 1)[-1] for name in found})
    if unknown := [name for name in adapter.target_modules if name not in known]:
        raise UnknownLayers(unknown, known)
    return {n: s for n, s in found.items() if n.rsplit(".", 1)[-1] in adapter.target_modules}


def refuse_wide_rank(shapes: Mapping[str, tuple[int, int]], r: int) -> None:
    """Raise BadInput for a rank that no adapted layer is wide enough for.

    B·A cannot have a higher rank than the layer's smaller side: what r has beyond it is wasted. A
    rank that is too high for some layers alone is allowed.
    """
    widest = max(shapes, key=lambda name: min(shapes[name]))
    d_out, d_in = shapes[widest]
    if r > min(d_out, d_in):
        raise BadInput(
            f"adapter.r is {r} but the widest adapted layer, {widest}, is {d_out} x {d_in}",
            f"at most {min(d_out, d_in)}, the rank that such a layer can have",
            "Lower `r`.",
        )


def trainable_counts(
    shapes: Mapping[str, tuple[int, int]], r: int, sparsity: float
) -> TrainableCounts:
    """What LoRA, LoRI-D and LoRI-S train on layers of these (d_out, d_in) at rank r."""
    lori_d = sum(d_out * r for d_out, _ in shapes.values())
    return TrainableCounts(
        lora=sum((d_out + d_in) * r for d_out, d_in in shapes.values()),
        lori_d=lori_d,
        lori_s=round((1.0 - sparsity) * lori_d),
    )


def attach(model: PreTrainedModel, adapter: AdapterConfig, *, seed: int) -> PeftModel:
    """Put LoRA modules on the adapted layers, in place: A seeded, B zero, no dropout.

    With `method: lori` A is frozen for good; with `method: lora` A and B both train. The base is
    frozen. Where the base is bf16, A is rounded to bf16 once (and held in fp32), because that is
    what the exported files hold. The global random state is left as it was.

    Raises UnknownLayers and BadInput as `adapter_shapes` does.
    """
    shapes = adapter_shapes(model, adapter)
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        lora_dropout=0.0,
        bias="none",
        target_modules=list(shapes),
        task_type=None if _is_encoder(model) else TaskType.CAUSAL_LM,
    )
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        # peft asks transformers by a name that transformers has since replaced
        warnings.filterwarnings("ignore", "`is_gradient_checkpointing`", FutureWarning)
        peft_model = get_peft_model(model, config)
    layers = lora_layers(peft_model)
    if layers.keys() != shapes.keys():
        raise RuntimeError(f"PEFT adapted {sorted(layers.keys() ^ shapes.keys())} differently")
    rounding = storage_dtype(model)
    for name, layer in layers.items():
        with torch.no_grad():
            fresh = seeded_a(seed, name, adapter.r, shapes[name][1])
            layer.lora_A[ADAPTER].weight.copy_(fresh.to(rounding))
            layer.lora_B[ADAPTER].weight.zero_()
        if adapter.method == "lori":
            # a dict of its own: PEFT's default is one dict shared by the whole class
            layer.frozen_peft_weight_names = {ADAPTER: ("lora_A",)}
            layer.lora_A[ADAPTER].weight.requires_grad_(False)
    return peft_model


def storage_dtype(model: nn.Module) -> torch.dtype:
    """The type adapters of this base are stored in: bf16 for a bf16 base, else fp32."""
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    kinds = {p.dtype for n, p in base.named_parameters() if not _inside_adapter(n)}
    return torch.bfloat16 if torch.bfloat16 in kinds else torch.float32


def lora_layers(peft_model: PeftModel) -> dict[str, LoraLayer]:
    """layer name -> PEFT's LoRA layer, in the model's own order.

    Raises BadInput where a layer was attached with DoRA, rsLoRA or a bias: those void certificates.
    """
    layers: dict[str, LoraLayer] = {}
    for name, module in peft_model.get_base_model().named_modules():
        if not isinstance(module, LoraLayer) or ADAPTER not in module.lora_A:
            continue
        odd = {
            "DoRA": module.use_dora.get(ADAPTER),
            "rsLoRA": module.use_rslora.get(ADAPTER),
            "a bias": module.lora_bias.get(ADAPTER),
        }
        if used := [what for what, on in odd.items() if on]:
            raise BadInput(
                f"layer {name!r} has {' and '.join(used)}",
                "plain LoRA, the only form whose certificate holds",
                "Attach it again without.",
            )
        layers[name] = module
    return layers


def read_b(peft_model: PeftModel) -> dict[str, Float[Tensor, "_out _r"]]:
    """layer name -> a copy of B, shape (d_out, r)."""
    return {
        n: x.lora_B[ADAPTER].weight.detach().clone() for n, x in lora_layers(peft_model).items()
    }


def read_a(peft_model: PeftModel) -> dict[str, Float[Tensor, "_r _in"]]:
    """layer name -> a copy of A, shape (r, d_in)."""
    return {
        n: x.lora_A[ADAPTER].weight.detach().clone() for n, x in lora_layers(peft_model).items()
    }


def write_b(peft_model: PeftModel, b: Mapping[str, Float[Tensor, "_out _r"]]) -> None:
    """Copy B into the model, cast to its type; layers left out stay. MaskMismatch on a bad shape."""
    layers = lora_layers(peft_model)
    for name, weight in b.items():
        _copy(name, layers[name].lora_B[ADAPTER].weight, weight)


def write_a(peft_model: PeftModel, a: Mapping[str, Float[Tensor, "_r _in"]]) -> None:
    """Copy A into the model, cast to its type; layers left out stay. MaskMismatch on a bad shape."""
    layers = lora_layers(peft_model)
    for name, weight in a.items():
        _copy(name, layers[name].lora_A[ADAPTER].weight, weight)


def set_scaling(peft_model: PeftModel, scaling: float) -> None:
    """Pin lora_alpha / r in every layer."""
    for layer in lora_layers(peft_model).values():
        layer.scaling[ADAPTER] = scaling


def refuse_trained_base(peft_model: PeftModel, head: Collection[str] = ()) -> None:
    """Raise BadInput when anything of the base may train but `head` (parameter names).

    A trained norm, embedding or bias is shared by all tasks, so no certificate could hold.
    """
    for name, parameter in peft_model.get_base_model().named_parameters():
        if parameter.requires_grad and not _inside_adapter(name) and name not in head:
            raise BadInput(
                f"{name} of the base is trained",
                "a frozen base, or else no certificate could hold",
                "Freeze it.",
            )


def base_parameters(peft_model: PeftModel) -> dict[str, Tensor]:
    """name -> each parameter and buffer of the base (not a copy), named as without an adapter."""
    base = peft_model.get_base_model()
    named = [*base.named_parameters(), *base.named_buffers()]
    return {
        name.replace(".base_layer.", "."): tensor.detach()
        for name, tensor in named
        if not _inside_adapter(name)
    }


def _copy(name: str, target: Tensor, source: Tensor) -> None:
    if target.shape != source.shape:
        raise MaskMismatch(name, tuple(source.shape), tuple(target.shape))
    with torch.no_grad():
        target.copy_(source)


def _inside_adapter(name: str) -> bool:
    return any(part.startswith("lora_") for part in name.split("."))


def _is_encoder(model: PreTrainedModel) -> bool:
    return type(model).__name__.endswith("ForSequenceClassification")


def _refuse_fused_experts(name: str, module: nn.Module) -> None:
    for key, parameter in module.named_parameters(recurse=False):
        if parameter.ndim == 3 and not isinstance(module, nn.modules.conv._ConvNd):
            raise BadInput(
                f"{name}.{key} holds the weights of several experts in one tensor",
                "a base whose blocks are linear layers",
                "Fused mixture-of-experts layers are not supported yet.",
            )
