import pytest

from lori_core.errors import BadInput
from lori_core.names import check_name


@pytest.mark.parametrize("name", ["a", "0", "gsm8k", "nlu-mix", "a.b_c-d", "x" * 64])
def test_a_good_name_comes_back_as_it_is(name: str) -> None:
    assert check_name("task", name) == name


@pytest.mark.parametrize(
    "name",
    ["", "A", "-a", ".a", "_a", "a b", "a/b", "../a", "a\n", "ä", "x" * 65, "a;rm", 5, None, True],
)
def test_a_bad_name_is_one_line_that_shows_it(name: object) -> None:
    with pytest.raises(BadInput) as caught:
        check_name("task", name)
    message = str(caught.value)
    assert message.startswith(f"task name {name!r}: expected 1 to 64 of a-z")
    assert "\n" not in message


@pytest.mark.parametrize(
    ("name", "offered"), [("My Task", "my-task"), ("SQL/v2", "sql-v2"), ("..a", "a"), ("Ü", None)]
)
def test_a_name_that_would_do_is_offered(name: str, offered: str | None) -> None:
    with pytest.raises(BadInput) as caught:
        check_name("sequence", name)
    assert caught.value.remedy == (f"Try `{offered}`." if offered else "Choose another name.")
