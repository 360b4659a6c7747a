"""The reference runtime: where bits are comparable, and what tells one such place from another."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import peft
import torch
import transformers

from lori_core.tensor_digests import dtype_name

_MKLDNN: Any = torch.backends.mkldnn  # torch gives its precision settings no types
_CPU_FIELDS = ("vendor_id", "cpu family", "model", "CPU implementer", "CPU part")


def fingerprint(dtype: torch.dtype = torch.float32) -> dict[str, str]:
    """What the bits of a forward pass in `dtype` depend on beyond the model, as it is set now.

    Libraries, CPU, threads and precision. Two equal fingerprints taken in `reference_runtime`
    promise equal bits there; two different ones do not promise different ones.
    """
    return {
        "torch": torch.__version__,
        "numpy": np.__version__,
        "transformers": transformers.__version__,
        "peft": peft.__version__,
        "machine": platform.machine(),
        "cpu": _cpu_model(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "dtype": dtype_name(dtype),
        "threads": str(torch.get_num_threads()),
        "mkldnn": str(torch.backends.mkldnn.enabled),
        "float32_matmul": str(_MKLDNN.matmul.fp32_precision),
    }


WIDTH_FOR_THREADS = 256
"""Hidden size from which more than one thread pays. Below it the matrices of a step are so small
that handing them out costs more than it saves (docs/lab-notebook.md has the figures)."""


def useful_threads(hidden_size: int) -> int:
    """The number of threads for a model of this width: torch's own choice, or 1 for a narrow one."""
    return torch.get_num_threads() if hidden_size >= WIDTH_FOR_THREADS else 1


@contextmanager
def reference_runtime() -> Iterator[None]:
    """One thread, deterministic algorithms and whole fp32 while the block runs, then as before.

    Where `torch.set_float32_matmul_precision` allows it, fp32 layers are computed in bf16 on the
    CPUs that can: here they never are.
    """
    threads = torch.get_num_threads()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    kernels = (_MKLDNN.matmul, _MKLDNN.conv)
    precisions = [kernel.fp32_precision for kernel in kernels]
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    for kernel in kernels:
        kernel.fp32_precision = "ieee"
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        for kernel, precision in zip(kernels, precisions, strict=True):
            kernel.fp32_precision = precision


def _cpu_model() -> str:
    """Maker, family and model: matrix libraries choose their kernels by them."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n", 1)[0].splitlines()
    except OSError:
        return platform.processor()
    fields = dict(line.split(":", 1) for line in lines if ":" in line)
    named = {key.strip(): value.strip() for key, value in fields.items()}
    return " ".join(named[key] for key in _CPU_FIELDS if key in named)
