"""An existing plain LoRA as a task adapter of ours: the same numbers, nothing trained.

Values are kept in fp32, which holds every bf16 and fp16 exactly and is what PEFT itself computes
with; so the adopted adapter answers as the folder did, to the bit.
"""

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from lori_core.config import AdapterConfig
from lori_core.errors import BadInput
from lori_core.peft_folder import PREFIX, WEIGHTS, PeftFolder, refuse_other_rank
from lori_core.shared_adapter import TaskAdapter
from lori_core.tensor_digests import sha256_tensor


def adopt_task(
    folder: PeftFolder,
    *,
    task: str,
    position: int,
    adapter: AdapterConfig,
    shapes: Mapping[str, tuple[int, int]],
    base_digest: str,
    head: Mapping[str, Tensor] | None = None,
    labels: tuple[str, ...] = (),
) -> TaskAdapter:
    """The folder's LoRA as the task at `position` of a sequence of separate plain LoRAs.

    A layer of the sequence that the folder does not adapt gets an A and a B of zeros: it computes
    what the base does.

    Args:
        folder: from `read_peft_folder`.
        task: its name.
        position: from 1.
        adapter: the sequence's settings (`method: lora`, `protection: separate`).
        shapes: `adapters.adapter_shapes` of the base with these settings.
        base_digest: the base's identity.
        head: `base_head` with what the folder stores on top; None for a causal model.
        labels: an encoder's classes.

    Raises:
        BadInput: a layer that is not the base's, another shape, rank or alpha, numbers that are
            none, or weights that cannot be read.
    """
    refuse_other_shapes(folder, adapter, shapes)
    stored = read_tensors(folder)
    r = adapter.r
    a, values = {}, {}
    for layer, (d_out, d_in) in shapes.items():
        a[layer] = stored.get(f"{layer}.lora_A.weight", torch.zeros(r, d_in))
        values[layer] = stored.get(f"{layer}.lora_B.weight", torch.zeros(d_out, r)).flatten()
    return TaskAdapter(
        task=task,
        position=position,
        seed=adapter.seed,
        r=r,
        lora_alpha=adapter.lora_alpha,
        method="lora",
        protection="separate",
        read="isolated",
        layers=dict(shapes),
        masks={n: torch.ones(d_out, r, dtype=torch.bool) for n, (d_out, _) in shapes.items()},
        values=values,
        head=head,
        labels=labels,
        a_digests={layer: sha256_tensor(matrix) for layer, matrix in a.items()},
        base_digest=base_digest,
        parents=(),
        a=a,
    )


def refuse_other_shapes(
    folder: PeftFolder, adapter: AdapterConfig, shapes: Mapping[str, tuple[int, int]]
) -> None:
    """Raise BadInput where a folder's LoRA does not fit the sequence's layers."""
    refuse_other_rank(folder, adapter.r, adapter.lora_alpha, "this sequence")
    for layer, (d_out, d_in) in folder.layers.items():
        if layer not in shapes:
            raise BadInput(
                f"{folder.path}: adapts layer {layer}",
                f"the layers of this sequence ({len(shapes)}, such as {next(iter(shapes))})",
                "Adopt it into a sequence of its own.",
            )
        if (d_out, d_in) != shapes[layer]:
            raise BadInput(
                f"{folder.path}: layer {layer} is for a linear layer of {d_in} to {d_out}",
                f"{shapes[layer][1]} to {shapes[layer][0]}, as the base has it",
                "It was made for another base.",
            )


def refuse_foreign_layers(folder: PeftFolder, shapes: Mapping[str, tuple[int, int]]) -> None:
    """Raise BadInput where a folder adapts what is no linear layer of the base's blocks.

    Args:
        folder: from `read_peft_folder`.
        shapes: of all linear layers of the blocks.
    """
    for layer in folder.layers:
        if layer not in shapes:
            raise BadInput(
                f"{folder.path}: adapts {layer}, which is no linear layer of this base's blocks",
                f"layers such as {next(iter(shapes))}",
                "It was made for another base, or for more than its blocks.",
            )


def adopted_head(
    folder: PeftFolder, drawn: Mapping[str, Tensor], pretrained: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """An encoder's whole head: what the folder stores, and what the base itself has of it.

    Args:
        folder: from `read_peft_folder`.
        drawn: every parameter of the head of the base, by name.
        pretrained: the part of it that the base stores.

    Raises:
        BadInput: the folder lacks a part that nobody else has, or stores what is no head.
    """
    stored = read_tensors(folder)
    if odd := [name for name in folder.head if name not in drawn]:
        raise BadInput(
            f"{folder.path}: holds {odd[0]}",
            f"LoRA weights, and the head of this base ({', '.join(drawn)})",
            "Only a plain LoRA can be certified as it is.",
        )
    if lost := [name for name in drawn if name not in folder.head and name not in pretrained]:
        raise BadInput(
            f"{folder.path}: has no {lost[0]}", "the trained head beside the LoRA", "Save it whole."
        )
    return {n: stored[n] if n in folder.head else pretrained[n].float() for n in drawn}


def read_tensors(folder: PeftFolder) -> dict[str, Tensor]:
    """The folder's tensors in fp32, PEFT's prefix taken off. Raises BadInput for damaged ones."""
    path: Path = folder.path / WEIGHTS
    try:
        stored = load_file(path)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{path}: cannot be read ({error})", "a whole PEFT adapter", "Copy it again."
        ) from error
    tensors = {name.removeprefix(PREFIX): t.float().contiguous() for name, t in stored.items()}
    for name, tensor in tensors.items():
        if not bool(tensor.isfinite().all()):
            raise BadInput(f"{path}: {name} holds NaN or infinity", "numbers", "Train it again.")
    return tensors
