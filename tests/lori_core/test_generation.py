"""Generation against a loop that knows neither batches nor caches."""

import random
from collections.abc import Collection
from functools import cache

import pytest
import torch
from peft import LoraConfig, get_peft_model
from transformers import GenerationConfig, LlamaForCausalLM

from lori_core.generation import bare_model, by_length, generate, generate_ids, stop_ids
from tests.lori_core.evaluation_cases import byte_tokenizer, tiny_llama

MODEL = tiny_llama()


def some_prompts(count: int, longest: int = 40) -> list[list[int]]:
    dice = random.Random(0)
    return [[dice.randrange(256) for _ in range(dice.randint(1, longest))] for _ in range(count)]


@cache
def whole(prompt: tuple[int, ...]) -> tuple[int, ...]:
    return alone(MODEL, list(prompt), 8)


def alone(model: LlamaForCausalLM, prompt: list[int], most: int) -> tuple[int, ...]:
    """Greedy, one row, the whole text read again for every token."""
    ids: list[int] = []
    while len(ids) < most:
        with torch.no_grad():
            logits = model(torch.tensor([prompt + ids]), use_cache=False).logits[0, -1]
        ids.append(int(logits.argmax()))
    return tuple(ids)


def known(prompts: list[list[int]], stop: Collection[int] = ()) -> list[tuple[int, ...]]:
    """What each prompt gets alone, up to the first token that ends it."""
    texts = [whole(tuple(prompt)) for prompt in prompts]
    ends = [next((j for j, token in enumerate(t) if token in stop), len(t)) for t in texts]
    return [text[:end] for text, end in zip(texts, ends, strict=True)]


@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_batched_row_gets_the_tokens_it_gets_alone(batch_size: int) -> None:
    prompts = some_prompts(8)
    texts = known(prompts)
    for stop in ([], sorted({texts[0][4], texts[1][0], texts[2][-1]})):
        found = generate_ids(
            MODEL, prompts, stop=stop, pad=0, max_new_tokens=8, batch_size=batch_size
        )
        assert [written[0] for written in found] == known(prompts, stop)


def test_a_text_ends_before_its_end_token_even_where_padding_is_that_token() -> None:
    prompts = some_prompts(6)
    stop = known(prompts)[0][2]
    found = generate_ids(MODEL, prompts, stop=[stop], pad=stop, max_new_tokens=8, batch_size=6)
    assert [written[0] for written in found] == known(prompts, [stop])
    assert len(found[0][0]) <= 2


def test_the_text_is_what_the_tokens_say() -> None:
    tokenizer = byte_tokenizer()
    prompt = tokenizer("Once upon", add_special_tokens=False)["input_ids"]
    (texts,) = generate(MODEL, tokenizer, [prompt], max_new_tokens=8, batch_size=1)
    (ids,) = known([prompt], stop_ids(MODEL, tokenizer))
    assert texts == (tokenizer.decode(list(ids)),)


def test_a_bases_settings_for_chatting_have_no_say_and_are_left_alone() -> None:
    model = tiny_llama()
    prompts = some_prompts(4)
    plain = generate_ids(model, prompts, stop=[], pad=0, max_new_tokens=8, batch_size=4)
    chatty = GenerationConfig(
        do_sample=True, temperature=2.0, top_k=3, repetition_penalty=5.0, max_new_tokens=1
    )
    model.generation_config = chatty
    assert generate_ids(model, prompts, stop=[], pad=0, max_new_tokens=8, batch_size=4) == plain
    assert model.generation_config is chatty


def test_samples_come_from_their_seed_and_from_nothing_else() -> None:
    prompts = some_prompts(5)

    def drawn(seed: int) -> list[tuple[tuple[int, ...], ...]]:
        return generate_ids(
            MODEL, prompts, stop=[], pad=0, max_new_tokens=6, batch_size=8, samples=4, seed=seed
        )

    torch.manual_seed(1)
    first = drawn(0)
    state = torch.random.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(state, torch.random.get_rng_state())  # global randomness is as it was
    torch.manual_seed(2)
    assert drawn(0) == first
    assert drawn(1) != first
    assert [len(texts) for texts in first] == [4] * 5
    assert len({text for texts in first for text in texts}) > 5


@pytest.mark.parametrize("batch_size", [1, 6, 64])
def test_samples_of_a_row_depend_neither_on_batches_nor_on_other_rows(batch_size: int) -> None:
    def drawn(prompts: list[list[int]], size: int) -> list[tuple[tuple[int, ...], ...]]:
        return generate_ids(
            MODEL, prompts, stop=[], pad=0, max_new_tokens=6, batch_size=size, samples=2, seed=3
        )

    prompts = some_prompts(5)
    usual = drawn(prompts, 8)
    assert drawn(prompts, batch_size) == usual
    longer = [prompts[0] * 9, *prompts[1:]]  # which reorders the batches
    assert drawn(longer, batch_size)[1:] == usual[1:]
    again = drawn([prompts[0], prompts[0]], batch_size)
    assert again[0] != again[1]  # a row asked twice is drawn for twice


def test_rows_are_reported_as_they_are_done() -> None:
    done: list[int] = []
    generate_ids(
        MODEL, some_prompts(7), stop=[], pad=0, max_new_tokens=1, batch_size=3, on_rows=done.append
    )
    assert done == [3, 3, 1]


def test_no_prompts_make_no_texts() -> None:
    assert generate_ids(MODEL, [], stop=[], pad=0, max_new_tokens=4, batch_size=8) == []


def test_an_adapter_in_the_model_is_heard_and_its_mode_is_kept() -> None:
    model = get_peft_model(tiny_llama(), LoraConfig(r=4, target_modules=["q_proj", "v_proj"]))
    with torch.random.fork_rng():
        torch.manual_seed(3)
        for name, weight in model.named_parameters():
            if "lora_B" in name:
                torch.nn.init.normal_(weight)
    model.train()
    prompts = some_prompts(3)
    found = generate_ids(model, prompts, stop=[], pad=0, max_new_tokens=5, batch_size=3)
    assert model.training
    model.eval()
    bare = bare_model(model)
    assert [written[0] for written in found] == [alone(bare, prompt, 5) for prompt in prompts]
    assert found != generate_ids(MODEL, prompts, stop=[], pad=0, max_new_tokens=5, batch_size=3)


def test_an_answer_ends_where_base_or_tokenizer_say_and_where_another_text_begins() -> None:
    model, tokenizer = tiny_llama(), byte_tokenizer()
    begin, end = tokenizer.bos_token_id, tokenizer.eos_token_id
    assert stop_ids(model, tokenizer) == tuple(sorted((begin, end)))
    model.generation_config.eos_token_id = [7, 9]
    assert stop_ids(model, tokenizer) == tuple(sorted((7, 9, begin, end)))
    model.generation_config.eos_token_id = 7
    assert stop_ids(model, tokenizer) == tuple(sorted((7, begin, end)))


def test_asking_leaves_the_model_as_it_was_even_when_it_fails() -> None:
    model = tiny_llama().train()
    with pytest.raises(IndexError):
        generate_ids(model, [[1], [9999]], stop=[], pad=0, max_new_tokens=1, batch_size=1)
    assert model.training
    assert model.config._attn_implementation == "eager"
    assert all(p.requires_grad for p in model.parameters())


def test_batches_hold_rows_of_like_length_and_each_row_once() -> None:
    lengths = [5, 1, 9, 9, 2]
    assert by_length(lengths, 2) == [[2, 3], [0, 4], [1]]
    assert by_length([], 2) == []
