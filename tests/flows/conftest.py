"""Homes for the tests of flows: a fresh one for each test, and one where a sequence was learned."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.flows.tiny import write_sequence

ROOT = Path(__file__).parents[2]
TASKS = ("color", "size", "animal")


@dataclass(frozen=True)
class Lab:
    """A folder with a sequence file and a home, and the command to run there."""

    folder: Path

    @property
    def home(self) -> Path:
        return self.folder / "home"

    @property
    def file(self) -> Path:
        return self.folder / "tiny.yaml"

    def lori(
        self, *arguments: str | Path, timeout: float = 300
    ) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            env={**os.environ, "LORI_HOME": str(self.home), "PYTHONPATH": str(ROOT)},
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A sequence file of two tasks, nothing learned."""
    write_sequence(tmp_path, TASKS[:2])
    return Lab(tmp_path)


@pytest.fixture(scope="session")
def learned_once(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Three tasks, learned; do not change anything there."""
    folder = tmp_path_factory.mktemp("learned")
    write_sequence(folder, TASKS, more="guards: [color]")
    lab = Lab(folder)
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 0, answer.stderr
    return lab


@pytest.fixture
def learned(learned_once: Lab, tmp_path: Path) -> Lab:
    """A copy of it, to change. The base stays where it was learned from."""
    folder = tmp_path / "lab"
    shutil.copytree(learned_once.folder, folder, symlinks=True)
    return Lab(folder)


@pytest.fixture
def wait_until() -> Callable[[Callable[[], bool]], None]:
    """Poll until something is true, for at most ten seconds."""
    import time

    def wait(true: Callable[[], bool], seconds: float = 10) -> None:
        deadline = time.monotonic() + seconds
        while not true():
            assert time.monotonic() < deadline, "it did not happen in time"
            time.sleep(0.02)

    return wait
