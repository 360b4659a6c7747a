"""Train the micro base from a seed: `python -m examples.micro.train` from the repository root.

The micro base is a Llama of 1.3 million parameters that reads and writes bytes. It exists so that
a demo can learn four tasks on two CPU cores in minutes; it is no use for anything else.
"""

from __future__ import annotations

import argparse
import hashlib
import platform
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors
from transformers import (
    GenerationConfig,
    LlamaConfig,
    LlamaForCausalLM,
    PreTrainedTokenizerFast,
)

from examples.micro.corpus import BROAD, SUMS, documents

HERE: Final = Path(__file__).resolve().parent
SPECIAL: Final = ("<pad>", "<s>", "</s>", "<unk>")
ROW: Final = 128
BATCH: Final = 16
STAGES: Final = ((BROAD, 2000, 2e-3), (SUMS, 800, 1.5e-3))
"""Mix of text, steps and peak learning rate of each stage; the optimiser starts afresh in each."""


def build_tokenizer() -> PreTrainedTokenizerFast:
    """One token per byte and four special ones: any text comes back exactly as it went in."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocab = {token: index for index, token in enumerate((*SPECIAL, *alphabet))}
    backend = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.decoder = decoders.ByteLevel()
    backend.post_processor = processors.TemplateProcessing(
        single="<s> $A", pair="<s> $A $B", special_tokens=[("<s>", vocab["<s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="left",
        model_max_length=256,
        clean_up_tokenization_spaces=False,
    )


def build_model(tokenizer: PreTrainedTokenizerFast, *, seed: int) -> LlamaForCausalLM:
    """An untrained Llama of the micro base's shape, its weights drawn from the seed."""
    torch.manual_seed(seed)
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=160,
        intermediate_size=432,
        num_hidden_layers=4,
        num_attention_heads=5,
        num_key_value_heads=5,
        max_position_embeddings=256,
        tie_word_embeddings=True,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        initializer_range=0.04,
    )
    return LlamaForCausalLM(config)


def rows(tokenizer: PreTrainedTokenizerFast, texts: Iterable[str]) -> Iterator[list[int]]:
    """Documents joined into rows of `ROW` tokens; a row opens with a document's first token."""
    row: list[int] = []
    for text in texts:
        row += [*tokenizer.backend_tokenizer.encode(text).ids, tokenizer.eos_token_id]
        if len(row) >= ROW:
            yield row[:ROW]
            row = []


def learning_rate(step: int, steps: int, *, peak: float) -> float:
    """Linear warm-up over the first 2 % of steps, then a cosine down to a twentieth of the peak."""
    warm = max(1, steps // 50)
    if step < warm:
        return peak * (step + 1) / warm
    progress = torch.tensor((step - warm) / max(1, steps - warm) * torch.pi)
    return peak * (0.05 + 0.475 * (1 + float(torch.cos(progress))))


def train(model: LlamaForCausalLM, data: Iterator[list[int]], *, steps: int, peak: float) -> float:
    """Train in place and return the mean loss, in nats per byte, of the last fiftieth of steps."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    kept = [p for p in model.parameters() if p.dim() == 1]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.05}, {"params": kept, "weight_decay": 0.0}],
        lr=peak,
        betas=(0.9, 0.98),
    )
    losses: list[float] = []
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps, peak=peak)
        batch = torch.tensor([next(data) for _ in range(BATCH)])
        loss = model(input_ids=batch, labels=batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step % 100 == 0:
            print(f"step {step} loss {sum(losses[-50:]) / len(losses[-50:]):.4f}", flush=True)
    tail = losses[-max(1, steps // 50) :]
    return sum(tail) / len(tail)


def digest(path: Path) -> str:
    """The file's SHA-256, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


PROVENANCE: Final = """\
# Where this model comes from

- Made by `python -m examples.micro.train --seed {seed}`, run from the repository root, with
  torch {torch} on {machine}, {threads} thread(s). The same command on the same torch and
  processor type makes the same file; elsewhere floating-point sums may differ in their last bits.
- Text: `examples/micro/corpus.py` and `examples/micro/lexicon.py`, written by hand for this
  project and drawn from the seed. All synthetic: no other text, model or data set took part.
- Shape: Llama, {parameters:,} parameters, one token per byte, fp32.
- Training: {steps} steps of {batch} rows of {row} tokens ({tokens:,} tokens) in two stages;
  AdamW, peak learning rates {peak}. Mean loss of the last steps: {loss:.4f} nats per
  byte. Wall time: {wall:.0f} s.
- SHA-256 of `model.safetensors`: `{digest}`
- Licence: Apache-2.0, for weights, tokenizer and text alike.

It has seen sums, spellings, topics and manners told as prose, and no request followed by its
answer. Refusals occur only as reported speech. It is a test article, not an assistant.
"""


def main() -> None:
    """Train, then write model, tokenizer and provenance to the output folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=HERE)
    args = parser.parse_args()

    torch.set_num_threads(args.threads)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer, seed=args.seed)
    start = time.monotonic()
    for number, (mix, steps, peak) in enumerate(STAGES):
        data = rows(tokenizer, documents(args.seed + number, mix))
        loss = train(model, data, steps=steps, peak=peak)
    wall = time.monotonic() - start

    model.generation_config = GenerationConfig(
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        do_sample=False,
    )
    model.save_pretrained(args.out)
    tokenizer.save_pretrained(args.out)
    text = PROVENANCE.format(
        seed=args.seed,
        steps=" + ".join(str(steps) for _, steps, _ in STAGES),
        torch=torch.__version__,
        machine=platform.machine(),
        threads=args.threads,
        parameters=model.num_parameters(),
        batch=BATCH,
        row=ROW,
        tokens=sum(steps for _, steps, _ in STAGES) * BATCH * ROW,
        peak=" and ".join(str(peak) for _, _, peak in STAGES),
        loss=loss,
        wall=wall,
        digest=digest(args.out / "model.safetensors"),
    )
    (args.out / "PROVENANCE.md").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
