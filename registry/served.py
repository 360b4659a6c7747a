"""A filed version as it serves outside this project: files checked, base referenced, never copied.

What a version serves by itself is its newest task under the read mode it was certified for: that is
the plain PEFT folder `adapter/` among its files, and nothing else is fetched. Another task, or
another read mode, is put together from `lori.safetensors` of this version and of every one before
it. Each manifest names the digest of the manifest before it, so the chain is checked as the files are.

torch, transformers and peft are imported when a version is opened, not before.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, cast, get_args

from lori_core.config import BaseConfig, Read
from lori_core.digests import sha256_json
from lori_core.errors import BadInput, DigestMismatch
from registry.artifacts import check_files
from registry.decisions import BARE_BASE
from registry.records import Json, StoredFile

if TYPE_CHECKING:
    from peft import PeftModel
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

    from lori_core.shared_adapter import EffectiveAdapter, SharedAdapter

ADAPTER = "adapter"
TASK_FILE = "lori.safetensors"
READS: tuple[Read, ...] = get_args(Read)

Stored = tuple[Json, Path]
"""A version's manifest, and the folder with its files."""


@dataclass(frozen=True)
class ServedVersion:
    """One version on its base, ready to answer for any task it has learned."""

    manifest: Json
    folder: Path
    fetch: Callable[[str], Stored]
    """Finds an earlier version by the digest of its manifest; nothing it finds is trusted."""

    _one_at_a_time: AbstractContextManager[bool] = field(default_factory=Lock)
    """There is one model, which holds what the last one who asked reads."""

    @property
    def name(self) -> str:
        """`sequence/version`, for people."""
        return f"{self.manifest['sequence']}/{self.manifest['version']}"

    def load(self) -> None:
        """Load the base and what the newest task reads: what is wrong with them shows now."""
        if self._bare:
            self._model.eval()
        else:
            self._prepare("", "")

    def answer(
        self, texts: Sequence[str], *, task: str = "", read: str = "", max_new_tokens: int = 64
    ) -> list[str]:
        """Answer each text: a causal model continues it greedily, an encoder names its label.

        Args:
            texts: prompts as the model reads them (no template is applied).
            task: the task whose adapter answers; "" is the newest. The bare base answers for any.
            read: the read mode; "" is the one the version was certified for.
            max_new_tokens: of a causal model's answer.

        Raises:
            BadInput: a task the version has not learned, or a read mode that is none.
            DigestMismatch: a file of an earlier version is not what was filed.
        """
        with self._one_at_a_time:
            labels, length = self._prepare(task, read)
            if self._family == "encoder":
                return self._classify(texts, labels, length)
            return [self._continue(text, max_new_tokens) for text in texts]

    @cached_property
    def _family(self) -> str:
        from lori_core.base_folder import base_family

        return base_family(self._base)

    @cached_property
    def _base(self) -> BaseConfig:
        return _checked_base(self.name, self.manifest)

    @cached_property
    def _tokenizer(self) -> "PreTrainedTokenizerBase":
        from lori_core.base import load_tokenizer

        return load_tokenizer(self._base)

    @cached_property
    def _model(self) -> "PeftModel | PreTrainedModel":
        """The base, with empty adapter layers on it unless this is the bare base."""
        import torch

        from lori_core.base import load_causal, load_encoder

        encoder = self._family == "encoder"
        base = load_encoder(self._base, 2, seed=0) if encoder else load_causal(self._base)
        model = base if self._own is None else _with_layers(base, self._own)
        return model.to("cuda" if torch.cuda.is_available() else "cpu").eval()

    @cached_property
    def _own(self) -> "EffectiveAdapter | None":
        """What the newest task reads: the plain PEFT folder. None for the bare base."""
        return None if self._bare else _plain_adapter(self.name, self.folder)

    @property
    def _bare(self) -> bool:
        return self.manifest["version"] == BARE_BASE

    @cached_property
    def _chain(self) -> tuple[Stored, ...]:
        """Every version from the first to this one, each manifest and file checked."""
        chain = [(self.manifest, self.folder)]
        while chain[0][0]["version"] != 1:
            manifest, _ = chain[0]
            if not isinstance(parent := manifest.get("parent"), str):
                raise BadInput(
                    f"version {manifest['sequence']}/{manifest['version']} does not say what it stands on",
                    "a version filed by a newer release",
                    "Serve the task it was learned for, or use `lori export`.",
                )
            found, folder = self.fetch(parent)
            if (digest := sha256_json(found)) != parent:
                raise DigestMismatch(f"{self.name}: the manifest before", parent, digest)
            check_files(f"{found['sequence']}/{found['version']}", folder, stored(found))
            chain.insert(0, (found, folder))
        return tuple(chain)

    @cached_property
    def _shared(self) -> "SharedAdapter":
        from lori_core.artifact import load_task_adapter
        from lori_core.shared_adapter import SharedAdapter

        return SharedAdapter(
            tuple(load_task_adapter(folder / TASK_FILE) for _, folder in self._chain)
        )

    def _prepare(self, task: str, read: str) -> tuple[tuple[str, ...], int | None]:
        """Put what a task reads into the model; its labels, and how many tokens it reads."""
        wanted = next((mode for mode in READS if mode == read), None)
        if read and wanted is None:
            raise BadInput(f"read {read!r}", f"one of {', '.join(READS)}")
        if self._own is None:
            if self._family == "encoder":
                raise BadInput(
                    f"{self.name} is the bare base, which has no head",
                    "a version with a learned task",
                )
            return (), None
        own = task in {"", self.manifest["task"]} and wanted in {None, self.manifest.get("read")}
        manifest, effective = (self.manifest, self._own) if own else self._of(task, wanted)
        if self._loaded.get("is") is not effective:
            from lori_core.effective import load_effective

            load_effective(cast("PeftModel", self._model), effective)
            self._loaded["is"] = effective
        length = manifest.get("max_length")
        return effective.labels, length if isinstance(length, int) else None

    @cached_property
    def _loaded(self) -> dict[str, "EffectiveAdapter"]:
        return {}

    @cached_property
    def _made(self) -> dict[tuple[int, Read], "EffectiveAdapter"]:
        return {}

    def _of(self, task: str, read: Read | None) -> "tuple[Json, EffectiveAdapter]":
        manifests = [manifest for manifest, _ in self._chain]
        names = [str(manifest["task"]) for manifest in manifests]
        if task and task not in names:
            raise BadInput(f"task {task!r} at {self.name}", f"one of {', '.join(names)}")
        position = names.index(task) + 1 if task else len(names)
        mode = read or cast(Read, self.manifest["read"])
        if (position, mode) not in self._made:
            self._made.clear()  # one beside the version's own: an adapter may be large
            made = self._shared.effective(position, len(names), mode)
            self._made[position, mode] = made
        return manifests[position - 1], self._made[position, mode]

    def _continue(self, prompt: str, max_new_tokens: int) -> str:
        import torch

        given = self._tokenizer(prompt, return_tensors="pt").to(self._model.device)
        with torch.no_grad():
            tokens = self._model.generate(**given, max_new_tokens=max_new_tokens, do_sample=False)
        fresh = tokens[0, given["input_ids"].shape[1] :]
        return str(self._tokenizer.decode(fresh, skip_special_tokens=True))

    def _classify(
        self, texts: Sequence[str], labels: tuple[str, ...], length: int | None
    ) -> list[str]:
        import torch

        from lori_core.encoding import encode_texts
        from lori_core.generation import asking, bare_model

        model = bare_model(self._model)
        answers = []
        with asking(model):
            for ids in encode_texts(texts, self._tokenizer, max_length=length):
                logits = model(input_ids=torch.tensor([ids], device=model.device)).logits
                answers.append(labels[int(logits[0].argmax())])
        return answers


