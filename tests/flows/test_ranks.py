"""Two training processes under torchrun, for real: none outlives the run, and the bits stay."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from flows.processes import ProcessIdentity
from flows.stage_process import StageProcess
from flows.stage_protocol import StageCrashed, StageProgress
from lori_core.config import ResourcesConfig
from tests.flows.conftest import ROOT, Lab
from tests.flows.ranked import FOR_EVER, TWO, calibrate_spec
from tests.flows.tiny import write_sequence
from tests.made_once import copy_prefect_store

pytestmark = pytest.mark.slow

WaitUntil = Callable[..., None]


def test_stopped_within_seconds_two_processes_go_on_to_the_same_bits(tmp_path: Path) -> None:
    """SIGTERM to torchrun: a checkpoint is written, all leave, and the next two end where one go does."""
    spec = calibrate_spec(tmp_path, epochs=8.0)
    family: list[ProcessIdentity] = []
    stopped_at: list[float] = []

    def stop(progress: StageProgress) -> None:
        if progress.done >= 20 and not stopped_at:
            stopped_at.append(time.monotonic())
            os.kill(family[0].pid, signal.SIGTERM)

    with StageProcess(tmp_path, "s", family.append) as stages:
        calm = stages.run("calibrate", tmp_path / "calm", spec, lambda progress: None, TWO)
        with pytest.raises(StageCrashed):
            stages.run("calibrate", tmp_path / "rough", spec, stop, TWO)
        assert time.monotonic() - stopped_at[0] < 10
    assert [each.what for each in family] == ["stages", "training process 0", "training process 1"]
    assert not any(each.alive() for each in family)
    kept = [path.name for path in (tmp_path / "rough" / "checkpoints").iterdir()]
    assert len(kept) == 1
    step = int(kept[0].removeprefix("checkpoint-"))
    assert 20 <= step < 64
    with StageProcess(tmp_path, "s") as stages:
        rough = stages.run("calibrate", tmp_path / "rough", spec, lambda progress: None, TWO)
    assert rough == calm  # the digest of how far every entry moved among it
    assert calm["steps"] == 64
    assert not list((tmp_path / "logs").glob("torchrun-*"))


@pytest.mark.parametrize("victim", [0, 1, 2])
def test_when_torchrun_or_a_process_is_killed_none_is_left_and_it_is_told(
    tmp_path: Path, victim: int, wait_until: WaitUntil
) -> None:
    family: list[ProcessIdentity] = []
    killed: list[ProcessIdentity] = []

    def kill(progress: StageProgress) -> None:
        if not killed:
            killed.append(family[victim])
            os.kill(family[victim].pid, signal.SIGKILL)

    stages = StageProcess(tmp_path, "s", family.append)
    with pytest.raises(StageCrashed, match="was killed"):
        stages.run(
            "calibrate", tmp_path / "a", calibrate_spec(tmp_path, epochs=FOR_EVER), kill, TWO
        )
    wait_until(lambda: not any(each.alive() for each in family), 20)
    stages.stop(grace=0)


def test_when_the_run_is_killed_none_is_left(tmp_path: Path, wait_until: WaitUntil) -> None:
    run = subprocess.Popen(
        [sys.executable, "-m", "tests.flows.ranked", str(tmp_path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    wait_until((tmp_path / "works").exists, 200)
    family = psutil.Process(run.pid).children(recursive=True)
    assert len(family) == 3
    run.kill()
    run.wait()
    assert not psutil.wait_procs(family, timeout=5)[1]


def test_a_sequence_of_tasks_of_two_and_of_one_process_is_learned_and_verified(
    tmp_path: Path, prefect_store: Path
) -> None:
    write_sequence(tmp_path, ("color", "size"))
    lab = Lab(tmp_path)
    copy_prefect_store(prefect_store, lab.home)
    text = lab.file.read_text(encoding="utf-8")
    asked = text.replace("- name: color\n", "- name: color\n    resources: {processes: 2}\n")
    lab.file.write_text(asked, encoding="utf-8")
    answer = lab.lori("run", lab.file)
    assert answer.returncode == 0, answer.stderr
    logs = [
        json.loads(path.read_text()) for path in sorted(lab.home.glob("stages/train-*/log.json"))
    ]
    assert {each["task"]: each.get("processes", 1) for each in logs} == {"color": 2, "size": 1}
    assert lab.lori("verify", "tiny").returncode == 0
    lab.file.write_text(text, encoding="utf-8")  # how many processes it took is no part of the task
    again = lab.lori("run", lab.file)
    assert again.returncode == 0, again.stderr
    assert "nothing to do" in again.stdout


def test_gpus_that_are_not_there_are_refused_before_anything_is_learned(tmp_path: Path) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this host has a GPU")
    spec = calibrate_spec(tmp_path, epochs=1.0)
    needs = ResourcesConfig(gpus=2, processes=2)
    with (
        StageProcess(tmp_path, "s") as stages,
        pytest.raises(ValueError, match=r"finds no GPU .* one GPU for each process"),
    ):
        stages.run("calibrate", tmp_path / "a", spec, lambda progress: None, needs)
