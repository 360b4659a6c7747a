import pytest

from flows.recorded import Named, parse_name, parse_sequence
from lori_core.errors import BadInput


def test_versions_are_named_as_the_design_says() -> None:
    assert parse_name("assistant") == Named("assistant", None)
    assert parse_name("assistant/3") == Named("assistant", 3)


@pytest.mark.parametrize("text", ["", "A", "a b", "a/", "a/0", "a/-1", "a/x", "a/1.0", "a/²"])
def test_what_is_no_name_of_a_version_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_name(text)


@pytest.mark.parametrize("alias", ["champion", "candidate", "previous"])
def test_what_serves_is_named_by_its_alias(alias: str) -> None:
    named = parse_name(f"assistant@{alias}")
    assert (named.sequence, named.version, named.alias) == ("assistant", None, alias)
    assert str(named) == f"assistant@{alias}"


@pytest.mark.parametrize(
    "text", ["a@", "a@Champion", "a@winner", "a/1@champion", "a@champion/1", "@"]
)
def test_what_is_no_alias_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_name(text)


@pytest.mark.parametrize("number", ["9" * 5000, str(2**31)])
def test_a_number_no_column_holds_is_refused(number: str) -> None:
    with pytest.raises(BadInput):
        parse_name(f"a/{number}")


def test_where_no_version_can_be_meant_none_is_taken() -> None:
    assert parse_sequence("assistant") == "assistant"
    for text in ("assistant/1", "assistant@champion"):
        with pytest.raises(BadInput, match="the sequence alone"):
            parse_sequence(text)
