"""The frozen A, made from a seed: the same bits on every machine, in every version of torch."""

import hashlib
import math

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor


def seeded_a(seed: int, layer: str, r: int, d_in: int) -> Float[Tensor, "{r} {d_in}"]:
    """A of one layer, uniform on ±1/√d_in, in fp32 on the CPU.

    It depends on (seed, layer, r, d_in) alone: not on the order of layers, on which others are
    adapted, nor on the process. Numpy promises the integer stream of Philox for ever, but not its
    floats (NEP 19), so we take 24 bits of each integer and scale them ourselves, exactly in fp32.

    Args:
        seed: the sequence's (or, under `separate`, the task's) seed.
        layer: module path without PEFT's prefix, e.g. `model.layers.0.mlp.down_proj`.
        r: rank.
        d_in: inputs of the layer.

    Source:
        LoRI (arXiv:2504.07448) keeps A frozen and random. The distribution is PEFT's
        kaiming_uniform(a=√5); the reference code never seeds it, we do.
    """
    name = f"lori-A-v1|{seed}|{layer}|{r}x{d_in}"
    key = int.from_bytes(hashlib.sha256(name.encode()).digest()[:16], "little")
    top_bits = np.random.Philox(key=key).random_raw(r * d_in) >> np.uint64(40)  # (r · d_in,)
    unit = (top_bits.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-24)  # in (0, 1)
    bound = np.float32(1.0 / math.sqrt(d_in))
    return torch.from_numpy(((np.float32(2.0) * unit - np.float32(1.0)) * bound).reshape(r, d_in))
