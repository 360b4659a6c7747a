"""Likelihoods against one full reading of each prompt with each answer."""

import random

import pytest
import torch
from peft import LoraConfig, get_peft_model
from torch import nn

from lori_core.likelihood import mean_log_likelihoods
from tests.lori_core.evaluation_cases import tiny_llama

MODEL = tiny_llama()

Prompts = list[list[int]]
Answers = list[list[list[int]]]


def alone(model: nn.Module, prompt: list[int], answer: list[int]) -> float:
    with torch.no_grad():
        logits = model(torch.tensor([prompt + answer]), use_cache=False).logits[0].double()
    logs = logits.log_softmax(-1)
    told = [logs[len(prompt) - 1 + j, token] for j, token in enumerate(answer)]
    return float(torch.stack(told).mean())


def some_rows(count: int, longest_answer: int) -> tuple[Prompts, Answers]:
    dice = random.Random(1)

    def ids(most: int) -> list[int]:
        return [dice.randrange(256) for _ in range(dice.randint(1, most))]

    prompts = [ids(30) for _ in range(count)]
    return prompts, [[ids(longest_answer) for _ in range(dice.randint(1, 5))] for _ in prompts]


@pytest.mark.parametrize("longest_answer", [1, 2, 9])
@pytest.mark.parametrize("batch_size", [1, 4, 64])
def test_shared_prompts_give_what_reading_everything_gives(
    longest_answer: int, batch_size: int
) -> None:
    prompts, answers = some_rows(9, longest_answer)
    found = mean_log_likelihoods(MODEL, prompts, answers, pad=0, batch_size=batch_size)
    for prompt, own, scores in zip(prompts, answers, found, strict=True):
        assert scores == pytest.approx([alone(MODEL, prompt, a) for a in own], abs=1e-4)


def test_the_padding_token_and_the_neighbours_do_not_matter() -> None:
    prompts, answers = some_rows(6, 5)
    together = mean_log_likelihoods(MODEL, prompts, answers, pad=0, batch_size=64)
    other_pad = mean_log_likelihoods(MODEL, prompts, answers, pad=200, batch_size=64)
    for one, other in zip(together, other_pad, strict=True):
        assert one == pytest.approx(other, abs=1e-5)


def test_an_adapter_in_the_model_is_heard() -> None:
    model = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    model.eval()
    (found,) = mean_log_likelihoods(model, [[1, 2, 3]], [[[4, 5], [6]]], pad=0, batch_size=8)
    assert found == pytest.approx([alone(model, [1, 2, 3], a) for a in ([4, 5], [6])], abs=1e-4)
    assert found[0] != pytest.approx(alone(MODEL, [1, 2, 3], [4, 5]), abs=1e-3)


def test_rows_are_reported_as_they_are_done() -> None:
    prompts, answers = some_rows(5, 2)
    done: list[int] = []
    mean_log_likelihoods(MODEL, prompts, answers, pad=0, batch_size=6, on_rows=done.append)
    assert sum(done) == 5
    assert mean_log_likelihoods(MODEL, [], [], pad=0, batch_size=6) == []
