"""Two training processes over gloo against one: the same batches, so the same task to rounding."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from lori_core.distributed import ALONE, Ranks
from tests.lori_core.distributed_cases import LEFT_AT, STEPS, learn
from tests.lori_core.training_cases import same

SECONDS = 300.0


def together(folder: Path, *jobs: str) -> None:
    """Do jobs in two processes."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    meeting = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    here = {**os.environ, **meeting, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.lori_core.distributed_cases", str(folder), *jobs],
            env=here | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(2)
    ]
    try:
        assert [each.wait(SECONDS) for each in processes] == [0, 0]
    finally:
        for each in processes:
            each.kill()


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """FOLDER/twice: by two processes, in two goes. FOLDER/once: by this process alone."""
    folder = tmp_path_factory.mktemp("distributed")
    for name in ("twice", "again", "once/causal", "once/encoder"):
        (folder / name).mkdir(parents=True)
    together(folder / "twice", "causal", "encoder")
    together(folder / "again", "stopped")
    for family in ("causal", "encoder"):
        learn(family, folder / "once" / family)
    return folder


def facts(folder: Path) -> dict[str, list[float]]:
    found: dict[str, list[float]] = json.loads((folder / "facts.json").read_text())
    return found


def tensors(folder: Path, kind: str = "") -> dict[str, Tensor]:
    found = load_file(folder / "result.safetensors")
    return {name: tensor for name, tensor in found.items() if name.startswith(kind)}


@pytest.mark.slow
@pytest.mark.parametrize("family", ["causal", "encoder"])
def test_two_processes_have_the_losses_of_one(place: Path, family: str) -> None:
    one, two = facts(place / "once" / family), facts(place / "twice" / family)
    for phase in ("calibrate", "train"):
        assert len(one[phase]) == len(two[phase]) == STEPS
        assert max(abs(a - b) for a, b in zip(one[phase], two[phase], strict=True)) <= 1e-5
    assert sum(one["train"][-6:-1]) < sum(
        one["train"][:5]
    )  # it learns: there is something to differ in
    assert one["tokens"] == two["tokens"]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["causal", "encoder"])
def test_two_processes_choose_the_mask_of_one(place: Path, family: str) -> None:
    """What differs, differs because it lies at the threshold to the last places."""
    once, twice = place / "once" / family, place / "twice" / family
    ours, theirs = _flat(tensors(once, "mask.")), _flat(tensors(twice, "mask."))
    moved = _flat(tensors(once, "change.")).abs()
    kept, differ = int(ours.sum()), ours != theirs
    assert int((ours & theirs).sum()) >= 0.999 * kept
    threshold = moved[ours].min()
    assert bool(((moved[differ] - threshold).abs() <= 1e-5 * threshold).all())


@pytest.mark.slow
def test_two_processes_stopped_and_gone_on_with_end_in_the_same_bits(place: Path) -> None:
    calm, stopped = place / "twice" / "causal", place / "again" / "stopped"
    assert same(tensors(calm), tensors(stopped))
    assert facts(calm) == facts(stopped)


@pytest.mark.slow
def test_the_checkpoint_of_two_processes_is_none_of_one(place: Path, tmp_path: Path) -> None:
    left = place / "again" / "left"
    assert (left / "train" / f"checkpoint-{LEFT_AT}").is_dir()
    learn("causal", left)
    assert facts(left) == facts(place / "once" / "causal") != facts(place / "twice" / "causal")


@pytest.mark.parametrize(("rows", "count"), [(8, 2), (7, 3), (1, 2), (0, 2), (5, 8)])
def test_parts_are_all_rows_in_order_and_about_equal(rows: int, count: int) -> None:
    batch = list(range(rows))
    parts = [batch[Ranks(number, count).part(batch)] for number in range(count)]
    assert [row for part in parts for row in part] == batch
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


def test_one_process_alone_needs_nobody() -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    loss = torch.tensor(3.0)
    assert ALONE.add_up([parameter], loss, wish=True)
    assert parameter.grad is None
    assert float(loss) == 3.0
    ALONE.agree("anything", b"bits")
    assert ALONE.numbers(7) == (7,)


def _flat(named: dict[str, Tensor]) -> Tensor:
    return torch.cat([tensor.reshape(-1) for _, tensor in sorted(named.items())])
