import pytest

from flows.recorded import Named, parse_name
from lori_core.errors import BadInput


def test_versions_are_named_as_the_design_says() -> None:
    assert parse_name("assistant") == Named("assistant", None)
    assert parse_name("assistant/3") == Named("assistant", 3)


@pytest.mark.parametrize("text", ["", "A", "a b", "a/", "a/0", "a/-1", "a/x", "a/1.0", "a/²"])
def test_what_is_no_name_of_a_version_is_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_name(text)


def test_an_alias_under_which_nothing_serves_is_told_as_that() -> None:
    with pytest.raises(BadInput, match="no version of 'assistant' is champion"):
        parse_name("assistant@champion")
