"""sha256 of tensors: type, shape and bits, whatever the device, strides or library version."""

from collections.abc import Mapping

import torch
from jaxtyping import Shaped
from torch import Tensor

from lori_core.digests import sha256_array, sha256_json


def sha256_tensor(t: Shaped[Tensor, "..."]) -> str:
    """`digests.sha256_array` of `t`: over its type, its shape and its row-major little-endian bytes.

    -0.0 and 0.0 differ, as do two NaNs of different bits: this is about bits, not values.
    """
    flat = t.detach().to("cpu").contiguous().reshape(-1)
    # bf16 has no numpy type; its bytes do. Every platform torch runs on is little-endian.
    bits = flat.view(torch.uint8).numpy().data if flat.numel() else b""
    return sha256_array(dtype_name(t.dtype), t.shape, [bits])


def sha256_tensors(tensors: Mapping[str, Shaped[Tensor, "..."]]) -> str:
    """The sha256 of named tensors together; the order of the mapping does not matter."""
    return sha256_json({name: sha256_tensor(t) for name, t in tensors.items()})


def dtype_name(dtype: torch.dtype) -> str:
    """`float32` for torch.float32, as files and settings spell it."""
    return str(dtype).removeprefix("torch.")
