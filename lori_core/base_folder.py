"""Where a base lies and what family it is of, from its folder and config.json alone. No torch."""

import json
import re
from pathlib import Path
from typing import Literal

from lori_core.config import BaseConfig
from lori_core.errors import BadInput

Family = Literal["causal", "encoder"]

_ENCODERS = frozenset(
    {
        "albert", "bert", "camembert", "deberta", "deberta-v2", "distilbert", "electra", "ernie",
        "modernbert", "mpnet", "nomic_bert", "roberta", "xlm-roberta",
    }
)  # fmt: skip
_EXPERT_KEYS = ("num_experts", "num_local_experts", "n_routed_experts", "moe_num_experts")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[\w.-]+)?")
SMALL_FILES = ("*.json", "*.txt", "*.model", "*.jinja")
"""What lies beside the weights: config, tokenizer, chat templates."""


def find_base(base: BaseConfig, *, weights: bool = True) -> Path:
    """The folder that holds the base: the one named, or the hub's snapshot of it.

    A local folder comes first. With `weights` False only the small files of a hub id are fetched:
    enough for its config and its tokenizer. Raises BadInput when it does not exist, the hub cannot
    give it, or it holds an adapter, which transformers would load with it unasked.
    """
    folder = _folder(base, weights=weights)
    if (folder / "adapter_config.json").exists():
        raise BadInput(
            f"base {base.path}: holds an adapter_config.json",
            "a base without an adapter",
            "Name the base that the adapter was made for, or merge the adapter into it.",
        )
    return folder


def _folder(base: BaseConfig, *, weights: bool) -> Path:
    path = Path(base.path)
    if path.is_dir():
        return path
    if path.exists() or path.is_absolute() or not _HUB_ID.fullmatch(base.path):
        raise BadInput(
            f"base {base.path}: {'is not a folder' if path.exists() else 'does not exist'}",
            "a folder with config.json and *.safetensors, or a model id of the hub",
            "Check `base:` in the sequence file.",
        )
    return _from_hub(base, [*SMALL_FILES, *["*.safetensors"] * weights])


def read_base_config(base: BaseConfig) -> dict[str, object]:
    """The base's config.json. Raises BadInput when it is missing, not JSON, or of no model."""
    return read_config_file(find_base(base, weights=False))


def read_config_file(folder: Path) -> dict[str, object]:
    """A folder's config.json. Raises BadInput when it is missing, not JSON, or of no model."""
    config = read_json_object(folder, "config.json")
    if config is None:
        raise _not_a_model(folder, "has no config.json")
    if not isinstance(config.get("model_type"), str):
        raise _not_a_model(folder, "its config.json names no model_type")
    return config


def read_json_object(folder: Path, name: str) -> dict[str, object] | None:
    """A JSON file of a base; None where there is none. Raises BadInput when it is no object."""
    path = folder / name
    if not path.is_file():
        return None
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _not_a_model(folder, f"its {name} is not JSON") from error
    if not isinstance(value, dict):
        raise _not_a_model(folder, f"its {name} is not a JSON object")
    return value


def base_family(base: BaseConfig) -> Family:
    """Causal LM or encoder, from config.json alone.

    Raises BadInput for a base that does not exist or is not a model, for another family, for
    mixture-of-experts and for quantised weights.
    """
    config = read_base_config(base)
    refuse_unsupported(base.path, config)
    named = config.get("architectures")
    architectures = [str(x) for x in named] if isinstance(named, list) else []
    kind = config["model_type"]
    if kind in _ENCODERS and not config.get("is_decoder") and not config.get("is_encoder_decoder"):
        return "encoder"
    if any(x.endswith(("ForCausalLM", "LMHeadModel")) for x in architectures) and not config.get(
        "is_encoder_decoder"
    ):
        return "causal"
    raise BadInput(
        f"base {base.path}: {', '.join(architectures) or 'no architecture'} (model_type {kind})",
        "a causal LM (…ForCausalLM) or an encoder (BERT and its kin)",
        "Other families are not supported.",
    )


def refuse_unsupported(where: str, config: dict[str, object]) -> None:
    """Raise BadInput for what would void a certificate: quantised bases, mixture-of-experts."""
    if config.get("quantization_config"):
        raise BadInput(
            f"base {where}: its weights are quantised",
            "a base in float32, bfloat16 or float16",
            "Quantised bases are not supported yet; use the original weights.",
        )
    if config.get("transformers_weights"):
        raise BadInput(
            f"base {where}: its config.json names a weight file of its own (transformers_weights)",
            "model.safetensors, or the files of its index",
            "Remove transformers_weights from config.json.",
        )
    for key in _EXPERT_KEYS:
        count = config.get(key)
        if isinstance(count, int) and count > 1:
            raise BadInput(
                f"base {where}: {key} is {count}",
                "a base without fused mixture-of-experts layers",
                "They are not supported yet.",
            )


def _not_a_model(folder: Path, finding: str) -> BadInput:
    return BadInput(
        f"base {folder}: {finding}",
        "a model's folder with config.json and *.safetensors",
        "Check `base:` in the sequence file.",
    )


def _from_hub(base: BaseConfig, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download  # only where a base is not a local folder
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(base.path, revision=base.revision, allow_patterns=files))
    except (HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OSError) as error:
        raise BadInput(
            f"base {base.path}: does not exist here, and the hub did not give it "
            f"({type(error).__name__})",
            "an existing folder, or a model id the hub knows",
            "Check the spelling, the revision and the network (HF_HUB_OFFLINE).",
        ) from error
