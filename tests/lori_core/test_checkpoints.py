"""A checkpoint is whole or it is not there."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from lori_core.checkpoints import Checkpoint, Facts, newest_checkpoint, write_checkpoint

FACTS = Facts((0.1, 1 / 3), (2.0, 1e-30), 77, {"last_epoch": 2, "_last_lr": [0.1 + 0.2]})


def write(root: Path, step: int, identity: str = "phase") -> Checkpoint:
    return write_checkpoint(
        root,
        step=step,
        identity=identity,
        tensors={"values": torch.arange(4.0) * step},
        facts=FACTS,
        trainer_state='{"global_step": 0}',
    )


def test_what_was_written_is_read_again_exactly(tmp_path: Path) -> None:
    write(tmp_path, 3)
    found = newest_checkpoint(tmp_path, "phase")
    assert found is not None
    assert (found.step, found.facts) == (3, FACTS)
    assert torch.equal(found.tensors()["values"], torch.arange(4.0) * 3)


def test_nothing_there_is_no_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path / "nowhere", "phase") is None


def test_a_newer_checkpoint_replaces_the_older(tmp_path: Path) -> None:
    write(tmp_path, 9)
    write(tmp_path, 10)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-10"]


def test_another_phase_does_not_see_it(tmp_path: Path) -> None:
    write(tmp_path, 3, identity="another")
    assert newest_checkpoint(tmp_path, "phase") is None


def _cut(name: str) -> Callable[[Path], None]:
    def cut(folder: Path) -> None:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[: len(whole) // 2])

    return cut


def _flip(folder: Path) -> None:
    data = bytearray((folder / "tensors.safetensors").read_bytes())
    data[-1] ^= 1
    (folder / "tensors.safetensors").write_bytes(data)


def _changed(change: Callable[[dict[str, Any]], object]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        marker = json.loads((folder / "checkpoint.json").read_text())
        change(marker)
        (folder / "checkpoint.json").write_text(json.dumps(marker))

    return edit


@pytest.mark.parametrize(
    "damage",
    [
        _cut("trainer_state.json"),
        lambda folder: (folder / "trainer_state.json").write_text('{"global_step": 1}'),
        _changed(lambda marker: marker.pop("facts")),
        _changed(lambda marker: marker["facts"].pop("schedule")),
        _changed(lambda marker: marker.update(facts=[])),
        _changed(lambda marker: marker["facts"].update(tokens=78)),
        _changed(lambda marker: marker.update(step=6)),
        _changed(lambda marker: marker.update(files={})),
        _cut("checkpoint.json"),
        _cut("tensors.safetensors"),
        _flip,
        lambda folder: (folder / "checkpoint.json").unlink(),
        lambda folder: (folder / "tensors.safetensors").unlink(),
        lambda folder: (folder / "trainer_state.json").unlink(),
        lambda folder: (folder / "checkpoint.json").write_text("[]"),
        lambda folder: folder.rename(folder.with_name(".writing-5-1")),
    ],
)
def test_a_half_written_checkpoint_is_passed_over_for_the_whole_one_before_it(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    older = write(tmp_path, 4).folder
    kept = tmp_path / "kept"
    shutil.copytree(older, kept)
    newer = write(tmp_path, 5).folder
    kept.rename(older)
    damage(newer)
    found = newest_checkpoint(tmp_path, "phase")
    assert found is not None
    assert found.step == 4
    write(tmp_path, 5)  # and the wreck does not stand in the way
    found = newest_checkpoint(tmp_path, "phase")
    assert found is not None
    assert found.step == 5
    assert len(list(tmp_path.iterdir())) == 1


def test_a_write_that_fails_leaves_the_older_one_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, 1)

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space"):
        write(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint-1"]
    found = newest_checkpoint(tmp_path, "phase")
    assert found is not None
    assert found.step == 1
