from collections.abc import Iterator
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from scored_cases import Learned

from lori_core.artifact import save_task_adapter
from lori_core.capacity import task_budget
from lori_core.config import AdapterConfig
from lori_core.errors import CapacityError
from registry.capacity_view import FARTHEST, CapacityView
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry
from tests.lori_core.adapter_cases import random_sequence

LAYERS = {"m.0.q": (8, 6), "m.0.up": (13, 6), "m.1.q": (8, 6), "m.1.up": (13, 6)}
R = 4
TOTAL = R * (8 + 13 + 8 + 13)


@pytest.fixture
def bare(home: Path, tables: None, folder: FolderArtifacts) -> Iterator[Registry]:
    with open_registry(home, artifacts=folder) as registry:
        yield registry


@pytest.fixture
def real(bare: Registry, tmp_path: Path) -> Learned:
    """Two tasks whose files are real ones, of five that are declared and planned."""
    adapter = AdapterConfig(r=R, lora_alpha=6.0, tasks_planned=5)
    shared = random_sequence(LAYERS, adapter, 2)
    made = Learned(
        registry=bare,
        root=tmp_path / "f",
        name="s",
        tasks=("a", "b", "c", "d", "e"),
        sparsity={"d": 0.9},
    )
    made.declare()
    for version, task in enumerate(shared.adapters, start=1):
        path = tmp_path / f"{version}.safetensors"
        save_task_adapter(task, path)
        made.files[version] = path.read_bytes()
        owned = {layer: int(mask.sum()) for layer, mask in task.masks.items()}
        made.file(version, nnz=sum(owned.values()), total=TOTAL, layers=owned)
    return made


def test_groups_add_up_to_what_the_masks_own_and_the_matrices_hold(real: Learned) -> None:
    view = _capacity(real.registry)
    assert view.total == TOTAL
    for groups in (view.projections, view.blocks):
        assert sum(group.total for group in groups) == TOTAL
        assert sum(group.used for group in groups) == view.used
        assert sum(group.planned for group in groups) == view.planned
        assert all(group.used + group.planned + group.free == group.total for group in groups)
        assert all(min(group.used, group.planned, group.free) >= 0 for group in groups)
    assert {group.name: group.total for group in view.projections} == {"q": 64, "up": 104}
    assert {group.name: group.total for group in view.blocks} == {"m.0": 84, "m.1": 84}


def test_the_forecast_is_what_learning_one_after_the_other_would_find(real: Learned) -> None:
    """The reference goes on as a run does, until `task_budget` refuses."""
    view = _capacity(real.registry)
    free, taken = TOTAL - view.used, []
    for position in range(3, 1000):
        sparsity = 0.9 if position == 4 else 0.8  # d says its own; else 1 - 1/5
        try:
            budget = task_budget(TOTAL, free, sparsity, tasks=position)
        except CapacityError:
            break
        taken.append(budget)
        free -= budget
    assert view.forecast is not None
    assert view.forecast.declared == view.forecast.declared_fit == 3
    assert view.forecast.further == len(taken) - 3
    assert view.planned == sum(taken[:3])


def test_declared_tasks_that_do_not_fit_are_told(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b", "c"))
    made.tasks_planned = 2
    made.declare().file(1, nnz=50)
    forecast = _capacity(bare).forecast
    assert forecast is not None
    assert (forecast.declared, forecast.declared_fit, forecast.further) == (2, 1, 0)


def test_a_forecast_of_very_many_says_that_it_stopped(bare: Registry, tmp_path: Path) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a",))
    made.tasks_planned = 1_000_000
    made.declare().file(1, nnz=20, total=50_000_000)
    forecast = _capacity(bare).forecast
    assert forecast is not None
    assert forecast.more
    assert forecast.further == FARTHEST


@pytest.mark.parametrize("protection", ["overlap", "separate"])
def test_where_nothing_is_owned_nothing_fills_up(
    bare: Registry, tmp_path: Path, protection: str
) -> None:
    made = Learned(
        registry=bare, root=tmp_path / "f", name="s", tasks=("a",), protection=protection
    )
    made.declare().file(1)
    view = _capacity(bare)
    assert not view.owned
    assert view.forecast is None
    assert view.left == ()


def test_a_file_that_cannot_be_read_is_said_and_the_totals_stay(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a",))
    made.declare().file(1)
    view = _capacity(bare)
    assert view.projections == view.blocks == ()
    assert view.why_not is not None
    assert "no task adapter of ours" in view.why_not
    assert (view.used, view.total) == (20, 100)


def test_masks_that_own_more_than_there_is_are_told_and_never_a_negative_share(
    bare: Registry, tmp_path: Path
) -> None:
    made = Learned(registry=bare, root=tmp_path / "f", name="s", tasks=("a", "b")).declare()
    made.file(1, nnz=60)
    made.file(2, nnz=60)
    view = _capacity(bare)
    assert view.forecast is None
    assert view.free == 0
    assert view.why_not is not None
    assert "own 120 entries and B has 100" in view.why_not


def test_what_was_left_shrinks_with_every_version(real: Learned) -> None:
    view = _capacity(real.registry)
    assert len(view.left) == 2
    assert 1 > view.left[0] > view.left[1] == pytest.approx(1 - view.used / TOTAL)


def _capacity(registry: Registry) -> CapacityView:
    return sequence_view(registry, "s").capacity
