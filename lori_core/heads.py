"""Heads of encoders: everything after the encoder, restarted for each phase and stored with its task.

A BERT's head is its pooler and its classifier; a RoBERTa's its classification head; a Llama's in
sequence classification its `score`. What was pretrained (a pooler inside the encoder) restarts from
the base; the rest is drawn from a seed of its own, the same bits on every machine.
"""

from collections.abc import Mapping

import torch
from peft import PeftModel
from torch import Tensor, nn
from transformers import PreTrainedModel

from lori_core.errors import BadInput
from lori_core.seeded import seeded_a


def head_parameters(model: nn.Module) -> dict[str, nn.Parameter]:
    """name -> parameter of everything after the encoder, in the model's own order.

    Names are those of the bare model (`classifier.weight`, `bert.pooler.dense.weight`).
    """
    base = _bare(model)
    encoder = f"{base.base_model_prefix}."
    return {
        name: parameter
        for name, parameter in base.named_parameters()
        if not name.startswith(encoder) or name.startswith(f"{encoder}pooler.")
    }


def head_state(model: nn.Module) -> dict[str, Tensor]:
    """name -> a copy of each head parameter, on the CPU."""
    return {n: p.detach().cpu().clone() for n, p in head_parameters(model).items()}


def pretrained_head(model: nn.Module) -> dict[str, Tensor]:
    """The part of the head that belongs to the base (a pooler); take it before anything is trained.

    Empty for bases whose head is all new.
    """
    encoder = f"{_bare(model).base_model_prefix}."
    return {name: value for name, value in head_state(model).items() if name.startswith(encoder)}


def restart_head(
    model: nn.Module, pretrained: Mapping[str, Tensor], *, seed: int, num_labels: int
) -> None:
    """Give the model a fresh head for `num_labels` classes, ready to be trained.

    Args:
        model: an encoder for sequence classification, bare or with an adapter.
        pretrained: `pretrained_head` of the untrained base; these restart from there.
        seed: of everything else (`draw_head`).
        num_labels: classes; the last linear layer is replaced where it has another number.

    Raises:
        BadInput: fewer than two classes, or a model with no linear layer after its encoder.
    """
    if num_labels < 2:
        raise BadInput(f"{num_labels} label", "at least two", "Give rows of two or more labels.")
    _resize(_bare(model), num_labels)
    head = head_parameters(model)
    draw_head({name: p for name, p in head.items() if name not in pretrained}, seed)
    with torch.no_grad():
        for name, parameter in head.items():
            if name in pretrained:
                parameter.copy_(pretrained[name])
            parameter.requires_grad_(True)


def draw_head(parameters: Mapping[str, nn.Parameter], seed: int) -> None:
    """Fill parameters of a head from a seed, by name: the same bits on every machine.

    Matrices are uniform on ±1/√d_in (as `torch.nn.Linear` has them), scales of norms 1, biases 0.
    """
    with torch.no_grad():
        for name, parameter in parameters.items():
            if parameter.dim() == 2:
                parameter.copy_(seeded_a(seed, name, parameter.shape[0], parameter.shape[1]))
            else:
                parameter.fill_(0.0 if name.endswith("bias") else 1.0)


def load_head(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Put a stored head into the model; its number of classes is that of the stored one.

    Raises:
        BadInput: the stored head is not of this kind of model.
    """
    base = _bare(model)
    last = _classifier(base)
    if f"{last}.weight" in state:
        _resize(base, state[f"{last}.weight"].shape[0])
    parameters = head_parameters(model)
    shapes = {name: tuple(p.shape) for name, p in parameters.items()}
    if shapes != {name: tuple(value.shape) for name, value in state.items()}:
        raise BadInput(
            f"a stored head of {', '.join(sorted(state))}",
            f"the head of this base: {', '.join(sorted(parameters))}",
            "Use the base it was trained on.",
        )
    with torch.no_grad():
        for name, parameter in parameters.items():
            parameter.copy_(state[name])


def freeze_head(model: nn.Module) -> None:
    """End of a phase: the head trains no more."""
    for parameter in head_parameters(model).values():
        parameter.requires_grad_(False)
        parameter.grad = None


def _bare(model: nn.Module) -> PreTrainedModel:
    base = model.get_base_model() if isinstance(model, PeftModel) else model
    assert isinstance(base, PreTrainedModel)
    return base


def _classifier(base: PreTrainedModel) -> str:
    """Name of the last linear layer after the encoder."""
    encoder = f"{base.base_model_prefix}."
    names: list[str] = [
        name
        for name, module in base.named_modules()
        if isinstance(module, nn.Linear) and not name.startswith(encoder)
    ]
    if not names:
        raise BadInput(
            f"base {type(base).__name__}: no linear layer after its encoder",
            "an encoder with a classification head",
            "Choose another base.",
        )
    return names[-1]


def _resize(base: PreTrainedModel, num_labels: int) -> None:
    """Replace the last linear layer where it does not have `num_labels` outputs."""
    name = _classifier(base)
    old = base.get_submodule(name)
    assert isinstance(old, nn.Linear)
    if old.out_features != num_labels:
        new = nn.Linear(
            old.in_features,
            num_labels,
            bias=old.bias is not None,
            device="meta",  # nothing is drawn from torch's global random state
            dtype=old.weight.dtype,
        ).to_empty(device=old.weight.device)
        parent, _, attribute = name.rpartition(".")
        setattr(base.get_submodule(parent), attribute, new.requires_grad_(False))
    base.config.num_labels = num_labels
    base.num_labels = num_labels
