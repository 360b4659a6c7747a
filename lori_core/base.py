"""The frozen base: load it as it will be used, and know it by the digest of every weight."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError, safe_open
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PretrainedConfig,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from lori_core.base_folder import (
    SMALL_FILES,
    read_base_config,
    read_config_file,
    read_json_object,
    refuse_unsupported,
)
from lori_core.base_folder import Family as Family
from lori_core.base_folder import base_family as base_family
from lori_core.base_folder import find_base as find_base
from lori_core.config import BaseConfig
from lori_core.digests import sha256_file, sha256_json
from lori_core.errors import BadInput
from lori_core.heads import draw_head, head_parameters
from lori_core.tensor_digests import sha256_tensor

_INDEX = "model.safetensors.index.json"
_OTHER_FILES = ("config.json", "generation_config.json", _INDEX)  # small, but no tokenizer's
_TOKENIZER_OBJECTS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_VOLATILE = ("_name_or_path", "transformers_version")  # say where and when, not what
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_COMPLAINTS = (
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SafetensorError,
    StrictDataclassError, TypeError, ValueError,
)  # fmt: skip
"""What transformers raises for files it cannot use."""


@dataclass(frozen=True)
class BaseIdentity:
    """What a base is, by content: equal for equal bits wherever they lie."""

    digest: str
    """Over all that follows, the config and the tokens that end an answer."""
    tensors: Mapping[str, str]
    """Name of each stored weight -> sha256 of its stored bits."""
    tokenizer: str
    """sha256 over the tokenizer's files: all small files but the config's."""
    dtype: str
    """The type it is held in, `float32` or `bfloat16`."""


def identify_base(
    path: Path | str, revision: str | None = None, dtype: Literal["float32", "bfloat16"] = "float32"
) -> BaseIdentity:
    """Hash every stored weight, the tokenizer, the config and the end tokens of a base.

    Raises BadInput when it does not exist, is not a model, or its weights cannot be read.
    """
    folder = find_base(BaseConfig(path=str(path), revision=revision, dtype=dtype))
    config = {k: v for k, v in read_config_file(folder).items() if k not in _VOLATILE}
    tensors: dict[str, str] = {}
    for file in weight_files(folder):
        try:
            with safe_open(file, framework="pt") as stored:
                for name in stored.keys():  # noqa: SIM118  (safe_open is no mapping)
                    tensors[name] = sha256_tensor(stored.get_tensor(name))
        except SafetensorError as error:
            raise BadInput(
                f"base {file}: not a readable safetensors file",
                "whole weights",
                "Copy the base again.",
            ) from error
    tokenizer = sha256_json(
        {str(f.relative_to(folder)): sha256_file(f) for f in tokenizer_files(folder)}
    )
    generation = read_json_object(folder, "generation_config.json") or {}
    content = {
        "config": config,
        "tensors": tensors,
        "tokenizer": tokenizer,
        "dtype": dtype,
        "eos_token_id": generation.get("eos_token_id"),
    }
    return BaseIdentity(sha256_json(content), tensors, tokenizer, dtype)


def tokenizer_files(folder: Path) -> list[Path]:
    """The small files of a base that a tokenizer or its chat template may be read from."""
    patterns = (*SMALL_FILES, "additional_chat_templates/*.jinja")
    found = {f for pattern in patterns for f in folder.glob(pattern) if f.is_file()}
    return sorted(f for f in found if f.name not in _OTHER_FILES)


def weight_files(folder: Path) -> list[Path]:
    """The base's safetensors files: one, or those its index names.

    Raises BadInput if there are none, or both: transformers would load the one and not the others.
    """
    index = read_json_object(folder, _INDEX)
    files = [folder / "model.safetensors"]
    if index is not None:
        if files[0].is_file():
            raise BadInput(
                f"base {folder}: holds model.safetensors and {_INDEX}",
                "its weights once, in one file or in those of an index",
                "Remove the one that is not meant.",
            )
        named = index.get("weight_map")
        if not isinstance(named, dict) or not all(isinstance(n, str) for n in named.values()):
            named = {}
        if not named:
            raise BadInput(
                f"base {folder}: {_INDEX} names no files", "a weight_map", "Copy the base again."
            )
        files = [folder / name for name in sorted(set(named.values()))]
    for file in files:
        if not file.is_file():
            raise BadInput(
                f"base {folder}: {file.name} is missing",
                "a model's folder with its weights as *.safetensors",
                "Other weight files are never read: they can run code.",
            )
    return files


def load_causal(base: BaseConfig) -> PreTrainedModel:
    """The base as a causal LM: frozen, in eval mode, all dropout 0, eager attention, no cache.

    It is held in `base.dtype` whatever it was stored in (fp16 weights become fp32). Raises
    BadInput when the folder is no causal LM or lacks weights.
    """
    _expect_family(base, "causal")
    folder = find_base(base)
    model, missing = _load(AutoModelForCausalLM, folder, _config(folder), base)
    if missing:
        raise _weights_missing(base, missing)
    return model


def load_encoder(base: BaseConfig, num_labels: int, seed: int) -> PreTrainedModel:
    """The base as a sequence classifier with `num_labels` classes, as `load_causal` loads.

    What the base does not store of its head is drawn from `seed`, the same bits on every machine
    (`heads.draw_head`); the global random state is left as it was. Raises BadInput when the folder
    is no encoder or lacks weights outside the head.
    """
    _expect_family(base, "encoder")
    folder = find_base(base)
    config = _config(folder)
    config.num_labels = num_labels
    config.problem_type = "single_label_classification"
    with torch.random.fork_rng(devices=[]):
        model, missing = _load(AutoModelForSequenceClassification, folder, config, base)
    head = head_parameters(model)
    if outside := [name for name in missing if name not in head]:
        raise _weights_missing(base, outside)
    draw_head({name: head[name] for name in missing}, seed)
    return model


def load_tokenizer(base: BaseConfig) -> PreTrainedTokenizerBase:
    """The base's tokenizer; a padding token it lacks becomes its end token, never a new one.

    Raises BadInput when there is none, or when it has more tokens than the base has embeddings:
    a resized embedding is trained by nobody, stored nowhere, and voids every certificate.
    """
    folder = find_base(base, weights=False)
    if not tokenizer_files(folder):
        raise BadInput(f"base {base.path}: has no tokenizer", "tokenizer.json beside the weights")
    for name in _TOKENIZER_OBJECTS:
        read_json_object(folder, name)
    with _in_one_line(
        f"base {base.path}: its tokenizer cannot be read", "a tokenizer that transformers loads"
    ):
        tokenizer = _from_files(folder)
    vocabulary = read_base_config(base).get("vocab_size")
    if isinstance(vocabulary, int) and len(tokenizer) > vocabulary:
        raise BadInput(
            f"base {base.path}: its tokenizer has {len(tokenizer)} tokens, its embedding {vocabulary}",
            "no token without an embedding",
            "Remove the added tokens; embeddings are never resized.",
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def _from_files(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer of a folder; what `tokenizers` says by bare `Exception` becomes ValueError."""
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except Exception as error:
        if type(error) is not Exception:
            raise
        raise ValueError(f"tokenizer.json: {error}") from error
    return tokenizer


