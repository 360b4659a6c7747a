"""The smallest real models for evaluation, and a tokenizer of which every byte is a token."""

import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from lori_core.config import DataSource, TaskConfig, TrainingConfig
from lori_core.prompts import Example

torch.set_num_threads(1)  # the models are smaller than the cost of sharing them out

ROWS = DataSource(path="unused.jsonl")


def byte_tokenizer(longest: int = 128) -> PreTrainedTokenizerFast:
    alphabet = {symbol: i for i, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    model = Tokenizer(BPE(vocab=alphabet, merges=[]))
    model.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = ByteDecoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, model_max_length=longest)
    tokenizer.add_special_tokens({"bos_token": "<s>", "eos_token": "</s>"})
    return tokenizer


def tiny_llama(seed: int = 0, *, vocabulary: int = 258) -> LlamaForCausalLM:
    config = LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=256,
        initializer_range=0.3,  # far from ties, so that rounding decides nothing
        attn_implementation="eager",
        bos_token_id=None,
        eos_token_id=None,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return LlamaForCausalLM(config).eval()


def tiny_bert(labels: int, seed: int = 0) -> BertForSequenceClassification:
    config = BertConfig(
        vocab_size=258,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        max_position_embeddings=64,
        initializer_range=0.3,
        num_labels=labels,
        attn_implementation="eager",
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return BertForSequenceClassification(config).eval()


def a_task(
    metric: str,
    *,
    max_new_tokens: int = 8,
    max_length: int = 64,
    k: int = 1,
    allow_code_execution: bool = False,
) -> TaskConfig:
    return TaskConfig(
        name="task",
        train=ROWS,
        test=ROWS,
        metric=metric,
        max_new_tokens=max_new_tokens,
        k=k,
        training=TrainingConfig(max_length=max_length),
        allow_code_execution=allow_code_execution,
    )


def a_row(
    name: str,
    prompt: str,
    completion: str = "",
    *,
    text: str = "",
    choices: tuple[str, ...] | None = None,
    label: int | None = None,
    meta: dict[str, object] | None = None,
) -> Example:
    return Example(
        id=name,
        prefix=prompt,
        input=text,
        suffix="",
        completion=completion,
        choices=choices,
        label=label,
        meta=meta or {},
    )
