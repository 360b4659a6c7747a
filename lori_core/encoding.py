"""From examples to tokens.

Prompt and completion are tokenised apart and joined, so that the tokens a model is prompted with are
the very tokens it was trained on. Text of a row that looks like a special token (`</s>`) is text:
only a chat template writes special tokens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Int
from jinja2 import TemplateError
from torch import Tensor
from transformers import PreTrainedTokenizerBase

from lori_core.errors import BadInput
from lori_core.prompts import Chat, Example
from lori_core.task_rows import label_index

IGNORED = -100
"""Label of a position that is not learned (torch's and transformers' own number)."""

MOST_DROPPED = 0.05
"""Share of rows that may be dropped without being asked about."""

_DATE = {
    "%a": "Fri", "%A": "Friday", "%b": "Jul", "%B": "July", "%d": "26", "%-d": "26", "%H": "00",
    "%I": "12", "%j": "208", "%m": "07", "%-m": "7", "%M": "00", "%p": "AM", "%S": "00", "%y": "24",
    "%Y": "2024",
}  # fmt: skip
_NO_CLOCK = (
    "{% macro strftime_now(format) %}{{ format"
    + "".join(f"|replace('{directive}', '{value}')" for directive, value in _DATE.items())
    + " }}{% endmacro %}\n"
)
"""Makes it 26 July 2024 for ever (the date that Llama's own template falls back on)."""


@dataclass(frozen=True, slots=True)
class EncodedRow:
    """One example as tokens."""

    id: str
    input_ids: tuple[int, ...]
    labels: tuple[int, ...]
    """Causal: one for each token, IGNORED over the prompt. Encoder: the class alone."""
    prompt_length: int
    """Tokens of the prompt, with the begin token."""


@dataclass(frozen=True, slots=True)
class EncodedRows:
    """The rows that fit, in order, and what was done to make them fit."""

    rows: tuple[EncodedRow, ...]
    cut: int
    """Rows whose `input` was shortened at its end."""
    dropped: tuple[str, ...]
    """Ids of rows that do not fit with no `input` at all."""


def encode_causal(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    allow_dropped: bool = False,
) -> EncodedRows:
    """Tokens to learn from: begin token (if there is one), prompt, completion, end token.

    Only completion and end token carry labels. Where all of it is longer than `max_length` tokens,
    `input` is cut at its end; where that does not help, the row is dropped.

    Raises:
        BadInput: `max_length` beyond what the base can read, no end token, more than 5 % of the
            rows dropped (unless `allow_dropped`), or nothing left.
    """
    _check_length(tokenizer, max_length)
    if tokenizer.eos_token_id is None:
        raise BadInput("base: the tokenizer has no end token", "an eos_token", "Use another base.")
    completions = [
        [*ids, int(tokenizer.eos_token_id)]
        for ids in _tokens([example.completion for example in examples], tokenizer)
    ]
    rooms = [max_length - len(completion) for completion in completions]
    prompts = _fitted_prompts(examples, tokenizer, rooms)
    rows, dropped, cut = [], [], 0
    for example, completion, fitted in zip(examples, completions, prompts, strict=True):
        if fitted is None:
            dropped.append(example.id)
            continue
        prompt, was_cut = fitted
        cut += was_cut
        labels = (*[IGNORED] * len(prompt), *completion)
        rows.append(EncodedRow(example.id, (*prompt, *completion), labels, len(prompt)))
    if not rows or (len(dropped) > MOST_DROPPED * len(examples) and not allow_dropped):
        raise BadInput(
            f"{len(dropped)} of {len(examples)} rows do not fit in {max_length} tokens "
            f"(first: {', '.join(dropped[:3]) or 'none'})",
            f"at most {MOST_DROPPED:.0%} dropped" if rows else "rows that fit",
            "Raise `max_length`, or say `allow_dropped: true`." if rows else "Raise `max_length`.",
        )
    return EncodedRows(tuple(rows), cut, tuple(dropped))


def encode_prompts(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    new_tokens: int = 0,
) -> EncodedRows:
    """Prompts to answer, of at most `max_length - new_tokens` tokens, cut and dropped as in training.

    Labels are empty. A dropped row cannot be asked at all: whoever scores it says what that is.
    """
    _check_length(tokenizer, max_length)
    room = max_length - new_tokens
    prompts = _fitted_prompts(examples, tokenizer, [room] * len(examples))
    rows, dropped, cut = [], [], 0
    for example, fitted in zip(examples, prompts, strict=True):
        if fitted is None:
            dropped.append(example.id)
            continue
        cut += fitted[1]
        rows.append(EncodedRow(example.id, tuple(fitted[0]), (), len(fitted[0])))
    return EncodedRows(tuple(rows), cut, tuple(dropped))


def encode_completions(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase
) -> list[tuple[int, ...]]:
    """Completions as `encode_causal` tokenises them, without the end token: candidates to score."""
    return [tuple(ids) for ids in _tokens(texts, tokenizer)]


def encoder_text(example: Example) -> str:
    """What an encoder reads of a row: its `input`, or its whole prompt where that is empty."""
    return example.input or example.prompt.strip()


def encode_encoder(
    examples: Sequence[Example],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    labels: Sequence[str],
) -> EncodedRows:
    """Texts to classify, with the tokenizer's own special tokens, cut at the end to `max_length`.

    The text is the row's `input`, or its whole prompt where that is empty. Nothing is dropped.

    Args:
        examples: rows whose label is in `labels`.
        tokenizer: the base's.
        max_length: tokens, special ones included.
        labels: the task's label set; a row's label is its index there.

    Raises:
        BadInput: a label outside the set, an empty text, or `max_length` beyond the base's.
    """
    _check_length(tokenizer, max_length)
    texts = [encoder_text(example) for example in examples]
    for example, text in zip(examples, texts, strict=True):
        if not text.strip():
            raise BadInput(f"row {example.id!r}: the text is empty", "text", "Remove the row.")
    whole = encode_texts(texts, tokenizer)
    long = [i for i, ids in enumerate(whole) if len(ids) > max_length]
    shortened = encode_texts([texts[i] for i in long], tokenizer, max_length=max_length)
    for i, ids in zip(long, shortened, strict=True):
        whole[i] = ids
    rows = (
        EncodedRow(example.id, tuple(ids), (label_index(example, labels),), len(ids))
        for example, ids in zip(examples, whole, strict=True)
    )
    return EncodedRows(tuple(rows), len(long), ())


def encode_texts(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int | None = None
) -> list[list[int]]:
    """Texts to classify as `encode_encoder` tokenises them, cut at the end to `max_length`."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts),
        truncation=max_length is not None,
        max_length=max_length,
        split_special_tokens=True,
        verbose=False,
    )
    return [list(ids) for ids in encoded["input_ids"]]


def collate_causal(
    rows: Sequence[EncodedRow], pad_id: int
) -> dict[str, Int[Tensor, "rows tokens"]]:
    """Rows padded on the right: input_ids, attention_mask and labels, each (rows, longest)."""
    batch = _padded_inputs(rows, pad_id)
    longest = batch["input_ids"].shape[1]
    labels = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
    for i, row in enumerate(rows):
        labels[i, : len(row.labels)] = torch.tensor(row.labels)
    return {**batch, "labels": labels}


def collate_encoder(
    rows: Sequence[EncodedRow], pad_id: int
) -> dict[str, Int[Tensor, "rows *tokens"]]:  # noqa: F821  (a shape)
    """As `collate_causal`, with labels of shape (rows,): one class each."""
    return {**_padded_inputs(rows, pad_id), "labels": torch.tensor([row.labels[0] for row in rows])}


def pad_id(tokenizer: PreTrainedTokenizerBase) -> int:
    """The token that fills up a batch: the pad token, else the end token, else 0; never read."""
    for token in (tokenizer.pad_token_id, tokenizer.eos_token_id):
        if token is not None:
            return int(token)
    return 0


def chat_of(tokenizer: PreTrainedTokenizerBase) -> Chat | None:
    """The tokenizer's chat template as a function, ending where the assistant begins; or None.

    A template that writes today's date always writes 26 July 2024: equal rows, equal prompts. The
    function raises BadInput for messages that the template does not take.
    """
    if not tokenizer.chat_template:
        return None
    template = str(tokenizer.get_chat_template())
    if "strftime_now" in template:
        template = _NO_CLOCK + template

    def rendered(messages: Sequence[object]) -> str:
        try:
            return str(
                tokenizer.apply_chat_template(
                    list(messages),
                    chat_template=template,
                    tokenize=False,
                    add_generation_prompt=True,
                )
            )
        except (TemplateError, ValueError, TypeError, LookupError) as error:
            raise BadInput(
                f"the base's chat template does not take these messages ({error})",
                "roles in an order that it knows",
                "Change the row, or give it a prompt and a completion.",
            ) from error

    return rendered


def within_base(
    tokenizer: PreTrainedTokenizerBase, positions: int | None
) -> PreTrainedTokenizerBase:
    """The tokenizer, told that the base reads no more than `positions` tokens (None: no bound)."""
    if positions is not None:
        tokenizer.model_max_length = min(tokenizer.model_max_length, positions)
    return tokenizer


def _padded_inputs(
    rows: Sequence[EncodedRow], pad_id: int
) -> dict[str, Int[Tensor, "rows tokens"]]:
    longest = max(len(row.input_ids) for row in rows)
    input_ids = torch.full((len(rows), longest), pad_id, dtype=torch.int64)
    attention_mask = torch.zeros((len(rows), longest), dtype=torch.int64)
    for i, row in enumerate(rows):
        input_ids[i, : len(row.input_ids)] = torch.tensor(row.input_ids)
        attention_mask[i, : len(row.input_ids)] = 1
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def _check_length(tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    if max_length > tokenizer.model_max_length:
        raise BadInput(
            f"training.max_length is {max_length}",
            f"at most {tokenizer.model_max_length}, which is as far as the base reads",
            "Lower it.",
        )


def _tokens(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, chat: bool = False
) -> list[list[int]]:
    """Texts as they are; only in those of a `chat` template are special tokens tokens."""
    if not texts:
        return []
    encoded = tokenizer(
        list(texts), add_special_tokens=False, split_special_tokens=not chat, verbose=False
    )
    return [list(ids) for ids in encoded["input_ids"]]


def _fitted_prompts(
    examples: Sequence[Example], tokenizer: PreTrainedTokenizerBase, rooms: Sequence[int]
) -> list[tuple[list[int], bool] | None]:
    """Each prompt as at most `room` tokens and whether `input` was cut for it; None: it cannot be."""
    plain = iter(_tokens([e.prompt for e in examples if not e.chat], tokenizer))
    chats = iter(_tokens([e.prompt for e in examples if e.chat], tokenizer, chat=True))
    fitted: list[tuple[list[int], bool] | None] = []
    for example, room in zip(examples, rooms, strict=True):
        begun = _begun(next(chats if example.chat else plain), example, tokenizer)
        if len(begun) <= room:
            fitted.append((begun, False))
        else:
            fitted.append(_cut(example, tokenizer, room))
    return fitted


def _begun(ids: list[int], example: Example, tokenizer: PreTrainedTokenizerBase) -> list[int]:
    """The prompt with its begin token; a chat template may have written it already."""
    begin = tokenizer.bos_token_id
    if begin is None or (example.chat and ids[:1] == [begin]):
        return ids
    return [int(begin), *ids]


def _cut(
    example: Example, tokenizer: PreTrainedTokenizerBase, room: int
) -> tuple[list[int], bool] | None:
    """The prompt with the longest beginning of `input` that fits, found by halving; or None."""

    def with_beginning(length: int) -> list[int]:
        prompt = example.prefix + example.input[:length] + example.suffix
        return _begun(_tokens([prompt], tokenizer, chat=example.chat)[0], example, tokenizer)

    if not example.input or len(with_beginning(0)) > room:
        return None
    fits, too_long = 0, len(example.input)
    while too_long - fits > 1:
        middle = (fits + too_long) // 2
        if len(with_beginning(middle)) <= room:
            fits = middle
        else:
            too_long = middle
    return with_beginning(fits), True
