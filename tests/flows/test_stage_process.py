"""The training child, for real: it imports torch, so each test takes seconds."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.stage_process import StageProcess
from flows.stage_protocol import StageCrashed, line, raise_refusal, refusal
from lori_core.config import AdapterConfig, BaseConfig, DataSource, SequenceConfig, TaskConfig
from lori_core.errors import BadInput, CheckFailed, UnknownLayers
from lori_core.sequence_file import sequence_to_json
from tests.flows.tiny import rows, tiny_base, write_rows


def inspect_spec(folder: Path, *, targets: tuple[str, ...]) -> dict[str, object]:
    source = DataSource(path=str(write_rows(folder / "rows.jsonl", rows("color", "train", 8))))
    task = TaskConfig(name="color", train=source, test=source)
    config = SequenceConfig(
        sequence="s",
        base=BaseConfig(path=str(tiny_base(folder / "base"))),
        adapter=AdapterConfig(r=4, target_modules=targets),
        tasks=(task,),
    )
    return {
        "sequence": sequence_to_json(config),
        "positions": [],
        "metric_folder": str(folder),
    }


@pytest.mark.slow
def test_the_child_serves_stages_tells_refusals_and_survives_them(tmp_path: Path) -> None:
    with StageProcess(tmp_path, "s") as stages:
        wrong = inspect_spec(tmp_path, targets=("q_prj",))
        with pytest.raises(BadInput, match="q_prj match no linear layer") as told:
            stages.run("inspect", tmp_path / "a", wrong, lambda progress: None)
        assert "\n" not in str(told.value)
        right = inspect_spec(tmp_path, targets=("q_proj",))
        found = stages.run("inspect", tmp_path / "b", right, lambda progress: None)
        assert found["entries"] == 2 * 64 * 4  # two layers of 64 outputs, rank 4
        with pytest.raises(StageCrashed, match="KeyError: 'no such stage'"):
            stages.run("no such stage", tmp_path / "c", {}, lambda progress: None)


@pytest.mark.slow
def test_a_killed_child_is_told_as_such_and_an_idle_one_leaves_at_once(tmp_path: Path) -> None:
    stages = StageProcess(tmp_path, "s")
    pid = stages.start().pid
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(StageCrashed, match="was killed"):
        stages.run("inspect", tmp_path / "a", {}, lambda progress: None)
    stages.stop()
    idle = StageProcess(tmp_path, "s")
    idle.start()
    began = time.monotonic()
    idle.stop(grace=60)
    assert time.monotonic() - began < 30


def test_the_child_is_bound_to_us_and_out_of_reach_of_the_terminal(
    tmp_path: Path, wait_until: Callable[[Callable[[], bool]], None]
) -> None:
    stages = StageProcess(tmp_path, "s")
    pid = stages.start().pid
    wait_until(lambda: "flows.stage_worker" in psutil.Process(pid).cmdline())
    assert os.getpgid(pid) == pid  # Ctrl-C goes to our group, not to its
    assert psutil.Process(pid).ppid() == os.getpid()
    stages.stop(grace=0)


@pytest.mark.parametrize(
    "error",
    [BadInput("r 0", "at least 1", "Raise it."), UnknownLayers(["x"], ["q_proj"])],
)
def test_a_refusal_says_the_same_on_both_sides(error: BadInput) -> None:
    with pytest.raises(BadInput) as told:
        raise_refusal(refusal(error))
    assert str(told.value) == str(error)


def test_a_failed_check_stays_a_failed_check() -> None:
    with pytest.raises(CheckFailed, match="certificate: layer x moved"):
        raise_refusal(refusal(CheckFailed("certificate", "layer x moved")))


def test_a_message_is_one_line_whatever_it_holds() -> None:
    assert line({"text": "a\nb"}).count(b"\n") == 1
