from collections.abc import Mapping, Sequence

import pytest

from lori_core.errors import BadInput
from lori_core.prompts import Example, render, template_fields


def rendered(row: dict[str, object], **changes: object) -> Example:
    given: dict[str, object] = {"prompt": None, "completion": None, "chat": None, **changes}
    return render({"id": "r1", **row}, **given)  # type: ignore[arg-type]


def refusal(row: dict[str, object], **changes: object) -> str:
    with pytest.raises(BadInput) as caught:
        rendered(row, **changes)
    message = str(caught.value)
    assert message.startswith("row 'r1'")
    assert "\n" not in message
    return message.removeprefix("row 'r1'").removeprefix(": ")


def tagged(messages: Sequence[Mapping[str, str]]) -> str:
    """A chat template of a test."""
    return "".join(f"<{turn['role']}>{turn['content']}" for turn in messages) + "<assistant>"


# Forms


def test_an_instruction_row_keeps_its_input_apart() -> None:
    example = rendered({"instruction": "Name the topic.", "input": "A goal!", "target": "Sports"})
    assert (example.prefix, example.input, example.suffix) == ("Name the topic.\n", "A goal!", "\n")
    assert example.prompt == "Name the topic.\nA goal!\n"
    assert example.completion == "Sports"


@pytest.mark.parametrize("absent", [{}, {"input": ""}, {"input": None}])
def test_an_instruction_without_input_ends_with_one_line_break(absent: dict[str, object]) -> None:
    example = rendered({"instruction": "2 + 2", "output": "4", **absent})
    assert (example.prompt, example.input, example.completion) == ("2 + 2\n", "", "4")


def test_target_goes_before_output() -> None:
    assert rendered({"instruction": "q", "target": "t", "output": "o"}).completion == "t"


def test_prompt_and_completion_are_taken_as_they_are() -> None:
    example = rendered({"prompt": " Q: 2 {x}\n", "completion": " 4 "})
    assert (example.prompt, example.completion) == (" Q: 2 {x}\n", " 4 ")
    assert example.input == ""


def test_text_is_learned_whole() -> None:
    example = rendered({"text": "Once upon a time"})
    assert (example.prompt, example.completion) == ("", "Once upon a time")


def test_messages_go_through_the_chat_template_all_but_the_answer() -> None:
    talk = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "Hi"},
        {"role": "assistant", "content": "Hello"},
    ]
    example = rendered({"messages": talk}, chat=tagged)
    assert example.prompt == "<system>Be kind.<user>Hi<assistant>"
    assert example.completion == "Hello"


def test_a_conversation_that_must_merely_be_answered_has_no_completion() -> None:
    talk = [{"role": "user", "content": "Hi"}]
    example = rendered({"messages": talk}, chat=tagged, target_needed=False)
    assert (example.prompt, example.completion) == ("<user>Hi<assistant>", "")


def test_a_template_fills_in_fields_and_leaves_the_input_free_to_cut() -> None:
    row = {"input": "long text", "q": "Topic?", "n": 3, "meta": {"a": "Sports"}}
    example = rendered(row, prompt="{{n}}={n} {input} / {q} {input}", completion="{meta.a}!")
    assert (example.prefix, example.input) == ("{n}=3 ", "long text")
    assert example.suffix == " / Topic? long text"
    assert example.completion == "Sports!"


def test_what_a_field_holds_is_never_read_as_a_template() -> None:
    example = rendered({"q": "{a} {{", "a": "{q}"}, prompt="{q}", completion="{a}")
    assert (example.prompt, example.completion) == ("{a} {{", "{q}")


def test_a_template_goes_before_the_rows_own_form() -> None:
    row = {"instruction": "a", "target": "b", "prompt": "c", "completion": "d"}
    example = rendered(row, prompt="Q {instruction}", completion="{target}")
    assert (example.prompt, example.completion) == ("Q a", "b")


def test_fields_of_other_names_are_kept_as_facts_about_the_row() -> None:
    row = {"instruction": "q", "target": "a", "kind": "code", "meta": {"tests": ["assert f()"]}}
    assert rendered(row).meta == {"kind": "code", "tests": ["assert f()"]}


@pytest.mark.parametrize(
    ("template", "names"),
    [("", ()), ("plain", ()), ("{a}{b-c} {a}", ("a", "b-c", "a")), ("{{a}} {{{b}}}", ("b",))],
)
def test_a_template_names_its_fields(template: str, names: tuple[str, ...]) -> None:
    assert template_fields(template) == names


@pytest.mark.parametrize(
    ("template", "brace", "at"),
    [("{", "{", 1), ("a }", "}", 3), ("{a b}", "{", 1), ("{}", "{", 1), ("{a!r}", "{", 1)],
)
def test_a_lone_brace_is_shown_with_its_place(template: str, brace: str, at: int) -> None:
    with pytest.raises(BadInput, match="lone") as caught:
        template_fields(template)
    assert f"lone `{brace}` at character {at}" in str(caught.value)


# Choices and labels


def test_a_label_is_an_index_into_the_choices() -> None:
    row = {"instruction": "q", "target": "no", "choices": ["yes", "no"], "label": 1}
    example = rendered(row)
    assert (example.choices, example.label) == (("yes", "no"), 1)


def test_a_label_is_found_from_the_target_where_it_is_not_given() -> None:
    row = {"instruction": "q", "target": "no", "choices": ["yes", "no"]}
    assert rendered(row).label == 1
    assert rendered({**row, "target": "answer2"}).label is None


