"""A base with one task's adapter added to its weights: a model of its own, without a certificate.

W + (lora_alpha / r) · B A is rounded once where the adapter's own path is not, so its answers are
close and not the same; how close is measured on the task's probes and written beside the weights.
"""

import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn

from lori_core.adapters import attach
from lori_core.base import base_family, find_base, load_causal, load_encoder
from lori_core.base_folder import read_base_config, read_json_object
from lori_core.base_identity import tokenizer_files
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.digests import sha256_file, write_json
from lori_core.effective import load_effective
from lori_core.errors import BadInput
from lori_core.probes import ProbeInput
from lori_core.runtime import fingerprint, reference_runtime
from lori_core.shared_adapter import EffectiveAdapter

MARK = "lori-merged.json"
"""The file that says what a merged model is."""

CONFIG_KEY = "lori_merged"
"""The same, in short, in its config.json."""

NO_CERTIFICATE = (
    "No certificate covers this model: its weights are not the base's, and its answers were "
    "compared with those of the certified adapter on a few rows only."
)


@dataclass(frozen=True, slots=True)
class Merged:
    """What was written."""

    files: Mapping[str, str]
    """file name -> sha256."""

    largest_difference: float
    """Between the logits of adapter and merged model, over all positions of the probes."""

    rows: int
    """How many probes."""


def merge_into_base(
    effective: EffectiveAdapter,
    *,
    base: BaseConfig,
    base_digest: str,
    adapter: AdapterConfig,
    probes: Sequence[ProbeInput],
    directory: Path,
    provenance: Mapping[str, object],
) -> Merged:
    """Write a whole model that transformers loads by itself, whole or not at all.

    Args:
        effective: what the task reads.
        base: where the base lies.
        base_digest: its identity, for the mark.
        adapter: the sequence's settings.
        probes: rows to measure the difference on, at least one.
        directory: new, or an empty folder.
        provenance: plain data for the mark (sequence, version, read, digests).

    Raises:
        BadInput: the base cannot be loaded, or the place cannot be written.
    """
    family = base_family(base)
    if family == "causal":
        bare = load_causal(base)
    else:
        bare = load_encoder(base, max(2, len(effective.labels)), adapter.seed)
    model = attach(bare, adapter, seed=adapter.seed)
    load_effective(model, effective)
    before = _logits(model, probes)
    merged: Any = model.merge_and_unload()
    after = _logits(merged, probes)
    gap = max(float((a - b).abs().max()) for a, b in zip(before, after, strict=True))
    with reference_runtime():
        runtime = fingerprint()
    mark = {
        **provenance,
        "certificate": None,
        "note": NO_CERTIFICATE,
        "task": effective.task,
        "effective_sha256": effective.digest,
        "base_digest": base_digest,
        "logits": {"largest_difference": gap, "rows": len(probes), "runtime": runtime},
    }
    try:
        directory.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=directory.parent, prefix=".merge-") as fresh:
            made = Path(fresh) / "model"
            transformers.logging.disable_progress_bar()
            merged.save_pretrained(made)
            _settings_of_the_base(base, effective, made, mark)
            write_json(made / MARK, mark)
            files = {path.name: sha256_file(path) for path in sorted(made.iterdir())}
            made.rename(directory)
    except OSError as error:
        raise BadInput(
            f"{directory}: cannot be written ({error.strerror or error})",
            "a new folder, with room for the whole model",
            "Free some space or choose another place.",
        ) from error
    return Merged(files, gap, len(probes))


def _settings_of_the_base(
    base: BaseConfig, effective: EffectiveAdapter, made: Path, mark: Mapping[str, object]
) -> None:
    """Config, generation settings and tokenizer as the base has them, with the mark and the head."""
    config = {k: v for k, v in read_base_config(base).items() if k != "torch_dtype"}
    written = read_json_object(made, "config.json") or {}
    config["dtype"] = base.dtype
    config["architectures"] = written.get("architectures")
    if effective.labels:
        config["id2label"] = {str(i): label for i, label in enumerate(effective.labels)}
        config["label2id"] = {label: i for i, label in enumerate(effective.labels)}
        config["problem_type"] = "single_label_classification"
    short = ("certificate", "note", "effective_sha256", "base_digest")
    config[CONFIG_KEY] = {key: mark[key] for key in short} | {"details": MARK}
    write_json(made / "config.json", config)
    folder = find_base(base)
    (made / "generation_config.json").unlink(missing_ok=True)
    generation = folder / "generation_config.json"
    for file in [*tokenizer_files(folder), *([generation] if generation.is_file() else [])]:
        place = made / file.relative_to(folder)
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(file, place)


def _logits(model: nn.Module, probes: Sequence[ProbeInput]) -> list[torch.Tensor]:
    """Every logit of every probe, one row at a time, in the reference runtime."""
    model.eval()
    with reference_runtime(), torch.inference_mode():
        return [
            model(
                input_ids=torch.tensor([row.input_ids]),
                attention_mask=torch.ones(1, len(row.input_ids), dtype=torch.long),
            ).logits.float()
            for row in probes
        ]
