"""Content keys: a stage with the same key has the same result, wherever and whenever it runs.

A key holds everything that decides a stage's bits and nothing else: no path, no time, no name of
a machine. A finished stage is found again by it, after a kill as after a year.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict

from lori_core.config import SequenceConfig, TaskConfig
from lori_core.digests import sha256_json
from registry.snapshots import data_key as data_key

METHOD = 2
"""Raise it when the same settings would be learned to other bits: old stages are then not reused."""

UNDECISIVE = {"save_steps", "checkpoint_minutes"}
"""Training settings that change no bit of the result."""


def task_settings(task: TaskConfig) -> dict[str, object]:
    """A task's settings that decide what is learned and how it is scored, without its paths.

    Where rows come from is left out: the digests of the rows stand for it. What only permits
    (`allow_leak`, ...) is left out too, and what decides where it runs (`resources`).
    """
    training = {k: v for k, v in asdict(task.training).items() if k not in UNDECISIVE}
    succession = {} if task.supersedes is None else {"supersedes": task.supersedes}
    return {
        **succession,  # only where it is said: what was learned before the key existed stays as it is
        "name": task.name,
        "prompt": task.prompt,
        "completion": task.completion,
        "metric": task.metric,
        "max_new_tokens": task.max_new_tokens,
        "k": task.k,
        "sparsity": task.sparsity,
        "training": training,
    }


def adapter_settings(config: SequenceConfig) -> dict[str, object]:
    """The adapter settings of a sequence as plain data."""
    settings = asdict(config.adapter)
    if not isinstance(config.adapter.target_modules, str):
        settings["target_modules"] = list(config.adapter.target_modules)
    return settings


def task_identity(
    config: SequenceConfig,
    position: int,
    *,
    base: str,
    data: Mapping[str, str],
    earlier: Sequence[str],
) -> str:
    """Digest of everything that decides the adapter of the task at `position` (from 1).

    Args:
        config: the sequence.
        position: of the task.
        base: digest of the base.
        data: role -> digest of its rows.
        earlier: content digests of the adapters learned before, in order.
    """
    return sha256_json(
        {
            "method": METHOD,
            "base": base,
            "adapter": adapter_settings(config),
            "task": task_settings(config.tasks[position - 1]),
            "position": position,
            "data": dict(data),
            "earlier": list(earlier),
        }
    )


def stage_key(stage: str, *identity: str) -> str:
    """The key of one stage, from the digests that decide it."""
    return sha256_json({"stage": stage, "identity": list(identity)})
