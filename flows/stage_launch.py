"""How the training child is started: one process, or several that train together under torchrun.

torchrun (`python -m torch.distributed.run`) is bound to us and its processes to it, so none outlives
the run, however it ends. All of them are on this host: they meet at the loopback address.
"""

import os
import sys
from pathlib import Path

from flows.bound import bound_command
from lori_core.config import ResourcesConfig

SHARED_CORES = {"OMP_WAIT_POLICY": "PASSIVE"}
"""Threads of torch that wait, wait asleep: where cores are shared, spinning costs ten times the work."""

OWN_THREADS = "LORI_OWN_THREADS"
"""Set where the number of threads is our choice and not the user's: a narrow model then takes one."""

DEVICE = "LORI_RANKS_ON"
"""Where the processes of one training compute: `cpu` or `cuda`."""

TORCHRUN_SECONDS = 2.0
"""What torchrun itself takes to end its processes and leave, once they had their time."""


def launch_command(needs: ResourcesConfig, logs: Path, *, grace: float) -> list[str]:
    """The command of the training child.

    Args:
        needs: of a task.
        logs: a folder torchrun may litter.
        grace: seconds after which whoever tells the child to leave ends it: torchrun's processes have
            written their last checkpoint before, or are ended by it.
    """
    if needs.processes == 1:
        return bound_command(sys.executable, "-m", "flows.stage_worker")
    one_gpu_each = ["--virtual-local-rank"] if needs.gpus else []
    return bound_command(
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--standalone", "--nproc-per-node", str(needs.processes)),
        *("--local-addr", "127.0.0.1", "--log-dir", str(logs)),
        *("--shutdown-timeout", str(max(1, int(grace - TORCHRUN_SECONDS)))),
        *one_gpu_each,
        *("-m", "flows.stage_rank"),
    )


def launch_environment(needs: ResourcesConfig) -> dict[str, str]:
    """The environment of the training child; what the user set for threads and networks stays."""
    quiet = {"TOKENIZERS_PARALLELISM": "false"}
    if needs.processes == 1:
        return {**SHARED_CORES, **os.environ, **quiet}
    chosen = {} if needs.gpus else {"CUDA_VISIBLE_DEVICES": ""}
    if "OMP_NUM_THREADS" not in os.environ:
        cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
        chosen |= {"OMP_NUM_THREADS": str(max(1, cores // needs.processes)), OWN_THREADS: "1"}
    loopback = {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    device = {DEVICE: "cuda" if needs.gpus else "cpu"}
    return {**SHARED_CORES, **loopback, **os.environ, **quiet, **chosen, **device}
