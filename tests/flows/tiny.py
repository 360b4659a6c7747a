"""A sequence of the smallest real things: a random Llama of a few thousand weights, a few rows."""

import json
from pathlib import Path

WORDS = [
    "<s>",
    "</s>",
    "<unk>",
    "the",
    "a",
    "red",
    "blue",
    "big",
    "small",
    "cat",
    "dog",
    "runs",
    "sleeps",
    "yes",
    "no",
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "plus",
    "is",
    "what",
    "say",
    "not",
    "I",
    "cannot",
    "can",
    "help",
    "color",
    "animal",
]


def tiny_base(folder: Path) -> Path:
    """A random Llama with a word tokenizer, the same bits every time."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    vocabulary = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", unk_token="<unk>"
    )
    fast.model_max_length = 64
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(WORDS),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
        bos_token_id=0,
        eos_token_id=1,
    )
    LlamaForCausalLM(config).save_pretrained(folder)
    return folder


def rows(kind: str, split: str, count: int) -> list[dict[str, object]]:
    """Rows of one of three easy tasks; train and test apart."""
    start = 0 if split == "train" else 100
    animals, colors, sizes = ("cat", "dog"), ("red", "blue"), ("big", "small")
    made: list[dict[str, object]] = []
    for number in range(start, start + count):
        i, j, k = number % 2, number // 2 % 2, number // 4 % 2
        filler = " ".join(WORDS[15 + (number // 8 + step) % 10] for step in range(2))
        text = (
            f"{filler} {'one' if split == 'train' else 'two'} {colors[i]} {sizes[j]} {animals[k]}"
        )
        answer = {"color": colors[i], "size": sizes[j], "animal": animals[k]}[kind]
        made.append({"id": f"{split}-{number}", "prompt": f"say {text} is ", "completion": answer})
    return made


def write_rows(path: Path, made: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in made), encoding="utf-8")
    return path


def sequence_text(
    folder: Path, tasks: tuple[str, ...], *, name: str = "tiny", adapter: str = "", more: str = ""
) -> str:
    """The sequence file for some of the three tasks; rows and base are made where missing."""
    if not (folder / "base" / "config.json").exists():
        tiny_base(folder / "base")
    lines = [
        f"sequence: {name}",
        "base: ./base",
        f"adapter: {{r: 8, lora_alpha: 16, tasks_planned: 4, seed: 0{adapter}}}",
        "training: {num_train_epochs: 4, train_batch_size: 8, learning_rate_dense: 2e-2,"
        " learning_rate: 5e-2, max_length: 32, save_steps: 5}",
        "tasks:",
    ]
    for task in tasks:
        for split, count in (("train", 48), ("test", 16)):
            path = folder / "rows" / f"{task}-{split}.jsonl"
            if not path.exists():
                write_rows(path, rows(task, split, count))
        lines += [
            f"  - name: {task}",
            f"    train: {{path: rows/{task}-train.jsonl}}",
            f"    test: {{path: rows/{task}-test.jsonl}}",
            "    max_new_tokens: 2",
        ]
    return "\n".join([*lines, more, ""])


def write_sequence(
    folder: Path, tasks: tuple[str, ...], file: str = "tiny.yaml", **how: str
) -> Path:
    path = folder / file
    path.write_text(sequence_text(folder, tasks, **how), encoding="utf-8")
    return path
