"""How likely a causal model finds each of several answers to a prompt.

The prompt is read once for all of its answers: its keys and values are kept and shared.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from peft import PeftModel
from torch import Tensor
from transformers import DynamicCache, PreTrainedModel

from lori_core.generation import Ids, OnRows, asking, bare_model, by_length, left_padded


def mean_log_likelihoods(
    model: PreTrainedModel | PeftModel,
    prompts: Sequence[Ids],
    answers: Sequence[Sequence[Ids]],
    *,
    pad: int,
    batch_size: int,
    on_rows: OnRows | None = None,
) -> list[tuple[float, ...]]:
    """(1/m) · Σ_j log p(a_j | prompt, a_1..a_{j-1}), for every answer a_1..a_m of every prompt.

    The mean over tokens, so that long answers are not at a disadvantage.

    Args:
        model: a causal language model.
        prompts: tokens of each prompt, at least one.
        answers: for each prompt its answers as tokens, each of at least one (the end token
            included, where the model was trained to write it).
        pad: a token to fill up with.
        batch_size: most answers read together.
        on_rows: told how many further prompts are done.

    Returns:
        for each prompt one number per answer, natural logarithms in fp32, in order.

    Source: length normalisation as in Brown et al., "Language Models are Few-Shot Learners", 2020,
    arXiv:2005.14165, 2.4.
    """
    bare = bare_model(model)
    found: list[tuple[float, ...]] = [()] * len(prompts)
    with asking(bare):
        for rows in _batches(prompts, answers, batch_size):
            means = _score(
                bare, [prompts[row] for row in rows], [answers[row] for row in rows], pad
            )
            for row, scores in zip(rows, means, strict=True):
                found[row] = scores
            if on_rows:
                on_rows(len(rows))
    return found


def _batches(
    prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], batch_size: int
) -> list[list[int]]:
    """Prompts of like length, as many together as have at most `batch_size` answers."""
    batches: list[list[int]] = []
    held = 0
    for (row,) in by_length([len(prompt) for prompt in prompts], 1):
        if not batches or held + len(answers[row]) > batch_size:
            batches.append([])
            held = 0
        batches[-1].append(row)
        held += len(answers[row])
    return batches


def _score(
    model: PreTrainedModel, prompts: Sequence[Ids], answers: Sequence[Sequence[Ids]], pad: int
) -> list[tuple[float, ...]]:
    owner = torch.tensor([row for row, own in enumerate(answers) for _ in own])
    flat = [answer for own in answers for answer in own]
    longest = max(len(answer) for answer in flat)
    read, mask = left_padded(prompts, pad, model.device)
    positions = (mask.cumsum(1) - 1).clamp(min=0)
    cache = DynamicCache(config=model.config)
    first = model(
        input_ids=read,
        attention_mask=mask,
        position_ids=positions,
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    ).logits  # (prompts, 1, vocabulary)
    owner = owner.to(model.device)
    targets = torch.full((len(flat), longest), pad, dtype=torch.int64)
    real = torch.zeros((len(flat), longest), dtype=torch.int64)
    for place, answer in enumerate(flat):
        targets[place, : len(answer)] = torch.tensor(answer, dtype=torch.int64)
        real[place, : len(answer)] = 1
    targets, real = targets.to(model.device), real.to(model.device)
    logs = _chosen(first[owner], targets[:, :1])
    if longest > 1:
        cache.batch_select_indices(owner)
        after = positions[owner, -1:] + real[:, :-1].cumsum(1)
        rest = model(
            input_ids=targets[:, :-1],
            attention_mask=torch.cat([mask[owner], real[:, :-1]], dim=1),
            position_ids=after,
            past_key_values=cache,
            use_cache=True,
        ).logits  # (answers, longest - 1, vocabulary)
        logs = torch.cat([logs, _chosen(rest, targets[:, 1:])], dim=1)
    means = iter(((logs * real).sum(1) / real.sum(1)).tolist())
    return [tuple(next(means) for _ in own) for own in answers]


def _chosen(
    logits: Float[Tensor, "answers tokens _vocabulary"], targets: Tensor
) -> Float[Tensor, "answers tokens"]:
    """The log probability of each target."""
    chosen: Tensor = logits.float().log_softmax(-1).gather(-1, targets[..., None])[..., 0]
    return chosen
