"""Which entries of B a task uses when it is read: isolated, inherited, cumulative."""

from collections.abc import Mapping, Sequence

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from lori_core.config import Read
from lori_core.errors import MaskMismatch
from lori_core.masks import LayerMasks, union


def read_mask(
    read: Read, position: int, written: Sequence[LayerMasks]
) -> dict[str, Bool[Tensor, "_out _r"]]:
    """The read mask of the task at `position`, of what has been written so far.

    isolated R_t = W_t · inherited R_t = W_1 ∪ … ∪ W_t · cumulative R_t = all of W. A task not
    yet written reads nothing (isolated) or everything earlier (inherited): that is what it sees
    while it trains, and what forward transfer is measured with.

    Args:
        read: the read mode.
        position: 1 for the first task.
        written: write masks of tasks 1..k, in order.

    Returns:
        layer name -> mask; empty when nothing has been written.
    """
    if position < 1:
        raise ValueError(f"positions start at 1, not {position}")
    whole = union(written)
    if read == "cumulative":
        return whole
    first = position - 1 if read == "isolated" else 0
    mine = union(written[first:position])
    return {layer: mine.get(layer, torch.zeros_like(mask)) for layer, mask in whole.items()}


def effective_b(
    b: Mapping[str, Float[Tensor, "_out _r"]], mask: LayerMasks
) -> dict[str, Float[Tensor, "_out _r"]]:
    """B as a read mask leaves it: the entry where the mask is set, +0.0 elsewhere.

    A layer the mask does not name is read as zero. Raises MaskMismatch when shapes differ.
    """
    read: dict[str, Tensor] = {}
    for layer, weight in b.items():
        if layer not in mask:
            read[layer] = torch.zeros_like(weight)
            continue
        if mask[layer].shape != weight.shape:
            raise MaskMismatch(layer, tuple(mask[layer].shape), tuple(weight.shape))
        read[layer] = torch.where(mask[layer].to(weight.device), weight, torch.zeros_like(weight))
    return read
