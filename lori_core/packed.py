"""LoRI in the optimiser: one flat fp32 parameter holds just the entries being trained.

B stays an ordinary dense PEFT weight. A hook gathers the dense gradient of B into the flat
parameter and frees it; after the optimiser's step `push` scatters the values back. No other entry
of B is ever written, so none can drift, whatever the optimiser does.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int32
from peft import PeftModel
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from lori_core.adapters import lora_layers
from lori_core.errors import MaskMismatch


@dataclass(frozen=True)
class _Slot:
    """Where one layer's entries lie: in B by index, in the flat parameter by slice."""

    layer: str
    weight: nn.Parameter  # (d_out, r)
    index: Int32[Tensor, " nnz"] | None  # row-major positions in B; None is all of B
    part: slice


class PackedB(nn.Module):
    """The entries of B being trained, of the whole model, as one flat fp32 parameter `values`.

    Needs ordinary gradients on B and changes nothing in the forward pass. Register it with the
    model (so that clipping sees `values`), give the optimiser `[packed.values]` with weight decay
    0, and call `push` after each step. Entries outside `masks` stay as they are, to the bit.
    """

    values: nn.Parameter
    """Shape (n,): the masked entries, layer after layer, row-major within a layer."""

    def __init__(
        self, peft_model: PeftModel, masks: Mapping[str, Bool[Tensor, "_out _r"]] | None = None
    ) -> None:
        """Pack the entries of `masks` (layer name -> entries to train); None packs all of B.

        A layer that `masks` leaves out is not trained. For calibration pass the unprotected
        entries. The values start as B holds them. Raises MaskMismatch when a mask does not fit.
        """
        super().__init__()
        self._slots: list[_Slot] = []
        self._hooks: list[RemovableHandle] = []
        parts: list[Tensor] = []
        start = 0
        for layer, module in lora_layers(peft_model).items():
            weight: nn.Parameter = module.lora_B["default"].weight
            index = _index(layer, weight, masks)
            flat = weight.detach().reshape(-1)
            part = (flat if index is None else flat.index_select(0, index)).float()
            self._slots.append(_Slot(layer, weight, index, slice(start, start + part.numel())))
            parts.append(part)
            start += part.numel()
        self.values = nn.Parameter(torch.cat(parts).clone())
        for slot in self._slots:
            hook = self._gather(slot)
            self._hooks.append(slot.weight.register_post_accumulate_grad_hook(hook))  # type: ignore[no-untyped-call]

    @torch.no_grad()
    def push(self) -> None:
        """Write `values` into B, rounded to B's type. Call it after every optimiser step."""
        for slot in self._slots:
            flat = slot.weight.view(-1)
            part = self.values[slot.part].to(flat.dtype)
            if slot.index is None:
                flat.copy_(part)
            else:
                flat.index_copy_(0, slot.index.long(), part)  # torch wants int64 here, briefly

    @torch.no_grad()
    def pull(self) -> None:
        """Read `values` from B again, after B was written by other means."""
        for slot in self._slots:
            flat = slot.weight.view(-1)
            self.values[slot.part] = (
                flat if slot.index is None else flat.index_select(0, slot.index)
            ).float()

    def layer_values(self) -> dict[str, Float[Tensor, " nnz"]]:
        """layer name -> a copy of its trained entries in fp32, row-major."""
        return {slot.layer: self.values.detach()[slot.part].clone() for slot in self._slots}

    def remove(self) -> None:
        """Take the hooks off: gradients of B are ordinary again. B keeps what was pushed."""
        for handle in self._hooks:
            handle.remove()
        self._hooks.clear()

    def _gather(self, slot: _Slot) -> Callable[[Tensor], None]:
        def gather(weight: Tensor) -> None:
            if weight.grad is None:
                return
            if self.values.grad is None:
                self.values.grad = torch.zeros_like(self.values)
            dense = weight.grad.reshape(-1)
            part = dense if slot.index is None else dense.index_select(0, slot.index)
            self.values.grad[slot.part].add_(part)
            weight.grad = None  # the dense gradient lives for one layer at a time

        return gather


def _index(
    layer: str, weight: Tensor, masks: Mapping[str, Tensor] | None
) -> Int32[Tensor, " nnz"] | None:
    if masks is None:
        return None
    mask = masks.get(layer)
    if mask is None:
        return torch.empty(0, dtype=torch.int32, device=weight.device)
    if mask.shape != weight.shape:
        raise MaskMismatch(layer, tuple(mask.shape), tuple(weight.shape))
    return mask.reshape(-1).nonzero().flatten().to(weight.device, torch.int32)
