"""What all tests share: the order they are given out in, and a heap that stays cheap to search."""

import gc
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.made_once import copy_tables, made_once, make_prefect_store, make_tables


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """What is imported stays: searching it for garbage took a fifth of the collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests first: begun last, one of them would be all that still runs."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="module", autouse=True)
def what_came_before_is_not_searched_again() -> None:
    """Set aside what the files before left for good: routes of hundreds of apps, imported libraries.

    Accelerate collects garbage at the end of every training, and searching ten million objects each
    time took nearly all of the time of the tests of training.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def prefect_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which Prefect made its own store; `copy_prefect_store` copies that."""
    return made_once("prefect-store", make_prefect_store, tmp_path_factory)


@pytest.fixture
def tables(home: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Our store is in the test's home already, empty, as its migrations leave it."""
    copy_tables(made_once("tables", make_tables, tmp_path_factory), home)
