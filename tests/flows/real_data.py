"""Sequence files over the real data and models that LORI_DATA and LORI_MODELS name."""

import os
from pathlib import Path

import pytest
import yaml

needs_real_data = pytest.mark.skipif(
    not (os.environ.get("LORI_DATA") and os.environ.get("LORI_MODELS")),
    reason="LORI_DATA and LORI_MODELS are not set: real rows and models are needed",
)


def rows_of(task: str, split: str) -> str:
    """The file of a split, plain or gzipped."""
    folder = Path(os.environ["LORI_DATA"]) / task
    plain = folder / f"{split}.jsonl"
    return str(plain if plain.exists() else plain.with_name(f"{split}.jsonl.gz"))


def base(name: str) -> str:
    return str(Path(os.environ["LORI_MODELS"]) / name)


def lori_order(folder: Path, *, train: int, test: int) -> Path:
    """safety, nlu/mix, gsm8k, mbpp on stories260K: real rows of every kind, every metric."""
    metrics = {
        "safety": ("safety", "refusal"),
        "nlu": ("nlu/mix", "accuracy"),
        "maths": ("math/gsm8k", "exact_number"),
        "code": ("code/mbpp", "pass_at_k"),
    }
    tasks: list[dict[str, object]] = []
    for name, (where, metric) in metrics.items():
        task: dict[str, object] = {
            "name": name,
            "train": {"path": rows_of(where, "train"), "limit": train},
            "test": {"path": rows_of(where, "test"), "limit": test},
            "metric": metric,
            "max_new_tokens": 16,
            "allow_dropped": True,
        }
        if metric == "refusal":
            task["over_refusal"] = {"path": rows_of(where, "overrefusal_test"), "limit": test}
        if metric == "pass_at_k":
            task["allow_code_execution"] = True
        tasks.append(task)
    return _write(
        folder / "lori.yaml",
        {
            "sequence": "lori",
            "base": base("stories260K"),
            "adapter": {"r": 8, "lora_alpha": 16, "tasks_planned": 4},
            "training": {"learning_rate_dense": 1e-3, "learning_rate": 5e-3, "max_length": 400},
            "tasks": tasks,
            "guards": ["safety"],
        },
    )


def cl_order(folder: Path, names: tuple[str, ...], *, train: int, test: int) -> Path:
    """Classification tasks of the standard continual-learning benchmark on MiniLM."""
    tasks = [
        {
            "name": name,
            "train": {"path": rows_of(f"cl/{name}", "train"), "limit": train},
            "test": {"path": rows_of(f"cl/{name}", "test"), "limit": test},
            "metric": "accuracy",
        }
        for name in names
    ]
    return _write(
        folder / "cl.yaml",
        {
            "sequence": "cl",
            "base": base("minilm-l6-fp16"),
            "adapter": {"r": 16, "lora_alpha": 32, "tasks_planned": 10},
            "training": {"learning_rate_dense": 3e-4, "learning_rate": 3e-3, "max_length": 96},
            "tasks": tasks,
        },
    )


def _write(path: Path, content: dict[str, object]) -> Path:
    path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
    return path
