"""The identity of a base is read from its files alone, and is that of the tensors they hold."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import _TYPES, save_file

from lori_core.base_identity import STORED_TYPES, identify_base
from lori_core.config import BaseConfig
from lori_core.errors import BadInput
from lori_core.tensor_digests import dtype_name, sha256_tensor
from tests.lori_core.adapter_cases import llama_folder

HASHED_ALONE = """
import sys
from lori_core.base_identity import identify_base
print(identify_base(sys.argv[1]).digest)
assert not {"torch", "transformers"} & set(sys.modules)
"""


@pytest.fixture
def llama(tmp_path: Path) -> BaseConfig:
    return llama_folder(tmp_path / "llama")


def test_every_type_that_safetensors_stores_is_known_by_its_name_in_pytorch() -> None:
    assert {name: dtype_name(dtype) for name, dtype in _TYPES.items()} == STORED_TYPES


def test_what_is_read_from_the_file_is_the_digest_of_the_tensor(llama: BaseConfig) -> None:
    bits = torch.arange(48, dtype=torch.uint8)
    tensors = {
        f"of.{name}": bits.clone().view(dtype).reshape(2, -1) for name, dtype in _TYPES.items()
    }
    tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(-0.0)}
    save_file(tensors, Path(llama.path) / "model.safetensors", metadata={"format": "pt"})
    expected = {name: sha256_tensor(tensor) for name, tensor in tensors.items()}
    assert identify_base(llama.path).tensors == expected


def test_neither_torch_nor_transformers_is_imported_for_it(llama: BaseConfig) -> None:
    found = subprocess.run(
        [sys.executable, "-c", HASHED_ALONE, llama.path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == identify_base(llama.path).digest


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_file_that_is_not_whole_is_refused_by_name(keep: int, llama: BaseConfig) -> None:
    file = Path(llama.path) / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"model\.safetensors: not a readable safetensors file"):
        identify_base(llama.path)


def test_a_type_that_pytorch_does_not_read_is_refused_by_name(llama: BaseConfig) -> None:
    file = Path(llama.path) / "model.safetensors"
    save_file({"w": torch.zeros(4, dtype=torch.float8_e5m2)}, file)
    file.write_bytes(file.read_bytes().replace(b'"F8_E5M2"', b'"F8_E8M0"'))
    with pytest.raises(BadInput, match="stores w as F8_E8M0"):
        identify_base(llama.path)