def test_an_answer_word_that_is_no_choice_goes_with_a_label() -> None:
    row = {"instruction": "q", "target": "answer2", "choices": ["ok", "ok"], "label": 1}
    assert rendered(row).label == 1


@pytest.mark.parametrize("label", [2, -1, "1", 1.0, True])
def test_a_label_outside_the_set_is_refused(label: object) -> None:
    row = {"instruction": "q", "target": "no", "choices": ["yes", "no"], "label": label}
    message = refusal(row)
    said = "true" if label is True else repr(label)
    assert message.startswith(f"label {said} is outside the set: expected an index from 0 to 1")
    assert message.endswith("yes, no. Correct the row's `label` (counted from 0) or its `choices`.")


def test_a_label_and_a_target_that_disagree_are_refused() -> None:
    row = {"instruction": "q", "target": "no", "choices": ["yes", "no"], "label": 0}
    assert refusal(row).startswith("label 0 is 'yes' but the target is 'no'")


@pytest.mark.parametrize("choices", ["ab", ["a"], [], ["a", 1], {"a": 1}])
def test_choices_are_two_or_more_texts(choices: object) -> None:
    row = {"instruction": "q", "target": "a", "choices": choices}
    assert refusal(row).startswith("field `choices`")


# What is missing or of the wrong kind


@pytest.mark.parametrize(
    ("row", "changes", "message"),
    [
        (
            {"instruction": "q"},
            {},
            "field `target` or `output` is missing: expected `target` or `output` in every row. "
            "The row has id, instruction.",
        ),
        ({"prompt": "q"}, {}, "field `completion` is missing"),
        ({"prompt": "q", "completion": None}, {}, "field `completion` is missing"),
        ({"question": "q"}, {}, " has the fields id, question: expected prompt + completion"),
        ({"instruction": 3, "target": "a"}, {}, "field `instruction` is 3: expected text."),
        ({"instruction": "q", "input": [1], "target": "a"}, {}, "field `input` is [1]: expected"),
        ({"instruction": "q", "target": ["a"]}, {}, "field `target` is ['a']: expected text"),
        ({"instruction": "q", "target": "a", "meta": 3}, {}, "field `meta` is 3: expected a map"),
        ({"text": 5}, {}, "field `text` is 5: expected text."),
        (
            {"q": "x"},
            {"prompt": "{question}", "completion": "{q}"},
            "field `question` is missing: expected `question` in every row. The row has id, q.",
        ),
        ({"q": "x"}, {"prompt": "{q}", "completion": "{a}"}, "field `a` is missing"),
        ({"q": {}}, {"prompt": "{q}", "completion": "{q}"}, "field `q` is a dict: expected text"),
        ({"q": "x"}, {"prompt": "{q}"}, "a prompt template without one for the completion"),
        (
            {"messages": []},
            {"chat": tagged},
            "field `messages`: expected a list of {role, content}",
        ),
        ({"messages": "hi"}, {"chat": tagged}, "field `messages`: expected a list"),
        (
            {"messages": [{"role": "user"}]},
            {"chat": tagged},
            "message 1 of `messages`: expected a role and a content as text.",
        ),
        (
            {"messages": [{"role": "user", "content": "q"}]},
            {"chat": tagged},
            "`messages` ends with role 'user'",
        ),
        (
            {"messages": [{"role": "assistant", "content": "a"}]},
            {"chat": tagged},
            "`messages` holds an answer alone",
        ),
        (
            {"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]},
            {},
            " has `messages`: expected a base with a chat template.",
        ),
    ],
)
def test_a_row_that_cannot_be_rendered_says_what_is_missing(
    row: dict[str, object], changes: dict[str, object], message: str
) -> None:
    assert refusal(row, **changes).startswith(message)


def test_the_place_of_a_row_opens_the_message() -> None:
    with pytest.raises(BadInput) as caught:
        rendered({"instruction": "q"}, where="train.jsonl line 3")
    assert str(caught.value).startswith("train.jsonl line 3: row 'r1': field `target` or `output`")


@pytest.mark.parametrize(
    ("row", "changes"),
    [
        ({"instruction": "q"}, {}),
        ({"prompt": "q"}, {}),
        ({"q": "q"}, {"prompt": "{q}", "completion": "{a}"}),
    ],
)
def test_a_row_that_must_merely_be_answered_needs_no_target(
    row: dict[str, object], changes: dict[str, object]
) -> None:
    assert rendered(row, target_needed=False, **changes).completion == ""


@pytest.mark.parametrize(("value", "text"), [(4, "4"), (0.5, "0.5"), (0, "0"), ("", "")])
def test_a_template_writes_a_number_as_its_text(value: object, text: str) -> None:
    row = {"q": "q", "a": value}
    assert rendered(row, prompt="{q}", completion="{a}").completion == text


@pytest.mark.parametrize("value", [5, 0.5, True, ["a"], {"a": 1}])
@pytest.mark.parametrize(
    ("row", "field"),
    [
        ({"prompt": "q", "completion": "a"}, "prompt"),
        ({"prompt": "q", "completion": "a"}, "completion"),
        ({"instruction": "q", "input": "i", "target": "a"}, "instruction"),
        ({"instruction": "q", "input": "i", "target": "a"}, "input"),
        ({"instruction": "q", "input": "i", "target": "a"}, "target"),
        ({"instruction": "q", "output": "a"}, "output"),
        ({"text": "t"}, "text"),
    ],
)
def test_what_is_no_text_is_refused_where_text_is_learned(
    row: dict[str, object], field: str, value: object
) -> None:
    with pytest.raises(BadInput, match=f"field `{field}` is .*: expected text"):
        rendered({**row, field: value})
