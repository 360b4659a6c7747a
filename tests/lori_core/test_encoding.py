"""Lengths are counted here by hand: the tests' tokenizer makes one token of every byte."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from transformers import AutoTokenizer, PreTrainedTokenizerBase, PreTrainedTokenizerFast

from lori_core.config import DataSource, TaskConfig
from lori_core.encoding import (
    IGNORED,
    EncodedRow,
    chat_of,
    collate_causal,
    collate_encoder,
    encode_causal,
    encode_completions,
    encode_encoder,
    encode_prompts,
    pad_id,
    within_base,
)
from lori_core.errors import BadInput
from lori_core.prompts import Example, render
from lori_core.task_rows import labels, load_task


def byte_tokenizer(
    *, begin: bool = True, end: bool = True, longest: int = 10_000
) -> PreTrainedTokenizerFast:
    alphabet = {symbol: i for i, symbol in enumerate(sorted(ByteLevel.alphabet()))}
    model = Tokenizer(BPE(vocab=alphabet, merges=[]))
    model.pre_tokenizer = ByteLevel(add_prefix_space=False, use_regex=False)
    model.decoder = ByteDecoder()
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=model, model_max_length=longest)
    special = {"bos_token": "<s>"} if begin else {}
    tokenizer.add_special_tokens({**special, "eos_token": "</s>"} if end else special)
    return tokenizer


BYTES = byte_tokenizer()


def an_example(
    name: str = "r",
    *,
    prefix: str = "Q: ",
    text: str = "",
    suffix: str = "\n",
    completion: str = "A",
    chat: bool = False,
) -> Example:
    return Example(
        id=name, prefix=prefix, input=text, suffix=suffix, completion=completion, chat=chat
    )


def said(ids: tuple[int, ...], tokenizer: PreTrainedTokenizerBase = BYTES) -> str:
    return str(tokenizer.decode(list(ids)))


def learned(row: EncodedRow) -> str:
    return said(tuple(label for label in row.labels if label != IGNORED))


def refusal(*args: object, **kwargs: object) -> str:
    with pytest.raises(BadInput) as caught:
        encode_causal(*args, **kwargs)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
    return str(caught.value)


# Causal


def test_a_row_is_begin_prompt_completion_end_and_only_the_answer_is_learned() -> None:
    (row,) = encode_causal([an_example(text="2+2", completion="4")], BYTES, max_length=64).rows
    assert said(row.input_ids) == "<s>Q: 2+2\n4</s>"
    assert learned(row) == "4</s>"
    assert row.labels[: row.prompt_length] == (IGNORED,) * len("sQ: 2+2\n")
    assert row.labels[row.prompt_length :] == row.input_ids[row.prompt_length :]


def test_a_tokenizer_without_begin_token_gets_none() -> None:
    (row,) = encode_causal([an_example()], byte_tokenizer(begin=False), max_length=64).rows
    assert said(row.input_ids, byte_tokenizer(begin=False)) == "Q: \nA</s>"


def test_a_begin_token_that_the_chat_template_wrote_is_not_doubled() -> None:
    example = an_example(prefix="<s>Hi", chat=True)
    (row,) = encode_causal([example], BYTES, max_length=64).rows
    assert said(row.input_ids) == "<s>Hi\nA</s>"


SPECIAL = set(BYTES.all_special_ids)


def test_text_of_a_row_that_looks_like_a_special_token_is_text() -> None:
    example = an_example(prefix="<s>", text="a</s>b", completion="</s>!")
    (row,) = encode_causal([example], BYTES, max_length=64).rows
    assert said(row.input_ids) == "<s><s>a</s>b\n</s>!</s>"
    assert row.prompt_length == 1 + len("<s>a</s>b\n")  # the begin token, then a token a byte
    assert len(row.input_ids) == row.prompt_length + len("</s>!") + 1
    assert SPECIAL.isdisjoint(row.input_ids[1:-1])
    (asked,) = encode_prompts([example], BYTES, max_length=64).rows
    assert asked.input_ids == row.input_ids[: row.prompt_length]
    (candidate,) = encode_completions(["</s>!"], BYTES)
    assert candidate == row.input_ids[row.prompt_length : -1]
    (read,) = encode_encoder([example], BYTES, max_length=64, labels=("</s>!",)).rows
    assert (len(read.input_ids), SPECIAL & set(read.input_ids)) == (len("a</s>b"), set())
    (cut,) = encode_causal([example], BYTES, max_length=len(row.input_ids) - 2).rows
    assert said(cut.input_ids) == "<s><s>a</s\n</s>!</s>"
    assert SPECIAL.isdisjoint(cut.input_ids[1:-1])


def test_special_tokens_of_a_chat_template_are_tokens_beside_rows_that_are_plain() -> None:
    rows = [an_example("a", chat=True, prefix="<s>Hi</s>"), an_example("b", prefix="Hi</s>")]
    first, second = encode_prompts(rows, BYTES, max_length=64).rows
    assert (len(first.input_ids), len(second.input_ids)) == (5, 1 + len("Hi</s>\n"))
    assert first.input_ids[3] == BYTES.eos_token_id


def test_a_tokenizer_without_end_token_is_refused() -> None:
    message = refusal([an_example()], byte_tokenizer(end=False), max_length=64)
    assert message.startswith("base: the tokenizer has no end token: expected an eos_token.")


def test_the_longest_beginning_of_input_that_fits_is_kept_and_nothing_else_is_touched() -> None:
    example = an_example(text="abcdefghij", completion="yes")
    whole = len("sQ: abcdefghij\nyes") + 1
    for max_length in range(whole - 10, whole):
        encoded = encode_causal([example], BYTES, max_length=max_length)
        (row,) = encoded.rows
        kept = "abcdefghij"[: 10 - (whole - max_length)]
        assert said(row.input_ids) == f"<s>Q: {kept}\nyes</s>"
        assert (len(row.input_ids), encoded.cut) == (max_length, 1)
    assert encode_causal([example], BYTES, max_length=whole).cut == 0


def test_a_character_of_several_tokens_is_kept_whole_or_left_out() -> None:
    example = an_example(text="ü€", prefix="", suffix="", completion="AB")
    for max_length, kept in {9: "ü€", 8: "ü", 7: "ü", 6: "ü", 5: ""}.items():
        (row,) = encode_causal([example], BYTES, max_length=max_length).rows
        assert said(row.input_ids) == f"<s>{kept}AB</s>"


def test_a_row_whose_completion_does_not_fit_is_dropped_and_named() -> None:
    fits = [an_example(f"r{i}") for i in range(99)]
    long = an_example("long", completion="x" * 100)
    encoded = encode_causal([*fits, long], BYTES, max_length=50)
    assert encoded.dropped == ("long",)
    assert [row.id for row in encoded.rows] == [example.id for example in fits]


def test_an_instruction_is_never_cut() -> None:
    long = an_example("long", prefix="x" * 100)
    encoded = encode_causal([long, an_example()], BYTES, max_length=50, allow_dropped=True)
    assert (encoded.dropped, encoded.cut) == (("long",), 0)


@pytest.mark.parametrize(
    ("dropped", "of", "refused"), [(1, 20, False), (2, 20, True), (6, 100, True)]
)
def test_more_than_one_in_twenty_dropped_is_refused_unless_allowed(
    dropped: int, of: int, refused: bool
) -> None:
    rows = [an_example(f"r{i}", completion="x" * (99 if i < dropped else 1)) for i in range(of)]
    if refused:
        message = refusal(rows, BYTES, max_length=50)
        assert message.startswith(f"{dropped} of {of} rows do not fit in 50 tokens (first: r0, r1")
        assert "expected at most 5% dropped. Raise `max_length`, or say `allow_dropped" in message
    encoded = encode_causal(rows, BYTES, max_length=50, allow_dropped=refused)
    assert len(encoded.dropped) == dropped


def test_nothing_left_is_refused_even_where_dropping_is_allowed() -> None:
    message = refusal([an_example(prefix="x" * 99)], BYTES, max_length=50, allow_dropped=True)
    assert message.startswith("1 of 1 rows do not fit in 50 tokens (first: r): expected rows that")


def test_more_tokens_than_the_base_can_read_are_refused() -> None:
    message = refusal([an_example()], byte_tokenizer(longest=32), max_length=33)
    assert message.startswith("training.max_length is 33: expected at most 32, which is as far")


def test_a_base_with_fewer_positions_than_its_tokenizer_says_is_the_bound() -> None:
    for longest, positions in ((10_000, 32), (32, 10_000), (32, None)):
        tokenizer = within_base(byte_tokenizer(longest=longest), positions)
        assert len(encode_causal([an_example()], tokenizer, max_length=32).rows) == 1
        message = refusal([an_example()], tokenizer, max_length=33)
        assert message.startswith("training.max_length is 33: expected at most 32, which is as far")


def test_text_alone_is_learned_from_its_first_token() -> None:
    text = render({"id": "t", "text": "Once"}, prompt=None, completion=None, chat=None)
    (row,) = encode_causal([text], BYTES, max_length=16).rows
    assert (said(row.input_ids), learned(row), row.prompt_length) == ("<s>Once</s>", "Once</s>", 1)


# Prompts and candidates


def test_a_model_is_asked_with_the_tokens_it_was_trained_on() -> None:
    examples = [an_example("a", text="one"), an_example("b", text="a longer one")]
    trained = encode_causal(examples, BYTES, max_length=64).rows
    asked = encode_prompts(examples, BYTES, max_length=64).rows
    answers = encode_completions([example.completion for example in examples], BYTES)
    for row, prompt, answer in zip(trained, asked, answers, strict=True):
        assert row.input_ids == (*prompt.input_ids, *answer, BYTES.eos_token_id)
        assert prompt.prompt_length == len(prompt.input_ids)


def test_a_prompt_leaves_room_for_its_answer() -> None:
    examples = [an_example("a", text="x" * 99), an_example("b", prefix="x" * 99), an_example("c")]
    encoded = encode_prompts(examples, BYTES, max_length=40, new_tokens=10)
    assert [(row.id, len(row.input_ids)) for row in encoded.rows] == [("a", 30), ("c", 5)]
    assert (encoded.cut, encoded.dropped) == (1, ("b",))


def test_no_candidates_are_no_tokens() -> None:
    assert encode_completions([], BYTES) == []


# Encoders


def test_an_encoder_reads_the_input_or_else_the_instruction() -> None:
    examples = [
        an_example("a", text="the text", completion="no"),
        an_example("b", completion="yes"),
    ]
    first, second = encode_encoder(examples, BYTES, max_length=64, labels=("yes", "no")).rows
    assert (said(first.input_ids), first.labels) == ("the text", (1,))
    assert (said(second.input_ids), second.labels) == ("Q:", (0,))


def test_an_encoders_text_is_cut_at_its_end_and_counted() -> None:
    examples = [an_example(text="abcdef"), an_example("b", text="ab")]
    encoded = encode_encoder(examples, BYTES, max_length=4, labels=("A",))
    assert [said(row.input_ids) for row in encoded.rows] == ["abcd", "ab"]
    assert (encoded.cut, encoded.dropped) == (1, ())


def test_an_encoder_refuses_what_it_cannot_class() -> None:
    with pytest.raises(BadInput, match=r"row 'r': label 'A' is outside the set: expected one of B"):
        encode_encoder([an_example()], BYTES, max_length=9, labels=("B",))
    blank = an_example(prefix=" ", text=" ")
    with pytest.raises(BadInput, match=r"row 'r': the text is empty: expected text"):
        encode_encoder([blank], BYTES, max_length=9, labels=("A",))
    with pytest.raises(BadInput, match=r"max_length is 99"):
        encode_encoder([blank], byte_tokenizer(longest=9), max_length=99, labels=("A",))


# Batches


def test_a_causal_batch_is_padded_on_the_right_and_padding_is_not_learned() -> None:
    rows = [EncodedRow("a", (5, 6, 7), (IGNORED, 6, 7), 1), EncodedRow("b", (8,), (8,), 0)]
    batch = collate_causal(rows, pad_id=3)
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 3, 3]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [8, IGNORED, IGNORED]]
    assert {tensor.dtype for tensor in batch.values()} == {torch.int64}


def test_an_encoder_batch_has_one_class_a_row() -> None:
    rows = [EncodedRow("a", (5, 6), (1,), 2), EncodedRow("b", (8,), (0,), 1)]
    batch = collate_encoder(rows, pad_id=0)
    assert batch["input_ids"].tolist() == [[5, 6], [8, 0]]
    assert batch["labels"].tolist() == [1, 0]


def test_padding_is_the_pad_token_else_the_end_token_else_nought() -> None:
    assert pad_id(BYTES) == BYTES.eos_token_id
    padded = byte_tokenizer()
    padded.add_special_tokens({"pad_token": "<pad>"})
    assert pad_id(padded) == padded.convert_tokens_to_ids("<pad>")
    assert pad_id(byte_tokenizer(end=False)) == 0


def test_a_chat_template_ends_where_the_assistant_begins() -> None:
    assert chat_of(BYTES) is None
    talking = byte_tokenizer()
    talking.chat_template = (
        "{{ bos_token }}{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}"
        "{% if add_generation_prompt %}<assistant>{% endif %}"
    )
    talk = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yo"}]
    row: dict[str, object] = {"id": "m", "messages": talk}
    example = render(row, prompt=None, completion=None, chat=chat_of(talking))
    (encoded,) = encode_causal([example], talking, max_length=64).rows
    assert said(encoded.input_ids, talking) == "<s><user>Hi<assistant>Yo</s>"
    assert said(encoded.input_ids[encoded.prompt_length :], talking) == "Yo</s>"


def test_a_chat_template_that_writes_the_date_always_writes_the_same() -> None:
    talking = byte_tokenizer()
    talking.chat_template = (
        "  {%- if strftime_now is defined %}{% set today = strftime_now('%d %b %Y') %}{% endif %}"
        "{{ today }}|{{ strftime_now('%A, %B %-d, %Y at %H:%M:%S') }}|{{ strftime_now('%Y-%m-%d') }}"
        "{% for m in messages %} {{ m.content }}{% endfor %}"
    )
    chat = chat_of(talking)
    assert chat is not None
    assert chat([{"role": "user", "content": "Hi"}]) == (
        "26 Jul 2024|Friday, July 26, 2024 at 00:00:00|2024-07-26 Hi"
    )


@pytest.mark.parametrize("blank", ["\n\n", "  ", "\n  {# a note #}\n", ""])
def test_a_clock_taken_from_a_template_leaves_its_blanks_as_they_were(blank: str) -> None:
    body = blank + "  {% for m in messages %}\n{{ m.content }}\n  {% endfor %}\n"
    plain, dated = byte_tokenizer(), byte_tokenizer()
    plain.chat_template = body
    dated.chat_template = body + "{{ strftime_now('%Y') }}"
    first, second = chat_of(plain), chat_of(dated)
    assert first is not None
    assert second is not None
    talk = [{"role": "user", "content": "Hi"}]
    assert second(talk) == first(talk) + "2024"


@pytest.mark.parametrize(
    ("template", "reason"),
    [
        ("{{ raise_exception('roles must alternate') }}", "roles must alternate"),
        ("{{ messages[0].missing.more }}", "missing"),
        ("{{ messages[0].content + 1 }}", "str"),
        ("{% if %}", ""),
    ],
)
def test_messages_that_a_chat_template_does_not_take_name_the_row(
    template: str, reason: str
) -> None:
    talking = byte_tokenizer()
    talking.chat_template = template
    row = {"id": "m", "messages": [{"role": "user", "content": "Hi"}]}
    with pytest.raises(BadInput) as caught:
        render(
            row,
            prompt=None,
            completion=None,
            chat=chat_of(talking),
            target_needed=False,
            where="t.jsonl line 3",
        )
    message = str(caught.value)
    assert message.startswith("t.jsonl line 3: row 'm': the base's chat template does not take the")
    assert reason in message
    assert "\n" not in message


# Real rows, real tokenizers


@pytest.mark.data
@pytest.mark.parametrize("name", ["stories260K", "minilm-l6-fp16"])
def test_real_tokenizers_read_special_tokens_of_a_row_as_text(name: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(real("LORI_MODELS", name))
    special = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
    (ids,) = encode_completions([" ".join(tokenizer.all_special_tokens)], tokenizer)
    assert special.isdisjoint(ids)
    plain = "What is plain stays so: 2 < 3 / 4."
    assert encode_completions([plain], tokenizer) == [
        tuple(tokenizer(plain, add_special_tokens=False)["input_ids"])
    ]


def real(folder: str, name: str) -> Path:
    if folder not in os.environ:
        pytest.skip(f"{folder} is not set")
    return Path(os.environ[folder]) / name


def real_task(name: str, *, metric: str = "exact_match", limit: int = 300) -> TaskConfig:
    def source(role: str) -> DataSource:
        found = sorted(real("LORI_DATA", name).glob(f"{role}.jsonl*"))
        return DataSource(path=str(found[0]), limit=limit)

    task = TaskConfig(name="t", train=source("train"), test=source("test"), metric=metric)
    if metric == "refusal":
        task = replace(task, over_refusal=source("overrefusal_test"))
    return task


@pytest.mark.data
@pytest.mark.parametrize(
    ("name", "metric"),
    [
        ("safety", "refusal"),
        ("nlu/mix", "accuracy"),
        ("math/gsm8k", "exact_number"),
        ("code/mbpp", "pass_at_k"),
    ],
)
def test_real_rows_of_every_kind_pass_through_a_small_base(name: str, metric: str) -> None:
    tokenizer = AutoTokenizer.from_pretrained(real("LORI_MODELS", "stories260K"))
    rows = load_task(real_task(name, metric=metric), None)
    encoded = encode_causal(rows.train, tokenizer, max_length=512, allow_dropped=True)
    assert len(encoded.rows) >= 100
    assert len(encoded.rows) + len(encoded.dropped) == len(rows.train)
    by_id = {example.id: example for example in rows.train}
    for row in encoded.rows:
        assert len(row.input_ids) <= 512
        assert row.input_ids[0] == tokenizer.bos_token_id
        assert row.input_ids[-1] == row.labels[-1] == tokenizer.eos_token_id
        answer = tokenizer.decode(row.input_ids[row.prompt_length : -1])
        assert answer.split() == by_id[row.id].completion.split()


@pytest.mark.data
def test_real_rows_of_a_classification_task_pass_through_an_encoder() -> None:
    tokenizer = AutoTokenizer.from_pretrained(real("LORI_MODELS", "minilm-l6-fp16"))
    rows = load_task(real_task("cl/dbpedia", metric="accuracy"), None)
    known = labels(rows.train)
    encoded = encode_encoder(rows.train, tokenizer, max_length=96, labels=known)
    assert len(known) == 14
    assert 0 < encoded.cut < len(rows.train)
    assert max(len(row.input_ids) for row in encoded.rows) == 96
    for row, example in zip(encoded.rows, rows.train, strict=True):
        assert (row.input_ids[0], row.input_ids[-1]) == (
            tokenizer.cls_token_id,
            tokenizer.sep_token_id,
        )
        assert known[row.labels[0]] == example.completion
