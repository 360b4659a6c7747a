"""Homes for the tests of flows: a fresh one for each test, and one where a sequence was learned."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.flows.prepared import STARTED, run_prepared
from tests.flows.tiny import rows, tiny_base, write_rows, write_sequence
from tests.made_once import as_made, copy_prefect_store, made_once

if TYPE_CHECKING:
    from tests.flows.prefect_cases import PrefectPlace

ROOT = Path(__file__).parents[2]
TASKS = ("color", "size", "animal")
HOW = ("--max-new-tokens", "2")
"""How the rows of the tiny tasks are answered, for `lori adopt`."""


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
        self,
        *arguments: str | Path,
        timeout: float = 300,
        home: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        ours = {"LORI_HOME": str(home or self.home), "PYTHONPATH": str(ROOT)}
        theirs = {**os.environ, **ours, **(environment or {})}
        if arguments[0] not in STARTED:
            return run_prepared(tuple(map(str, arguments)), theirs, self.folder, timeout)
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *map(str, arguments)],
            env=theirs,
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


@pytest.fixture
def with_prefect(lab: Lab, prefect_store: Path) -> None:
    """The home of `lab` holds a copy of a store that Prefect made."""
    copy_prefect_store(prefect_store, lab.home)


@pytest.fixture(scope="session")
def learned_once(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Three tasks, learned. Other processes of tests read it too: change nothing that a test looks at."""

    def learn(folder: Path) -> None:
        write_sequence(folder, TASKS, more="guards: [color]")
        lab = Lab(folder)
        answer = lab.lori("run", lab.file)
        assert answer.returncode == 0, answer.stderr

    return Lab(made_once("learned", learn, tmp_path_factory))


@pytest.fixture
def learned(learned_once: Lab, tmp_path: Path) -> Lab:
    """A copy of it, to change. The base stays where it was learned from."""
    folder = tmp_path / "lab"
    shutil.copytree(as_made(learned_once.folder), folder, symlinks=True)
    return Lab(folder)


@pytest.fixture
def workshop(tmp_path: Path) -> Lab:
    """A base, two LoRAs and their rows; nothing adopted."""
    return a_workshop(tmp_path)


def a_workshop(folder: Path) -> Lab:
    from tests.lori_core.peft_cases import peft_lora

    tiny_base(folder / "base")
    for name, seed in (("color", 1), ("size", 2)):
        made = peft_lora(folder / "base", folder / "loras" / name, seed=seed, lora_alpha=8)
        assert (made / "adapter_model.safetensors").is_file()
        write_rows(folder / "rows" / f"{name}.jsonl", rows(name, "test", 16))
    return Lab(folder)


@pytest.fixture(scope="session")
def adopted_once(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Both adopted. Other processes of tests read it too: change nothing that a test looks at."""
    return Lab(made_once("adopted", _adopt_both, tmp_path_factory))


def _adopt_both(folder: Path) -> None:
    lab = a_workshop(folder)
    first = lab.lori(
        "adopt", "loras/color", "--as", "team", "--base", "base", "--test", "rows/color.jsonl",
        "--guards", "color", "--purpose", "names <colours>", "--license", "MIT", *HOW,
    )  # fmt: skip
    assert first.returncode == 0, first.stderr
    assert "adopted as team/1" in first.stdout
    second = lab.lori(
        "adopt", "loras/size", "--as", "team", "--test", "rows/size.jsonl", *HOW, "--json"
    )
    assert second.returncode == 0, second.stderr
    assert json.loads(second.stdout) == {
        "sequence": "team", "version": 2, "task": "size", "already": False
    }  # fmt: skip


@pytest.fixture
def adopted(adopted_once: Lab, tmp_path: Path) -> Lab:
    """A copy of it, to change."""
    folder = tmp_path / "lab"
    shutil.copytree(as_made(adopted_once.folder), folder, symlinks=True)
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


@pytest.fixture(scope="module")
def prefect_place_once(
    tmp_path_factory: pytest.TempPathFactory, prefect_store: Path
) -> "Iterator[PrefectPlace]":
    """One Prefect server for all tests of a file; idle, it takes a fiftieth of a core."""
    from tests.flows.prefect_cases import a_prefect_place

    with a_prefect_place(tmp_path_factory.mktemp("prefect"), prefect_store) as place:
        yield place


@pytest.fixture
def prefect_place(
    prefect_place_once: "PrefectPlace", monkeypatch: pytest.MonkeyPatch
) -> "PrefectPlace":
    """The same, with this process's home there."""
    monkeypatch.setenv("LORI_HOME", str(prefect_place_once.crew.home))
    return prefect_place_once
