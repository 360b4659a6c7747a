"""Somebody's PEFT LoRA folder, judged by its settings and the names in its weights. No torch.

A folder is taken only if a plain LoRA is all it is: a setting that this file does not know and that
is switched on may change what the adapter computes, and is refused by name. Pickles are never read.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open

from lori_core.digests import sha256_file
from lori_core.errors import BadInput, shown

WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
OURS = "lori.json"

PREFIX = "base_model.model."
"""What PEFT writes before the name of a layer."""

_PICKLES = ("*.bin", "*.pt", "*.pth", "*.ckpt", "*.pkl", "*.pickle")

_READ = {
    "peft_type", "task_type", "r", "lora_alpha", "bias", "init_lora_weights", "modules_to_save",
    "rank_pattern", "alpha_pattern", "base_model_name_or_path",
}  # fmt: skip
"""Settings that are looked at below."""

_HARMLESS = {
    "auto_mapping", "peft_version", "revision", "inference_mode", "lora_dropout", "target_modules",
    "exclude_modules", "layers_to_transform", "layers_pattern", "megatron_core",
    "qalora_group_size", "eva_config",
}  # fmt: skip
"""Settings that say how it was trained or which layers it is on (the weights say that)."""

_STARTS = (None, True, False, "gaussian", "orthogonal", "eva")
"""Values of `init_lora_weights` that leave the base as it is; PiSSA, OLoRA and their kin edit it."""

_NAMED = {"use_dora": "DoRA", "use_rslora": "rsLoRA", "lora_bias": "a bias in B"}


@dataclass(frozen=True, slots=True, kw_only=True)
class PeftFolder:
    """A plain LoRA as it lies there, its tensors not loaded."""

    path: Path

    kind: Literal["causal", "encoder"] | None
    """By its `task_type`; None where it names none."""

    r: int

    lora_alpha: float

    layers: Mapping[str, tuple[int, int]]
    """layer name -> (d_out, d_in), by name."""

    head: tuple[str, ...]
    """Names of an encoder's own head parameters, as in the base model."""

    base: str | None
    """The base it says it was made for: a folder or hub id, which may be gone or renamed."""

    labels: tuple[str, ...]
    """Names of an encoder's classes, where the folder says them."""

    digests: Mapping[str, str]
    """file name -> sha256: its identity."""

    @property
    def targets(self) -> tuple[str, ...]:
        """Last path component of each adapted layer."""
        return tuple(sorted({layer.rsplit(".", 1)[-1] for layer in self.layers}))


def read_peft_folder(path: Path) -> PeftFolder:
    """Look at a PEFT folder, its tensors left where they are.

    Raises:
        BadInput: no such folder, pickled weights, or something that is no plain LoRA; names it.
    """
    if not path.is_dir():
        found = "is not a folder" if path.exists() else "does not exist"
        raise BadInput(f"{path}: {found}", "the folder of a PEFT adapter", "Check the path.")
    config = _json(path / CONFIG)
    _refuse_pickles(path)
    kind = _kind(path, config)
    r, alpha = _number(path, config, "r"), _number(path, config, "lora_alpha")
    _refuse_odd(path, config, kind, r, alpha)
    layers, head = _layers(path, int(r))
    if head and kind != "encoder":
        raise _not_plain(path, f"holds {head[0]}", "lora_A and lora_B of linear layers alone")
    base = config.get("base_model_name_or_path")
    labels = (_json(path / OURS) if (path / OURS).is_file() else {}).get("labels") or ()
    if not isinstance(labels, list | tuple):
        raise _not_plain(path, f"labels in {OURS} is {shown(labels)}", "a list of names")
    return PeftFolder(
        path=path,
        kind=kind,
        r=int(r),
        lora_alpha=float(alpha),
        layers=layers,
        head=head,
        base=base if isinstance(base, str) and base else None,
        labels=tuple(str(each) for each in labels),
        digests={name: sha256_file(path / name) for name in (WEIGHTS, CONFIG)},
    )


def refuse_other_rank(folder: PeftFolder, r: int, lora_alpha: float, whose: str) -> None:
    """Raise BadInput where a folder's LoRA is of another rank or alpha than those it goes to."""
    if (folder.r, folder.lora_alpha) != (r, lora_alpha):
        raise BadInput(
            f"{folder.path}: r {folder.r}, lora_alpha {folder.lora_alpha:g}",
            f"r {r}, lora_alpha {lora_alpha:g}, as all of {whose}",
            "Adopt it into a sequence of its own.",
        )


def refuse_changed(folder: PeftFolder, digests: Mapping[str, str]) -> None:
    """Raise BadInput where a folder's files are no longer those of these digests."""
    for name, digest in digests.items():
        if sha256_file(folder.path / name) != digest:
            raise BadInput(
                f"{folder.path}: {name} was changed while it was adopted",
                "a folder that nobody writes to",
                "Run the same command again.",
            )


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(
            f"{path.parent}: has no {path.name}", "the folder of a PEFT adapter", "Check the path."
        ) from None
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{path}: is not JSON ({error})", "a PEFT adapter's settings") from None
    if not isinstance(value, dict):
        raise BadInput(f"{path}: is no JSON object", "a PEFT adapter's settings")
    return value


