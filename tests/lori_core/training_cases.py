"""The smallest real models and rows that training can run on; used by several tests."""

import gc
from collections.abc import Mapping

import torch
from peft import PeftModel
from torch import Tensor
from transformers import BertConfig, BertForSequenceClassification, LlamaConfig, LlamaForCausalLM

from lori_core.adapters import attach
from lori_core.config import AdapterConfig, TrainingConfig
from lori_core.encoding import IGNORED, EncodedRow
from lori_core.heads import pretrained_head
from lori_core.phase import PhaseSettings
from lori_core.phases import Ground, Lesson

gc.freeze()  # Trainer collects garbage whenever it starts: spare it everything that was imported
torch.set_num_threads(1)  # tiny tensors: more threads only wait for each other
VOCABULARY = 48
LABELS = ("no", "yes", "maybe")


def tiny_llama() -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=64,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = LlamaForCausalLM(config)
    model.requires_grad_(False)
    return model.eval()


def tiny_bert(num_labels: int = 3) -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=num_labels,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(12)
        model = BertForSequenceClassification(config)
    model.requires_grad_(False)
    return model.eval()


def causal_rows(count: int = 14, seed: int = 0) -> list[EncodedRow]:
    """Rows of different lengths, prompts and completions alike."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        prompt = int(torch.randint(2, 9, (), generator=generator))
        completion = int(torch.randint(1, 6, (), generator=generator))
        ids = torch.randint(3, VOCABULARY, (prompt + completion,), generator=generator).tolist()
        labels = [IGNORED] * prompt + ids[prompt:]
        rows.append(EncodedRow(f"row-{seed}-{i}", tuple(ids), tuple(labels), prompt))
    return rows


def encoder_rows(count: int = 14, seed: int = 0, classes: int = 3) -> list[EncodedRow]:
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for i in range(count):
        length = int(torch.randint(3, 12, (), generator=generator))
        ids = torch.randint(3, VOCABULARY, (length,), generator=generator).tolist()
        rows.append(EncodedRow(f"row-{seed}-{i}", tuple(ids), (i % classes,), length))
    return rows


ADAPTER = AdapterConfig(r=4, lora_alpha=8.0, tasks_planned=4, seed=3)
TRAINING = TrainingConfig(
    train_batch_size=4,
    learning_rate=1e-2,
    learning_rate_dense=5e-3,
    learning_rate_head=2e-2,
    num_train_epochs=1.5,
    save_steps=50,
)


def settings(**changes: object) -> PhaseSettings:
    usual: dict[str, object] = {
        "task": "sums",
        "phase": "train",
        "family": "causal",
        "seed": 3,
        "learning_rate": 1e-2,
        "learning_rate_head": 2e-2,
        "num_train_epochs": 1.5,
        "train_batch_size": 4,
        "gradient_accumulation_steps": 1,
        "max_grad_norm": 1.0,
        "save_steps": 2,
        "pad_id": 0,
    }
    return PhaseSettings(**(usual | changes))  # type: ignore[arg-type]


def llama_with_adapter(
    adapter: AdapterConfig = ADAPTER, dtype: torch.dtype = torch.float32
) -> PeftModel:
    return attach(tiny_llama().to(dtype), adapter, seed=adapter.seed)


def bert_with_adapter(adapter: AdapterConfig = ADAPTER) -> PeftModel:
    return attach(tiny_bert(), adapter, seed=adapter.seed)


def causal_ground(adapter: AdapterConfig = ADAPTER) -> Ground:
    return Ground(
        adapter=adapter, family="causal", base_digest="b" * 64, pad_id=0, pretrained_head={}
    )


def encoder_ground(adapter: AdapterConfig = ADAPTER) -> Ground:
    return Ground(
        adapter=adapter,
        family="encoder",
        base_digest="b" * 64,
        pad_id=0,
        pretrained_head=pretrained_head(tiny_bert()),
    )


def causal_lesson(task: str = "sums", seed: int = 0) -> Lesson:
    return Lesson(task=task, rows=causal_rows(seed=seed), training=TRAINING)


def encoder_lesson(task: str = "moods", seed: int = 0, classes: int = 3) -> Lesson:
    rows = encoder_rows(seed=seed, classes=classes)
    return Lesson(task=task, rows=rows, training=TRAINING, labels=LABELS[:classes])


def random_masks(model: PeftModel, share: float = 0.3, seed: int = 5) -> dict[str, Tensor]:
    from lori_core.adapters import read_b

    generator = torch.Generator().manual_seed(seed)
    return {n: torch.rand(b.shape, generator=generator) < share for n, b in read_b(model).items()}


def same(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> bool:
    """Equal names and equal bits."""
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