def open_served(manifest: Json, folder: Path, fetch: Callable[[str], Stored]) -> ServedVersion:
    """Check a version's files and its base, then load both.

    Args:
        manifest: the version's manifest, as it was filed.
        folder: the version's files.
        fetch: finds an earlier version by the digest of its manifest, when a task needs it.

    Raises:
        DigestMismatch: a file, or the base, is not what was certified.
        BadInput: the version has no plain adapter.
    """
    served = ServedVersion(manifest, folder, fetch)
    check_files(served.name, folder, stored(manifest))
    served._prepare("", "") if not served._bare else served._model
    return served


def stored(manifest: Json) -> tuple[StoredFile, ...]:
    """The files a manifest lists."""
    files = cast(Mapping[str, Mapping[str, object]], manifest["files"])
    return tuple(
        StoredFile(path=path, sha256=cast(str, file["sha256"]), size=cast(int, file["size"]))
        for path, file in files.items()
    )


def _checked_base(name: str, manifest: Json) -> BaseConfig:
    """Where the base lies. Raises DigestMismatch when it is another one."""
    from lori_core.base_identity import identify_base

    told = cast(Mapping[str, str | None], manifest["base"])
    dtype = told.get("dtype") or "float32"
    if dtype not in {"float32", "bfloat16"}:
        raise BadInput(f"version {name}: base dtype {dtype}", "float32 or bfloat16")
    base = BaseConfig(
        path=cast(str, told["path"]),
        revision=told.get("revision"),
        dtype="bfloat16" if dtype == "bfloat16" else "float32",
    )
    found = identify_base(base.path, base.revision, base.dtype).digest
    if found != told["digest"]:
        raise DigestMismatch(f"{name}: the base at {base.path}", str(told["digest"]), found)
    return base


def _plain_adapter(name: str, folder: Path) -> "EffectiveAdapter":
    """The plain PEFT folder of a version, as what its newest task reads."""
    from lori_core.base_folder import read_json_object
    from lori_core.export import CONFIG, PROVENANCE, read_export, read_export_config
    from lori_core.shared_adapter import EffectiveAdapter

    plain = folder / ADAPTER
    if not (plain / CONFIG).is_file():
        raise BadInput(f"version {name}", f"a plain PEFT folder `{ADAPTER}/` among its files")
    config, tensors = read_export_config(plain), read_export(plain)
    about = read_json_object(plain, PROVENANCE) or {}
    head = {n.removeprefix("head."): t for n, t in tensors.items() if n.startswith("head.")}
    return EffectiveAdapter(
        task=str(about.get("task", "")),
        a={n.removesuffix(".lora_A"): t for n, t in tensors.items() if n.endswith(".lora_A")},
        b={n.removesuffix(".lora_B"): t for n, t in tensors.items() if n.endswith(".lora_B")},
        head=head or None,
        labels=tuple(cast(list[str], about.get("labels", []))),
        scaling=cast(float, config["lora_alpha"]) / cast(int, config["r"]),
    )


def _with_layers(base: "PreTrainedModel", effective: "EffectiveAdapter") -> "PeftModel":
    """The base with LoRA layers where the adapter has some; they are filled by `load_effective`."""
    from peft import LoraConfig, get_peft_model

    layers = list(effective.b)
    return get_peft_model(
        base, LoraConfig(r=effective.r, lora_dropout=0.0, bias="none", target_modules=layers)
    )
