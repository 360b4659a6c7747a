"""Torch's fused attention, where the bits need not be those of the reference runtime.

A base is loaded with plain attention, which certificates are made of. The fused kernel gives the same
up to rounding, in a third of the time for long rows, and keeps nothing of the size length x length.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from transformers import PreTrainedModel


@contextmanager
def fused_attention(model: PreTrainedModel) -> Iterator[None]:
    """Compute with it while the block runs, then as before; a model that has none stays as it is."""
    if not _can_fuse(model):
        yield
        return
    attention = model.config._attn_implementation
    try:
        model.set_attn_implementation("sdpa")
        yield
    finally:
        model.set_attn_implementation(attention)


def trains_fused(model: PreTrainedModel, device: str) -> bool:
    """Whether training on `device` uses it: on a GPU its gradients add up in no fixed order."""
    return device == "cpu" and _can_fuse(model)


def _can_fuse(model: PreTrainedModel) -> bool:
    """Whether it has the kernel and takes it after it was loaded; a Falcon has it and does not."""
    return bool(model._supports_sdpa and model._can_set_attn_implementation())
