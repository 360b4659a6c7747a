from collections.abc import Iterator
from pathlib import Path

import pytest
from folder_artifacts import FolderArtifacts
from scored_cases import Learned

from lori_core.artifact import save_task_adapter
from lori_core.config import AdapterConfig
from lori_core.errors import CheckFailed
from lori_core.masks import overlap
from registry import overlaps as overlaps_module
from registry.mask_files import entries_by_layer, open_masks, shared_bits
from registry.overlaps import OverlapsView
from registry.sequence_view import sequence_view
from registry.store import Registry, open_registry
from tests.lori_core.adapter_cases import random_sequence

LAYERS = {"m.0.q": (7, 6), "m.0.up": (13, 6)}
R = 3
TOTAL = R * (7 + 13)
TASKS = ("a", "b", "c", "d")


@pytest.fixture
def bare(home: Path, tables: None, folder: FolderArtifacts) -> Iterator[Registry]:
    with open_registry(home, artifacts=folder) as registry:
        yield registry


def learn(
    registry: Registry, root: Path, protection: str, level: str
) -> tuple[tuple[int, ...], ...]:
    """Four tasks with real files; what `lori_core.masks.overlap` says of their masks."""
    adapter = AdapterConfig(r=R, lora_alpha=6.0, tasks_planned=4, protection=protection)  # type: ignore[arg-type]
    shared = random_sequence(LAYERS, adapter, 4)
    read = {"disjoint": "inherited", "separate": "isolated"}.get(protection, "cumulative")
    made = Learned(
        registry=registry, root=root / "f", name="s", tasks=TASKS, protection=protection,
        level=level, read=read,
    ).declare()  # fmt: skip
    for version, task in enumerate(shared.adapters, start=1):
        path = root / f"{version}.safetensors"
        save_task_adapter(task, path)
        made.files[version] = path.read_bytes()
        owned = {layer: int(mask.sum()) for layer, mask in task.masks.items()}
        made.file(version, nnz=sum(owned.values()), total=TOTAL, layers=owned)
    return overlap([task.masks for task in shared.adapters])


def counts(view: OverlapsView) -> dict[tuple[str, str], int | None]:
    return {(pair.earlier, pair.later): pair.entries for pair in view.pairs}


def test_disjoint_masks_under_a_certificate_are_proved_and_no_file_is_opened(
    bare: Registry, tmp_path: Path
) -> None:
    learn(bare, tmp_path, "disjoint", "G2")
    for path in (tmp_path / "store").rglob("lori.safetensors"):
        path.unlink()
    view = sequence_view(bare, "s").overlaps
    assert view.proved
    assert all(pair.proved and pair.entries == 0 for pair in view.pairs)
    assert len(view.pairs) == 6


def test_other_masks_are_counted_to_the_entry(bare: Registry, tmp_path: Path) -> None:
    reference = learn(bare, tmp_path, "overlap", "G0")
    view = sequence_view(bare, "s").overlaps
    assert not view.proved
    assert counts(view) == {
        (TASKS[i], TASKS[j]): reference[i][j] for j in range(4) for i in range(j)
    }
    assert any(pair.entries for pair in view.pairs)
    for pair in view.pairs:
        later = reference[TASKS.index(pair.later)][TASKS.index(pair.later)]
        assert pair.entries is not None
        assert pair.share == pair.entries / later
        assert not pair.proved


def test_disjoint_masks_without_a_certificate_are_counted_not_proved(
    bare: Registry, tmp_path: Path
) -> None:
    learn(bare, tmp_path, "disjoint", "G0")
    view = sequence_view(bare, "s").overlaps
    assert not any(pair.proved for pair in view.pairs)
    assert set(counts(view).values()) == {0}


def test_adapters_that_are_separate_share_no_entry_and_nothing_is_counted(
    bare: Registry, tmp_path: Path
) -> None:
    learn(bare, tmp_path, "separate", "G2")
    view = sequence_view(bare, "s").overlaps
    assert view.apart
    assert view.pairs == ()
    assert not (bare.settings.home / "overlaps").exists()


def test_counts_are_kept_by_the_masks_digests(bare: Registry, tmp_path: Path) -> None:
    learn(bare, tmp_path, "overlap", "G0")
    first = sequence_view(bare, "s").overlaps
    for path in (tmp_path / "store").rglob("lori.safetensors"):
        path.unlink()
    assert sequence_view(bare, "s").overlaps == first


def test_a_page_opens_a_bounded_number_of_bytes_and_the_next_goes_on(
    bare: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overlaps_module, "BYTES_A_VIEW", 1)
    reference = learn(bare, tmp_path, "overlap", "G0")
    waiting = []
    for _ in range(7):
        view = sequence_view(bare, "s").overlaps
        waiting.append(view.waiting)
    assert waiting[0] == 5
    assert waiting == sorted(waiting, reverse=True)
    assert waiting[-1] == 0
    assert counts(view)["a", "b"] == reference[0][1]


def test_a_missing_file_is_said_and_its_pairs_have_no_number(
    bare: Registry, tmp_path: Path
) -> None:
    learn(bare, tmp_path, "overlap", "G0")
    for path in (tmp_path / "store").rglob("lori.safetensors"):
        path.unlink()
    view = sequence_view(bare, "s").overlaps
    assert view.why_not is not None
    assert all(pair.entries is None and pair.share is None for pair in view.pairs)


def test_shapes_and_masks_are_read_as_they_were_written(tmp_path: Path) -> None:
    adapter = AdapterConfig(r=R, lora_alpha=6.0, tasks_planned=4)
    task = random_sequence(LAYERS, adapter, 1).adapters[0]
    path = tmp_path / "lori.safetensors"
    save_task_adapter(task, path)
    assert entries_by_layer(path) == {layer: R * shape[0] for layer, shape in LAYERS.items()}
    masks = open_masks(path)
    assert shared_bits(masks, masks) == sum(int(mask.sum()) for mask in task.masks.values())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff" * 8,
        b"\x02" + b"\x00" * 7 + b"{}",
        b"\x02" + b"\x00" * 7 + b"[]",
        (80).to_bytes(8, "little")
        + b'{"q.mask": {"dtype": "U8", "shape": [9], "data_offsets": [0, 999999999]}}   ',
    ],
)
def test_a_file_that_is_none_of_ours_is_refused_in_one_line(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "lori.safetensors"
    path.write_bytes(data)
    with pytest.raises(CheckFailed, match="no task adapter of ours"):
        entries_by_layer(path)
    if b"q.mask" in data:
        with pytest.raises(CheckFailed, match="no task adapter of ours"):
            open_masks(path)


def test_masks_of_other_matrices_are_not_compared(tmp_path: Path) -> None:
    found = []
    for number, layers in enumerate(({"q": (8, 6)}, {"k": (8, 6)})):
        adapter = AdapterConfig(r=R, lora_alpha=6.0, tasks_planned=4)
        path = tmp_path / f"{number}.safetensors"
        save_task_adapter(random_sequence(layers, adapter, 1).adapters[0], path)
        found.append(open_masks(path))
    with pytest.raises(CheckFailed, match="different matrices"):
        shared_bits(*found)
