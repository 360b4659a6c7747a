"""PEFT folders as others make them: by PEFT itself, random numbers in A and B."""

import json
from collections.abc import Callable
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"


def peft_lora(
    base: Path, folder: Path, *, seed: int = 1, dtype: torch.dtype | None = None, **settings: object
) -> Path:
    """A LoRA of a causal base, saved by PEFT."""
    plain = {"r": 4, "lora_alpha": 6, "target_modules": ["q_proj", "v_proj"]}
    config = LoraConfig(**{**plain, **settings}, task_type="CAUSAL_LM")  # type: ignore[arg-type]
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = get_peft_model(AutoModelForCausalLM.from_pretrained(base), config)
        _shake(model)
    if dtype is not None:
        model.to(dtype)
    model.save_pretrained(str(folder))
    return folder


def peft_classifier(base: Path, folder: Path, *, labels: int = 3) -> Path:
    """A LoRA of an encoder with its trained classifier, saved by PEFT."""
    config = LoraConfig(r=4, lora_alpha=8, target_modules=["query", "value"], task_type="SEQ_CLS")
    with torch.random.fork_rng():
        torch.manual_seed(2)
        plain = AutoModelForSequenceClassification.from_pretrained(
            base, num_labels=labels, dtype=torch.float32
        )
        model = get_peft_model(plain, config)
        _shake(model)
    model.save_pretrained(str(folder))
    return folder


def edited(folder: Path, **settings: object) -> Path:
    """The folder with other settings."""
    path = folder / CONFIG
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    return folder


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> Path:
    """The folder with other tensors."""
    tensors = load_file(folder / WEIGHTS)
    change(tensors)
    save_file(tensors, folder / WEIGHTS)
    return folder


def _shake(model: torch.nn.Module) -> None:
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.3)
