"""The smallest real bases as folders, and task adapters with random contents."""

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import (
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from lori_core.artifact import read_task_file
from lori_core.config import AdapterConfig, BaseConfig
from lori_core.digests import canonical_json, sha256_json
from lori_core.masks import task_masks
from lori_core.probes import ProbeInput
from lori_core.shared_adapter import SharedAdapter, TaskAdapter, a_digests

VOCABULARY = 40


def llama_folder(folder: Path, *, dtype: torch.dtype = torch.float32, seed: int = 0) -> BaseConfig:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        attention_dropout=0.1,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = LlamaForCausalLM(config)
    model.to(dtype).save_pretrained(folder)
    return BaseConfig(path=str(folder))


def bert_folder(folder: Path, *, dtype: torch.dtype = torch.float16) -> BaseConfig:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
    )
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = BertModel(config)
    model.to(dtype).save_pretrained(folder)
    return BaseConfig(path=str(folder))


def random_task(
    layers: dict[str, tuple[int, int]],
    adapter: AdapterConfig,
    earlier: SharedAdapter,
    *,
    head: dict[str, torch.Tensor] | None = None,
    labels: tuple[str, ...] = (),
    dtype: torch.dtype = torch.float32,
    base_digest: str = "base",
    trained_a: bool = False,
) -> TaskAdapter:
    """The next task of a sequence, its mask chosen as in training and its values random."""
    position = earlier.version + 1
    generator = torch.Generator().manual_seed(position)
    scores = {n: torch.randn(s[0], adapter.r, generator=generator) for n, s in layers.items()}
    seed = adapter.seed + (position if adapter.protection == "separate" else 0)
    masks = {n: torch.ones_like(s, dtype=torch.bool) for n, s in scores.items()}
    a, digests = None, a_digests(seed, layers, adapter.r, dtype)
    if trained_a:
        from lori_core.tensor_digests import sha256_tensor

        a = {n: torch.randn(adapter.r, s[1], generator=generator) for n, s in layers.items()}
        digests = {n: sha256_tensor(matrix) for n, matrix in a.items()}
    else:
        masks = task_masks(
            scores,
            adapter=adapter,
            sparsity=1 - 1 / adapter.tasks_planned,
            position=position,
            protected=earlier.protected(earlier.version),
        )
    return TaskAdapter(
        task=f"task{position}",
        position=position,
        seed=seed,
        r=adapter.r,
        lora_alpha=adapter.lora_alpha,
        method=adapter.method,
        protection=adapter.protection,
        read=adapter.read,
        layers=layers,
        masks=masks,
        values={
            n: torch.randn(int(m.sum()), generator=generator).to(dtype) for n, m in masks.items()
        },
        head=head,
        labels=labels,
        a_digests=digests,
        base_digest=base_digest,
        parents=() if adapter.protection == "separate" else earlier.digests(),
        a=a,
    )


def random_sequence(
    layers: dict[str, tuple[int, int]], adapter: AdapterConfig, tasks: int, **head: object
) -> SharedAdapter:
    shared = SharedAdapter(())
    for _ in range(tasks):
        shared = SharedAdapter((*shared.adapters, random_task(layers, adapter, shared, **head)))  # type: ignore[arg-type]
    return shared


def probe_rows(count: int = 4, seed: int = 5) -> tuple[ProbeInput, ...]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for row in range(count):
        ids = torch.randint(3, VOCABULARY, (5 + row,), generator=generator).tolist()
        rows.append(ProbeInput(f"row-{row}", tuple(ids), 3))
    return tuple(rows)


def flip_bit(path: Path, offset: int) -> None:
    """Flip one bit of a file in place; a negative offset counts from its end."""
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(bytes(data))


def rewrite_header(path: Path, changes: Mapping[str, object]) -> None:
    """Edit the header of a `lori.safetensors` (None removes a key), its own digest made to fit."""
    stored = read_task_file(path)
    header = {k: v for k, v in {**stored.header, **changes}.items() if v is not None}
    header["sha256"] = sha256_json({k: v for k, v in header.items() if k != "sha256"})
    save_file(dict(stored.tensors), path, metadata={"lori": canonical_json(header)})


def edit_config(base: BaseConfig, **changes: object) -> None:
    path = Path(base.path) / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def tokenizer_folder(folder: Path, tokens: int) -> None:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel

    vocabulary = {"<unk>": 0, "<eos>": 1} | {f"w{i}": i for i in range(2, tokens)}
    inner = Tokenizer(WordLevel(vocabulary, unk_token="<unk>"))
    PreTrainedTokenizerFast(
        tokenizer_object=inner, unk_token="<unk>", eos_token="<eos>"
    ).save_pretrained(folder)
