"""What is made once for all processes of one session of tests, and copied for each test that needs it."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from registry.home import file_lock
from registry.store import open_registry


def made_once(name: str, make: Callable[[Path], None], folders: pytest.TempPathFactory) -> Path:
    """A folder that the first process of tests to need it makes, for all of them."""
    ours = folders.getbasetemp()
    place = ours.parent if ours.name.startswith("popen-") else ours  # pytest-xdist's own name
    folder, made = place / name, place / f"{name}.made"
    with file_lock(place / f"{name}.lock"):
        if not made.exists():
            for half in (folder, as_made(folder)):  # of one that failed
                shutil.rmtree(half, ignore_errors=True)
            folder.mkdir()
            make(folder)
            shutil.copytree(folder, as_made(folder), symlinks=True)
            made.touch()
    return folder


def as_made(folder: Path) -> Path:
    """Its copy, which nobody has open: what is copied again is whole."""
    return folder.with_name(f"{folder.name}-as-made")


def make_prefect_store(home: Path) -> None:
    """A home in which Prefect's server made its own store, and nothing else was done."""
    from flows.prefect_server import TRIES, PrefectServer

    (home / "prefect").mkdir()
    server = PrefectServer(home)
    made = False
    for _ in range(TRIES):  # another process may take its port first
        server.start()
        try:
            made = server.wait()
        finally:
            server.stop()
        if made:
            return
    raise AssertionError(server.log.read_text(errors="replace"))


def make_tables(home: Path) -> None:
    """A home whose store has its tables: alembic takes a tenth of a second of a core for them."""
    open_registry(home).close()


def copy_tables(made: Path, home: Path) -> None:
    """Give a new home a copy of them."""
    home.mkdir(mode=0o700, parents=True)
    shutil.copy(as_made(made) / "registry.db", home)


def copy_prefect_store(store: Path, home: Path) -> None:
    """Give a new home a copy of what Prefect takes four seconds of a core to make, the same each time."""
    shutil.copytree(as_made(store) / "prefect", home / "prefect")
