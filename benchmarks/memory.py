"""How much memory a step takes beyond what the process holds at rest (Linux)."""

import ctypes
import gc
from collections.abc import Callable
from pathlib import Path


def _status_kib(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1])
    raise RuntimeError(f"/proc/self/status has no {field}")


def step_peak_bytes(step: Callable[[], None]) -> int:
    """Peak resident bytes of one step over the resident bytes before it.

    Writing 5 to clear_refs resets the kernel's high-water mark of this process. glibc is asked to
    give back what it holds free, or a step would find its memory there and seem to need none; run
    with MALLOC_MMAP_THRESHOLD_=65536 (as `make bench` does) so that tensors are given back at once.
    """
    step()  # what is made once (moments, buffers) is there before we look
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_kib("VmRSS")
    step()
    return 1024 * max(0, _status_kib("VmHWM") - before)
