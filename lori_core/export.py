"""A plain PEFT folder of what a task reads: anyone loads it without our code, to the same bits.

The folder holds just what every consumer understands: `lora_A` and `lora_B` weights under PEFT's
names, uniform rank and alpha, and (for an encoder) its head as `modules_to_save`. No mask, no
index: vLLM and llama.cpp refuse names they do not know.
"""

import json
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save
from torch import Tensor

from lori_core.base_folder import Family
from lori_core.config import AdapterConfig
from lori_core.digests import sha256_file, write_atomic, write_json
from lori_core.errors import BadInput
from lori_core.shared_adapter import EffectiveAdapter

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
PROVENANCE = "lori.json"

_PREFIX = "base_model.model."
_VLLM_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)


def export_peft(
    effective: EffectiveAdapter,
    *,
    base: str,
    adapter: AdapterConfig,
    family: Family,
    directory: Path,
    revision: str | None = None,
    provenance: Mapping[str, object] | None = None,
) -> dict[str, str]:
    """Write `effective` as a PEFT LoRA into `directory`.

    `PeftModel.from_pretrained(base_model, directory)` then computes, to the bit, what our model
    computes. An encoder is loaded with `AutoModelForSequenceClassification` and as many labels as
    `lori.json` names. A base stored in fp16 must be loaded with `dtype=torch.float32`.

    Args:
        effective: `SharedAdapter.effective(...)`.
        base: folder or hub id that goes into the file as the base's name.
        adapter: the sequence's settings; its r and lora_alpha go into the file as they are.
        family: `causal` or `encoder`.
        directory: made where it does not exist; files of the same name are replaced.
        revision: of a hub id.
        provenance: plain data for `lori.json` (task, version, digests), for people.

    Returns:
        file name -> sha256 of its bytes; equal adapters give equal bytes.

    Raises BadInput when the place cannot be written.
    """
    if adapter.r != effective.r or adapter.lora_alpha / adapter.r != effective.scaling:
        raise ValueError("the adapter settings are not those the effective adapter was made with")
    head = effective.head or {}
    tensors = {f"{_PREFIX}{layer}.lora_A.weight": a for layer, a in effective.a.items()}
    tensors |= {f"{_PREFIX}{layer}.lora_B.weight": b for layer, b in effective.b.items()}
    tensors |= {f"{_PREFIX}{name}": parameter for name, parameter in head.items()}
    whole = {name: t.detach().cpu().contiguous() for name, t in tensors.items()}
    config = peft_config(effective, adapter.lora_alpha, family)
    config |= {"base_model_name_or_path": base, "revision": revision}
    about = {
        **(provenance or {}),
        "task": effective.task,
        "effective_sha256": effective.digest,
        "labels": list(effective.labels),
    }
    write_atomic(directory / WEIGHTS, save(whole, metadata={"format": "pt"}))
    write_json(directory / CONFIG, config)
    write_json(directory / PROVENANCE, about)
    return {name: sha256_file(directory / name) for name in (WEIGHTS, CONFIG, PROVENANCE)}


def peft_config(
    effective: EffectiveAdapter, lora_alpha: float, family: Family
) -> dict[str, object]:
    """What `adapter_config.json` says of an effective adapter, the base's name left out."""
    head = effective.head or {}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if family == "causal" else "SEQ_CLS",
        "r": effective.r,
        "lora_alpha": int(lora_alpha) if float(lora_alpha).is_integer() else lora_alpha,
        "lora_dropout": 0.0,
        "target_modules": _targets(effective.b, family),
        "modules_to_save": head_modules(head, effective.b) if head else None,
        "bias": "none",
        "fan_in_fan_out": False,
        "use_rslora": False,
        "use_dora": False,
        "rank_pattern": {},
        "alpha_pattern": {},
        "inference_mode": True,
    }


def read_export_config(directory: Path) -> dict[str, object]:
    """A PEFT folder's settings without the base's name and revision, as `peft_config` gives them.

    Raises BadInput when the folder holds none.
    """
    try:
        config = json.loads((directory / CONFIG).read_text(encoding="utf-8"))
        return {k: v for k, v in config.items() if k not in ("base_model_name_or_path", "revision")}
    except (OSError, ValueError, AttributeError) as error:
        raise BadInput(
            f"{directory / CONFIG}: cannot be read ({error})",
            "a PEFT adapter's settings",
            "Export it again.",
        ) from error


def read_export(directory: Path) -> dict[str, Tensor]:
    """The tensors of a PEFT folder: `<layer>.lora_A`, `<layer>.lora_B` and `head.<parameter>`.

    Raises BadInput when the folder holds no whole adapter.
    """
    try:
        stored = load_file(directory / WEIGHTS)
    except (OSError, SafetensorError) as error:
        raise BadInput(
            f"{directory / WEIGHTS}: cannot be read ({error})",
            "a whole PEFT adapter",
            "Export it again.",
        ) from error
    tensors: dict[str, Tensor] = {}
    for name, tensor in stored.items():
        bare = name.removeprefix(_PREFIX)
        if bare.endswith((".lora_A.weight", ".lora_B.weight")):
            tensors[bare.removesuffix(".weight")] = tensor
        else:
            tensors[f"head.{bare}"] = tensor
    return tensors


def vllm_line(*, base: str, task: str, directory: Path, r: int) -> str:
    """The command that serves an exported causal adapter with vLLM.

    vLLM refuses ranks above `--max-lora-rank` (16 unless told otherwise) and takes only certain
    values for it. Encoders' heads are `modules_to_save`, which it does not serve. Raises BadInput
    for a rank beyond vLLM's largest.
    """
    rank = next((allowed for allowed in _VLLM_RANKS if allowed >= r), None)
    if rank is None:
        raise BadInput(f"r {r}", f"at most {_VLLM_RANKS[-1]} for vLLM", "Merge it into the base.")
    lora = ["--max-lora-rank", str(rank), "--lora-modules", f"{task}={directory}"]
    return shlex.join(["vllm", "serve", base, "--enable-lora", *lora])


def head_modules(head: Iterable[str], layers: Iterable[str]) -> list[str]:
    """Names of the modules that hold the head: the topmost ones that hold no adapted layer.

    `classifier.weight` gives `classifier`; `bert.pooler.dense.weight` gives `bert.pooler`, because
    `bert` holds adapted layers.
    """
    shared = {".".join(p[:i]) for p in (x.split(".") for x in layers) for i in range(1, len(p))}
    found: dict[str, None] = {}
    for name in head:
        parts = name.split(".")
        depth = next(i for i in range(1, len(parts)) if ".".join(parts[:i]) not in shared)
        found[".".join(parts[:depth])] = None
    return list(found)


def _targets(layers: Iterable[str], family: Family) -> list[str]:
    """Last components where they name the layers exactly; an encoder's `dense` would not."""
    if family == "encoder":
        return list(layers)
    return sorted({layer.rsplit(".", 1)[-1] for layer in layers})
