"""Where a task waits for a worker: one queue for each number of GPUs a task may need."""

from lori_core.config import TaskConfig

CPU_QUEUE = "cpu"

SUBMIT_QUEUE = "submit"
"""Runs that only write down that a file was submitted: they must not wait behind a training."""


def queue_of(task: TaskConfig) -> str:
    """The queue of a task: `cpu`, or `gpu-N` for one that needs N GPUs."""
    return queue_for(task.resources.gpus)


def queue_for(gpus: int) -> str:
    """The queue of tasks that need so many GPUs."""
    return CPU_QUEUE if gpus == 0 else f"gpu-{gpus}"
