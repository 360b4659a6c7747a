import dataclasses
import json
import struct
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from lori_core.artifact import load_task_adapter, read_task_file, save_task_adapter
from lori_core.config import AdapterConfig
from lori_core.digests import sha256_file
from lori_core.errors import BadInput, DigestMismatch, LoriError
from lori_core.masks import pack_mask
from lori_core.shared_adapter import SharedAdapter, TaskAdapter, content_digest
from tests.lori_core.adapter_cases import flip_bit, random_sequence, random_task, rewrite_header

LAYERS = {"m.0.q": (8, 6), "m.0.up": (13, 6)}
ADAPTER = AdapterConfig(r=4, lora_alpha=6.0, tasks_planned=4)
HEAD = {"bert.pooler.dense.bias": torch.randn(3), "classifier.weight": torch.randn(2, 3)}


def second_task(dtype: torch.dtype = torch.float32) -> TaskAdapter:
    return random_sequence(LAYERS, ADAPTER, 2, dtype=dtype).adapters[1]


def lora_task() -> TaskAdapter:
    adapter = AdapterConfig(r=4, protection="separate", read="isolated", method="lora")
    return random_task(LAYERS, adapter, SharedAdapter(()), trained_a=True)


@pytest.mark.parametrize(
    "adapter",
    [
        second_task(),
        second_task(torch.bfloat16),
        random_sequence(LAYERS, ADAPTER, 1, head=HEAD, labels=("no", "yes")).adapters[0],
        lora_task(),
    ],
    ids=["fp32", "bf16", "encoder", "lora"],
)
def test_an_adapter_comes_back_from_its_file_to_the_bit(
    adapter: TaskAdapter, tmp_path: Path
) -> None:
    path = tmp_path / "lori.safetensors"
    assert save_task_adapter(adapter, path) == sha256_file(path)
    read = load_task_adapter(path)
    assert content_digest(read) == content_digest(adapter)
    for field in dataclasses.fields(TaskAdapter):
        mine, theirs = getattr(adapter, field.name), getattr(read, field.name)
        if field.name in ("masks", "values", "head", "a") and mine is not None:
            assert mine.keys() == theirs.keys()
            assert all(torch.equal(mine[k], theirs[k]) for k in mine)
            assert all(mine[k].dtype == theirs[k].dtype for k in mine)
        else:
            assert mine == theirs
    assert list(read.layers) == list(adapter.layers)


def test_equal_adapters_are_equal_bytes(tmp_path: Path) -> None:
    one = save_task_adapter(second_task(), tmp_path / "one")
    two = save_task_adapter(second_task(), tmp_path / "two")
    assert one == two


def test_the_file_holds_values_bits_and_one_header_and_is_plain_safetensors(
    tmp_path: Path,
) -> None:
    adapter, path = second_task(), tmp_path / "f"
    save_task_adapter(adapter, path)
    tensors = load_file(path)
    assert tensors.keys() == {f"{x}.{part}" for x in LAYERS for part in ("values", "mask")}
    assert torch.equal(tensors["m.0.up.mask"], pack_mask(adapter.masks["m.0.up"]))
    size = struct.unpack("<Q", path.read_bytes()[:8])[0]
    metadata = json.loads(path.read_bytes()[8 : 8 + size])["__metadata__"]
    assert list(metadata) == ["lori"]


def test_a_layer_with_no_entry_of_its_own_is_stored(tmp_path: Path) -> None:
    adapter = second_task()
    empty = dataclasses.replace(
        adapter,
        masks={**adapter.masks, "m.0.q": torch.zeros(8, 4, dtype=torch.bool)},
        values={**adapter.values, "m.0.q": torch.empty(0)},
    )
    save_task_adapter(empty, tmp_path / "f")
    assert load_task_adapter(tmp_path / "f").values["m.0.q"].shape == (0,)


@pytest.mark.parametrize("part", ["values", "mask"])
@pytest.mark.parametrize("layer", LAYERS)
def test_one_flipped_bit_of_a_tensor_is_refused_by_layer(
    part: str, layer: str, tmp_path: Path
) -> None:
    path = tmp_path / "f"
    save_task_adapter(second_task(), path)
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    begin, _ = json.loads(data[8 : 8 + size])[f"{layer}.{part}"]["data_offsets"]
    flip_bit(path, 8 + size + begin)
    with pytest.raises(DigestMismatch, match=rf"layer {layer} {part}"):
        load_task_adapter(path)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_no_flipped_bit_anywhere_in_the_file_goes_unnoticed(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    path = tmp_path_factory.mktemp("flip") / "f"
    save_task_adapter(second_task(), path)
    whole = bytearray(path.read_bytes())
    whole[data.draw(st.integers(0, len(whole) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(bytes(whole))
    with pytest.raises(LoriError):
        load_task_adapter(path)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_a_file_cut_short_is_bad_input(keep: int, tmp_path: Path) -> None:
    path = tmp_path / "f"
    save_task_adapter(second_task(), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(BadInput, match="not a whole safetensors file"):
        load_task_adapter(path)


def test_a_missing_or_foreign_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="does not exist"):
        load_task_adapter(tmp_path / "nothing")
    save_file({"x": torch.zeros(2)}, tmp_path / "foreign", metadata={"format": "pt"})
    with pytest.raises(BadInput, match="header is not readable"):
        load_task_adapter(tmp_path / "foreign")


def test_a_header_someone_edited_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "f"
    save_task_adapter(second_task(), path)
    stored = read_task_file(path)
    header = {**stored.header, "position": 7}
    save_file(dict(stored.tensors), path, metadata={"lori": json.dumps(header)})
    with pytest.raises(DigestMismatch, match="header"):
        read_task_file(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"layers": None},
        {"r": None},
        {"has_head": None},
        {"tensors": None},
        {"r": "4"},
        {"r": 0},
        {"layers": [["m.0.q", 8]]},
        {"layers": [["m.0.q", 8, -6]]},
        {"parents": {}},
        {"more": 1},
    ],
    ids=str,
)
def test_a_header_of_another_form_is_refused_even_under_its_own_digest(
    changes: dict[str, object], tmp_path: Path
) -> None:
    path = tmp_path / "f"
    save_task_adapter(second_task(), path)
    rewrite_header(path, changes)
    with pytest.raises(BadInput, match=next(iter(changes))):
        read_task_file(path)


def test_a_90_percent_sparse_file_is_a_small_part_of_the_dense_adapter(tmp_path: Path) -> None:
    layers = {f"m.{i}.q": (512, 512) for i in range(4)}
    adapter = AdapterConfig(r=32)
    task = random_task(layers, adapter, SharedAdapter(()), dtype=torch.bfloat16)
    save_task_adapter(task, tmp_path / "f")
    dense = sum((d_out + d_in) * 32 * 2 for d_out, d_in in layers.values())
    assert (tmp_path / "f").stat().st_size < dense / 8
