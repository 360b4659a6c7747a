"""A filed version as it serves outside this project: files checked, base referenced, never copied.

It reads the plain PEFT folder `adapter/` among the version's files. torch, transformers and peft are
imported when a version is opened, not before.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

from lori_core.errors import BadInput, DigestMismatch
from registry.artifacts import check_files
from registry.records import Json, StoredFile

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

ADAPTER = "adapter"


@dataclass(frozen=True, slots=True)
class ServedAdapter:
    """A base with one version's adapter on it."""

    model: "PreTrainedModel"
    tokenizer: "PreTrainedTokenizerBase"

    def answer(self, prompts: Sequence[str], *, max_new_tokens: int) -> list[str]:
        """Continue each prompt greedily, one at a time; the answers without the prompts."""
        import torch

        answers = []
        for prompt in prompts:
            given = self.tokenizer(prompt, return_tensors="pt")
            with torch.no_grad():
                tokens = self.model.generate(
                    **given, max_new_tokens=max_new_tokens, do_sample=False
                )
            fresh = tokens[0, given["input_ids"].shape[1] :]
            answers.append(str(self.tokenizer.decode(fresh, skip_special_tokens=True)))
        return answers


def open_served(manifest: Json, folder: Path) -> ServedAdapter:
    """Check a version's files and its base, then load both.

    Args:
        manifest: the version's manifest, as it was filed.
        folder: the version's files.

    Raises:
        DigestMismatch: a file, or the base, is not what was certified.
        BadInput: the version has no plain adapter, or is a classifier.
    """
    name = f"{manifest['sequence']}/{manifest['version']}"
    check_files(name, folder, _files(manifest))
    if not (folder / ADAPTER / "adapter_config.json").is_file():
        raise BadInput(f"version {name}", f"a plain PEFT folder `{ADAPTER}/` among its files")
    from peft import PeftModel

    from lori_core.base import base_family, identify_base, load_causal, load_tokenizer
    from lori_core.config import BaseConfig

    stored = cast(Mapping[str, str | None], manifest["base"])
    dtype = stored.get("dtype") or "float32"
    if dtype not in {"float32", "bfloat16"}:
        raise BadInput(f"version {name}: base dtype {dtype}", "float32 or bfloat16")
    base = BaseConfig(
        path=cast(str, stored["path"]),
        revision=stored.get("revision"),
        dtype="bfloat16" if dtype == "bfloat16" else "float32",
    )
    found = identify_base(base.path, base.revision, base.dtype).digest
    if found != stored["digest"]:
        raise DigestMismatch(f"{name}: the base at {base.path}", str(stored["digest"]), found)
    if base_family(base) != "causal":
        raise BadInput(f"version {name} is a classifier", "a causal LM", "Use `lori predict`.")
    model = PeftModel.from_pretrained(load_causal(base), folder / ADAPTER)
    return ServedAdapter(model.eval(), load_tokenizer(base))


def _files(manifest: Json) -> tuple[StoredFile, ...]:
    files = cast(Mapping[str, Mapping[str, object]], manifest["files"])
    return tuple(
        StoredFile(path=path, sha256=cast(str, file["sha256"]), size=cast(int, file["size"]))
        for path, file in files.items()
    )
