"""Garbage is searched for seldom while a process imports, and as before once it works."""

import gc
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import pytest

from flows.collecting import SELDOM, collecting_seldom, importing


@pytest.fixture(autouse=True)
def thresholds_as_they_were() -> Iterator[None]:
    before = gc.get_threshold()
    gc.set_threshold(500, 5, 5)
    yield
    gc.set_threshold(*before)


def test_what_is_imported_is_set_aside_and_collecting_goes_on_as_before() -> None:
    frozen = gc.get_freeze_count()
    with importing():
        assert gc.get_threshold() == SELDOM
        made: list[list[int]] = [[] for _ in range(1000)]
    assert gc.get_threshold() == (500, 5, 5)
    assert gc.get_freeze_count() >= frozen + len(made)


@pytest.mark.parametrize("block", [importing, collecting_seldom])
def test_an_import_that_fails_leaves_collecting_as_it_was(
    block: Callable[[], AbstractContextManager[None]],
) -> None:
    with pytest.raises(ImportError), block():
        raise ImportError("no such library")
    assert gc.get_threshold() == (500, 5, 5)