def meta_model(base: BaseConfig, num_labels: int = 2) -> PreTrainedModel:
    """The base without its weights, on the meta device: for shapes and counts.

    Raises BadInput as `base_family` does.
    """
    family = base_family(base)
    config = _config(find_base(base, weights=False))
    with _in_one_line(_cannot(base), _FITTING), torch.device("meta"):
        if family == "causal":
            model: PreTrainedModel = AutoModelForCausalLM.from_config(config)
        else:
            config.num_labels = num_labels
            model = AutoModelForSequenceClassification.from_config(config)
    return model


def _expect_family(base: BaseConfig, family: Family) -> None:
    if (found := base_family(base)) != family:
        raise BadInput(f"base {base.path}: is of family {found}", f"family {family}")


def _config(folder: Path) -> PretrainedConfig:
    raw = read_config_file(folder)
    refuse_unsupported(str(folder), raw)
    with _in_one_line(
        f"base {folder}: transformers does not know it", "a model type of this transformers release"
    ):
        config: PretrainedConfig = AutoConfig.from_pretrained(folder)
    for key, value in config.to_dict().items():
        if ("drop" in key) and isinstance(value, float):
            setattr(config, key, 0.0)
    config.use_cache = False
    return config


def _load(
    kind: type[AutoModelForCausalLM] | type[AutoModelForSequenceClassification],
    folder: Path,
    config: PretrainedConfig,
    base: BaseConfig,
) -> tuple[PreTrainedModel, list[str]]:
    weight_files(folder)
    read_json_object(folder, "generation_config.json")
    with _in_one_line(_cannot(base), _FITTING, "Copy the base again."), _quiet():
        model, info = kind.from_pretrained(
            folder,
            config=config,
            dtype=_DTYPES[base.dtype],
            attn_implementation="eager",
            use_safetensors=True,
            output_loading_info=True,
        )
    unused = [n for n in sorted(info["unexpected_keys"]) if any(p.isdigit() for p in n.split("."))]
    if unused:
        raise BadInput(
            f"base {base.path}: stores {unused[0]}, which its config.json leaves out "
            f"({len(unused)} weights of its blocks unused)",
            "a config.json that describes all blocks of its weights",
            "Copy the base again.",
        )
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    model.requires_grad_(False)
    model.eval()
    return model, sorted(info["missing_keys"])


_FITTING = "a config.json of its model type, and weights that fit it"


def _cannot(base: BaseConfig) -> str:
    return f"base {base.path}: cannot be loaded"


@contextmanager
def _in_one_line(what: str, expected: str, remedy: str = "") -> Iterator[None]:
    """Turn what transformers raises for files it cannot use into one line of ours."""
    try:
        yield
    except _COMPLAINTS as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise BadInput(f"{what} ({reason})", expected, remedy) from error


def _weights_missing(base: BaseConfig, missing: list[str]) -> BadInput:
    return BadInput(
        f"base {base.path}: stores no {missing[0]} ({len(missing)} weights missing)",
        "all weights of the model its config.json describes",
        "Copy the base again.",
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' loading bars and reports off stderr: we report what matters ourselves."""
    verbosity = transformers.logging.get_verbosity()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
