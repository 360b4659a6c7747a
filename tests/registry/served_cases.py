"""Filed sequences of three small real tasks, and an independent answer for each task and read mode."""

from dataclasses import replace
from pathlib import Path

import torch
from peft import PeftModel
from registry_examples import TASKS, sequence_record, task_record, version_record
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from lori_core.adapters import adapter_shapes
from lori_core.artifact import save_task_adapter
from lori_core.base import meta_model
from lori_core.base_folder import Family
from lori_core.base_identity import identify_base
from lori_core.config import AdapterConfig, BaseConfig, Read
from lori_core.export import export_peft
from lori_core.heads import head_parameters
from lori_core.shared_adapter import SharedAdapter, content_digest
from registry.store import Registry
from tests.lori_core.adapter_cases import random_task

PROMPTS = ["a b c", "c b a d", "d e"]
WORDS = ["[PAD]", "<s>", "</s>", *"abcdefgh"]
LABELS = (("left", "right"), ("red", "green", "blue"), ("no", "yes"))
ADAPTER = AdapterConfig(r=4, lora_alpha=32.0, tasks_planned=3, seed=0)


def make_base(folder: Path, family: Family) -> Path:
    """A random model of a few thousand weights, and a tokenizer of eleven words."""
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "intermediate_size": 32, "max_position_embeddings": 64}
    sizes |= {"num_hidden_layers": 2, "num_attention_heads": 2, "vocab_size": len(WORDS)}
    if family == "causal":
        ends = {"bos_token_id": 1, "eos_token_id": 2, "pad_token_id": 0}
        LlamaForCausalLM(LlamaConfig(**sizes, **ends)).save_pretrained(folder)
    else:
        BertModel(BertConfig(**sizes)).save_pretrained(folder)
    words = {word: number for number, word in enumerate(WORDS)}
    core = Tokenizer(models.WordLevel(words, unk_token="a"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=core, bos_token="<s>", eos_token="</s>", pad_token="[PAD]", unk_token="a"
    ).save_pretrained(folder)
    return folder


def learned(base: Path, family: Family) -> SharedAdapter:
    """Three tasks with random values, their masks chosen as in training."""
    config = BaseConfig(path=str(base))
    digest = identify_base(base, None, "float32").digest
    shared = SharedAdapter(())
    for position, labels in enumerate(LABELS, start=1):
        bare = meta_model(config, len(labels))
        head = None
        if family == "encoder":
            draw = torch.Generator().manual_seed(position)
            shapes = {name: p.shape for name, p in head_parameters(bare).items()}
            head = {name: torch.randn(s, generator=draw) for name, s in shapes.items()}
        task = random_task(
            adapter_shapes(bare, ADAPTER),
            ADAPTER,
            shared,
            head=head,
            labels=labels if family == "encoder" else (),
            base_digest=digest,
        )
        named = replace(task, task=TASKS[position - 1])
        shared = SharedAdapter((*shared.adapters, named))
    return shared


def file_sequence(registry: Registry, base: Path, family: Family, work: Path) -> SharedAdapter:
    """File the three versions as the corridor does: the task's own file and its plain PEFT folder."""
    shared = learned(base, family)
    registry.declare_sequence(
        replace(
            sequence_record(),
            base_path=str(base),
            base_digest=identify_base(base, None, "float32").digest,
        )
    )
    for position, adapter in enumerate(shared.adapters, start=1):
        folder = work / str(position)
        folder.mkdir(parents=True)
        save_task_adapter(adapter, folder / "lori.safetensors")
        export(shared, base, family, position, position, "inherited", folder / "adapter")
        registry.declare_task("assistant", task_record(position))
        record = replace(version_record(position), adapter_sha256=content_digest(adapter))
        registry.file_version(record, folder)
    return shared


def export(
    shared: SharedAdapter,
    base: Path,
    family: Family,
    position: int,
    version: int,
    read: Read,
    folder: Path,
) -> None:
    """What `lori export` writes."""
    export_peft(
        shared.effective(position, version, read),
        base=str(base),
        adapter=ADAPTER,
        family=family,
        directory=folder,
    )


def plain_answers(base: Path, family: Family, adapter: Path | None, labels: int) -> list[str]:
    """What transformers and PEFT answer without any code of ours; labels by number."""
    tokenizer = AutoTokenizer.from_pretrained(base)
    if family == "causal":
        model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    else:
        model = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    model.eval()
    answers = []
    for prompt in PROMPTS:
        given = tokenizer(prompt, return_tensors="pt")
        if family == "encoder":
            answers.append(str(int(model(**given).logits[0].argmax())))
            continue
        tokens = model.generate(**given, max_new_tokens=5, do_sample=False)
        fresh = tokens[0, given["input_ids"].shape[1] :]
        answers.append(tokenizer.decode(fresh, skip_special_tokens=True))
    return answers
