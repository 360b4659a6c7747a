"""What a causal model writes after a prompt: greedily, or sampled from a seed.

Rows of like length are batched together, padded on the left; results come in row order. Settings
that a base ships for chatting (its temperature, its repetition penalty) have no say here, apart from
the tokens that end its answers.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from jaxtyping import Int
from peft import PeftModel
from torch import Tensor
from transformers import GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from lori_core.attention import fused_attention
from lori_core.encoding import pad_id

TEMPERATURE = 0.2
TOP_P = 0.95
"""Of samples for pass@k: those of the paper (arXiv:2504.07448)."""

Ids = Sequence[int]
OnRows = Callable[[int], None]
"""Told how many further rows are done."""


def generate(
    model: PreTrainedModel | PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    prompts: Sequence[Ids],
    *,
    max_new_tokens: int,
    batch_size: int,
    samples: int = 1,
    seed: int = 0,
    on_rows: OnRows | None = None,
) -> list[tuple[str, ...]]:
    """`samples` texts for each prompt, in order; one is greedy, more are drawn from `seed`.

    Each text ends before the model's end token, or after `max_new_tokens`. The same call gives the
    same texts; batched rows get the text they would get alone, but for rounding that tips a tie.
    Samples are drawn for one row at a time, seeded by its place: `batch_size` has no say in them.
    """
    written = generate_ids(
        model,
        prompts,
        stop=stop_ids(model, tokenizer),
        pad=pad_id(tokenizer),
        max_new_tokens=max_new_tokens,
        batch_size=batch_size,
        samples=samples,
        seed=seed,
        on_rows=on_rows,
    )
    return [
        tuple(str(tokenizer.decode(ids, skip_special_tokens=True)) for ids in row)
        for row in written
    ]


def generate_ids(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Ids],
    *,
    stop: Sequence[int],
    pad: int,
    max_new_tokens: int,
    batch_size: int,
    samples: int = 1,
    seed: int = 0,
    on_rows: OnRows | None = None,
) -> list[tuple[tuple[int, ...], ...]]:
    """As `generate`, in tokens: those before the first of `stop`."""
    bare = bare_model(model)
    settings = GenerationConfig(
        max_new_tokens=max_new_tokens,
        eos_token_id=list(stop),
        pad_token_id=pad,
        use_cache=True,
        num_return_sequences=samples,
        do_sample=samples > 1,
        **({"temperature": TEMPERATURE, "top_p": TOP_P, "top_k": 0} if samples > 1 else {}),
    )
    written: list[tuple[tuple[int, ...], ...]] = [()] * len(prompts)
    batches = by_length([len(prompt) for prompt in prompts], 1 if samples > 1 else batch_size)
    with asking(bare), _settings_of(bare, settings), torch.random.fork_rng(enabled=samples > 1):
        for rows in batches:
            if samples > 1:
                torch.manual_seed(seed * 1_000_003 + rows[0])
            input_ids, mask = left_padded([prompts[row] for row in rows], pad, bare.device)
            output = bare.generate(input_ids=input_ids, attention_mask=mask)
            new = output[:, input_ids.shape[1] :].tolist()
            for place, row in enumerate(rows):
                texts = new[place * samples : (place + 1) * samples]
                written[row] = tuple(_until(text, stop) for text in texts)
            if on_rows:
                on_rows(len(rows))
    return written


def stop_ids(
    model: PreTrainedModel | PeftModel, tokenizer: PreTrainedTokenizerBase
) -> tuple[int, ...]:
    """The tokens that end an answer: end tokens of the base's settings and of its tokenizer.

    The begin token as well: a model that writes it has begun another text (the TinyStories models
    end a story so and never write their end token).
    """
    configured = bare_model(model).generation_config.eos_token_id
    found = list(configured) if isinstance(configured, list) else [configured]
    found += [tokenizer.eos_token_id, tokenizer.bos_token_id]
    return tuple(sorted({int(token) for token in found if token is not None}))


def by_length(lengths: Sequence[int], batch_size: int) -> list[list[int]]:
    """Rows in batches of like length, the longest first: what does not fit in memory fails at once.

    >>> by_length([3, 9, 4, 9], 2)
    [[1, 3], [2, 0]]
    """
    order = sorted(range(len(lengths)), key=lambda row: (-lengths[row], row))
    return [order[start : start + batch_size] for start in range(0, len(order), batch_size)]


def left_padded(
    rows: Sequence[Ids], pad: int, device: torch.device
) -> tuple[Int[Tensor, "rows tokens"], Int[Tensor, "rows tokens"]]:
    """Token ids that end together, and the mask that is 1 where a token is one."""
    longest = max(len(row) for row in rows)
    ids = torch.full((len(rows), longest), pad, dtype=torch.int64)
    mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for place, row in enumerate(rows):
        ids[place, longest - len(row) :] = torch.tensor(row, dtype=torch.int64)
        mask[place, longest - len(row) :] = 1
    return ids.to(device), mask.to(device)


def bare_model(model: PreTrainedModel | PeftModel) -> PreTrainedModel:
    """The base with its adapter layers inside, without PEFT's shell around it."""
    return model.get_base_model() if isinstance(model, PeftModel) else model


@contextmanager
def asking(model: PreTrainedModel) -> Iterator[None]:
    """No gradients, no dropout, attention by torch's fused kernel; the model is left as it was.

    Certificates use the plain attention, which rounds the same everywhere; a score is measured.
    """
    training = model.training
    model.eval()
    try:
        with fused_attention(model), torch.no_grad():
            yield
    finally:
        model.train(training)


@contextmanager
def _settings_of(model: PreTrainedModel, settings: GenerationConfig) -> Iterator[None]:
    """Exactly these settings: what is unset in them is not filled from the base's own."""
    own = model.generation_config
    model.generation_config = settings
    try:
        yield
    finally:
        model.generation_config = own


def _until(ids: Sequence[int], stop: Sequence[int]) -> tuple[int, ...]:
    for place, token in enumerate(ids):
        if token in stop:
            return tuple(ids[:place])
    return tuple(ids)
