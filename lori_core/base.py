"""The frozen base: load it as it will be used."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import transformers
from huggingface_hub.errors import StrictDataclassError
from safetensors import SafetensorError
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

from lori_core.base_folder import Family as Family
from lori_core.base_folder import base_family as base_family
from lori_core.base_folder import find_base as find_base
from lori_core.base_folder import (
    read_base_config,
    read_config_file,
    read_json_object,
    refuse_unsupported,
)
from lori_core.base_identity import tokenizer_files, weight_files
from lori_core.config import BaseConfig
from lori_core.errors import BadInput
from lori_core.heads import draw_head, head_parameters

_TOKENIZER_OBJECTS = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json",
)  # fmt: skip
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
_COMPLAINTS = (
    ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, SafetensorError,
    StrictDataclassError, TypeError, ValueError,
)  # fmt: skip
"""What transformers raises for files it cannot use."""


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


def refuse_dropout(model: nn.Module) -> None:
    """Our own promise: a base is loaded with every dropout at 0. Raises ValueError where it is not."""
    for name, module in model.named_modules():
        if isinstance(module, nn.Dropout) and module.p > 0:
            raise ValueError(f"{name} has dropout {module.p}; load the base with it at 0")