def _refuse_pickles(path: Path) -> None:
    if (path / WEIGHTS).is_file():
        return
    pickles = sorted(file.name for pattern in _PICKLES for file in path.glob(pattern))
    if pickles:
        raise BadInput(
            f"{path}: its weights are a pickle ({pickles[0]})",
            f"{WEIGHTS}",
            "Pickles can run code and are never opened here; save it again as safetensors.",
        )
    raise BadInput(f"{path}: has no {WEIGHTS}", "the folder of a PEFT adapter", "Check the path.")


def _kind(path: Path, config: Mapping[str, Any]) -> Literal["causal", "encoder"] | None:
    if config.get("peft_type") != "LORA":
        raise _not_plain(path, f"peft_type is {shown(config.get('peft_type'))}", "LORA")
    task = config.get("task_type")
    if task in (None, "CAUSAL_LM"):
        return None if task is None else "causal"
    if task == "SEQ_CLS":
        return "encoder"
    raise _not_plain(path, f"task_type is {shown(task)}", "CAUSAL_LM or SEQ_CLS")


def _number(path: Path, config: Mapping[str, Any], key: str) -> float:
    value = config.get(key)
    whole = key == "r"
    if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)):
        raise _not_plain(path, f"{key} is {shown(value)}", "a number")
    if not 0 < value < 2**16:
        raise _not_plain(path, f"{key} is {shown(value)}", "a number above 0")
    return float(value)


def _refuse_odd(
    path: Path, config: Mapping[str, Any], kind: str | None, r: float, alpha: float
) -> None:
    for key, value in config.items():
        if key not in _READ | _HARMLESS and value:
            what = f"{key} is on" if value is True else f"{key} is {json.dumps(value)[:60]}"
            raise _not_plain(path, f"it has {_NAMED[key]}" if key in _NAMED else what)
    if config.get("bias") not in (None, "none"):
        raise _not_plain(path, f"it trains biases (bias: {shown(config['bias'])})")
    if config.get("init_lora_weights") not in _STARTS:
        start = shown(config["init_lora_weights"])
        raise _not_plain(path, f"init_lora_weights {start} edits the base")
    for key, one in (("rank_pattern", r), ("alpha_pattern", alpha)):
        pattern = config.get(key) or {}
        if not isinstance(pattern, dict):
            raise _not_plain(path, f"{key} is {shown(pattern)}", "a number for each layer's name")
        if any(value != one for value in pattern.values()):
            raise _not_plain(path, f"{key} gives layers another", "one rank and one alpha")
    saved = config.get("modules_to_save") or []
    if not isinstance(saved, list) or not all(isinstance(each, str) for each in saved):
        raise _not_plain(path, f"modules_to_save is {shown(saved)}", "a list of names")
    if saved and kind != "encoder":
        raise _not_plain(path, f"it trains whole modules of the base ({', '.join(saved)})")


def _layers(path: Path, r: int) -> tuple[dict[str, tuple[int, int]], tuple[str, ...]]:
    """Every adapted layer with its (d_out, d_in), and the names of what else is stored."""
    shapes: dict[str, dict[str, tuple[int, ...]]] = {}
    head: list[str] = []
    try:
        with safe_open(path / WEIGHTS, framework="numpy") as file:
            for name in file.keys():  # noqa: SIM118  (safe_open is no mapping)
                part = file.get_slice(name)
                bare = name.removeprefix(PREFIX)
                if part.get_dtype() not in ("F32", "F16", "BF16"):
                    raise _not_plain(path, f"{name} is {part.get_dtype()}", "floating point")
                layer, _, what = bare.removesuffix(".weight").rpartition(".")
                if what in ("lora_A", "lora_B") and bare.endswith(".weight"):
                    shapes.setdefault(layer, {})[what] = tuple(part.get_shape())
                elif "lora_" in bare:
                    raise _not_plain(path, f"holds {name}", "lora_A and lora_B of linear layers")
                else:
                    head.append(bare)
    except (SafetensorError, OSError) as error:
        raise BadInput(
            f"{path / WEIGHTS}: is not a whole safetensors file ({error})",
            "a whole PEFT adapter",
            "Copy it again.",
        ) from error
    if not shapes:
        raise _not_plain(path, "holds no lora_A and lora_B", "a LoRA's weights")
    layers = {}
    for layer, parts in sorted(shapes.items()):
        a, b = parts.get("lora_A", ()), parts.get("lora_B", ())
        if len(a) != 2 or len(b) != 2 or a[0] != r or b[1] != r:
            raise _not_plain(
                path, f"layer {layer}: lora_A is {a}, lora_B is {b}", f"rank {r} in both"
            )
        layers[layer] = (b[0], a[1])
    return layers, tuple(head)


def _not_plain(path: Path, finding: str, expected: str = "a plain LoRA") -> BadInput:
    return BadInput(f"{path}: {finding}", expected, "Only a plain LoRA can be certified as it is.")
