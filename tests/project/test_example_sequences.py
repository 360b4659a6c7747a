"""The sequence files for real models: they are read, say what the paper says, and count right.

No weights are needed: the models are built on the meta device from their published configurations.
"""

from pathlib import Path

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    LlamaConfig,
    MistralConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from lori_core.adapters import adapter_shapes, trainable_counts
from lori_core.config import AdapterConfig, SequenceConfig, task_sparsity
from lori_core.sequence_file import load_sequence

FOLDER = Path(__file__).parents[2] / "examples/sequences"
FILES = sorted(FOLDER.glob("*.yaml"))

ARCHITECTURES: dict[str, PreTrainedConfig] = {
    "HuggingFaceTB/SmolLM2-135M": LlamaConfig(
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        vocab_size=49152,
        tie_word_embeddings=True,
    ),
    "Qwen/Qwen2.5-0.5B": Qwen2Config(
        hidden_size=896,
        intermediate_size=4864,
        num_hidden_layers=24,
        num_attention_heads=14,
        num_key_value_heads=2,
        vocab_size=151936,
        tie_word_embeddings=True,
    ),
    "meta-llama/Meta-Llama-3-8B": LlamaConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=128256,
    ),
    "mistralai/Mistral-7B-v0.1": MistralConfig(
        hidden_size=4096,
        intermediate_size=14336,
        num_hidden_layers=32,
        num_attention_heads=32,
        num_key_value_heads=8,
        vocab_size=32000,
    ),
}
COUNTS = {
    "HuggingFaceTB/SmolLM2-135M": (9_768_960, 4_976_640, 497_664),
    "Qwen/Qwen2.5-0.5B": (17_596_416, 9_732_096, 973_210),
    "meta-llama/Meta-Llama-3-8B": (83_886_080, 44_040_192, 4_404_019),
    "mistralai/Mistral-7B-v0.1": (83_886_080, 44_040_192, 4_404_019),
}


def counts(base: str, adapter: AdapterConfig, sparsity: float) -> tuple[int, int, int]:
    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(ARCHITECTURES[base])
    counted = trainable_counts(adapter_shapes(model, adapter), adapter.r, sparsity)
    return counted.lora, counted.lori_d, counted.lori_s


def by_formula(config: PreTrainedConfig, r: int) -> tuple[int, int]:
    """A and B, and B alone, from the widths of q, k, v, o, gate, up and down."""
    hidden, inner = config.hidden_size, config.intermediate_size
    kv = hidden // config.num_attention_heads * config.num_key_value_heads
    widths = [(hidden, hidden), (kv, hidden), (kv, hidden), (hidden, hidden)]
    widths += [(inner, hidden), (inner, hidden), (hidden, inner)]
    layers = config.num_hidden_layers
    return layers * r * sum(o + i for o, i in widths), layers * r * sum(o for o, _ in widths)


def loaded() -> list[tuple[str, SequenceConfig]]:
    return [(file.stem, load_sequence(file)) for file in FILES]


def test_there_is_a_file_for_each_model() -> None:
    names = [name for name, _ in loaded()]
    assert names == ["llama-3-8b-lori", "qwen2.5-0.5b", "smollm2-135m"]
    assert [config.sequence for _, config in loaded()] == names


@pytest.mark.parametrize(("name", "config"), loaded(), ids=lambda value: str(value)[:16])
def test_every_file_holds_the_papers_order_and_settings(name: str, config: SequenceConfig) -> None:
    assert [task.name for task in config.tasks] == ["safety", "nlu", "math", "code"]
    assert [task.training.num_train_epochs for task in config.tasks] == [1, 1, 3, 2]
    for task in config.tasks:
        assert task.training.learning_rate_dense == 5e-5
        assert task.training.learning_rate == 5e-4
        assert task.training.train_batch_size == 32
        assert task_sparsity(config.adapter, task) == 0.9
    assert (config.adapter.r, config.adapter.lora_alpha) == (32, 64)
    assert config.guards == ("safety",)
    assert name == config.sequence


@pytest.mark.parametrize(("name", "config"), loaded(), ids=lambda value: str(value)[:16])
def test_the_counts_in_a_file_and_beside_it_are_those_of_its_model(
    name: str, config: SequenceConfig
) -> None:
    found = counts(config.base.path, config.adapter, task_sparsity(config.adapter, config.tasks[0]))
    assert found == COUNTS[config.base.path]
    shown = [f"{number:,}" for number in found]
    text = (FOLDER / f"{name}.yaml").read_text()
    (row,) = [
        line
        for line in (FOLDER / "README.md").read_text().splitlines()
        if line.startswith("|") and f"({name}.yaml)" in line
    ]
    assert all(number in text and number in row for number in shown)


@pytest.mark.parametrize("base", ARCHITECTURES)
def test_counts_on_the_meta_device_are_those_of_the_formula(base: str) -> None:
    lora, lori_d, lori_s = counts(base, AdapterConfig(), 0.9)
    assert (lora, lori_d) == by_formula(ARCHITECTURES[base], 32)
    assert lori_s == round(0.1 * lori_d)
    assert (lora, lori_d, lori_s) == COUNTS[base]
