"""The identity of a base is read from its files alone, and is that of the tensors they hold."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import _TYPES, load_file, save_file

from lori_core.base import load_causal
from lori_core.base_identity import STORED_TYPES, identify_base
from lori_core.config import BaseConfig
from lori_core.errors import BadInput
from lori_core.tensor_digests import dtype_name, sha256_tensor
from tests.lori_core.adapter_cases import (
    edit_config,
    flip_bit,
    llama_folder,
    tokenizer_folder,
)

HASHED_ALONE = """
import sys
from lori_core.base_identity import identify_base
print(identify_base(sys.argv[1]).digest)
assert not {"torch", "transformers"} & set(sys.modules)
"""


@pytest.fixture
def llama(tmp_path: Path) -> BaseConfig:
    return llama_folder(tmp_path / "llama")


def test_every_type_that_safetensors_loads_is_known_by_its_name_in_pytorch() -> None:
    named = {name: dtype_name(dtype) for name, dtype in _TYPES.items()}
    assert {**named, "F8_E8M0": dtype_name(torch.float8_e8m0fnu)} == STORED_TYPES


def test_what_is_read_from_the_file_is_the_digest_of_the_tensor(llama: BaseConfig) -> None:
    bits = torch.arange(48, dtype=torch.uint8)
    tensors = {f"of.{name}": bits.clone().view(t).reshape(2, -1) for name, t in _TYPES.items()}
    tensors |= {"empty": torch.zeros(0, 3), "scalar": torch.tensor(-0.0)}
    save_file(tensors, weights(llama), metadata={"format": "pt"})
    expected = {name: sha256_tensor(tensor) for name, tensor in tensors.items()}
    assert identify_base(llama.path).tensors == expected


def test_a_file_longer_than_is_read_at_a_time_is_read_whole(llama: BaseConfig) -> None:
    tensor = torch.arange(700_001, dtype=torch.int32)
    save_file({"w": tensor}, weights(llama))
    assert identify_base(llama.path).tensors == {"w": sha256_tensor(tensor)}


def test_the_digest_is_over_what_its_docstring_names(llama: BaseConfig) -> None:
    """Written once more with hashlib and json alone: it stands in every registry there is."""
    folder = Path(llama.path)
    config = json.loads((folder / "config.json").read_text())
    for key in ("_name_or_path", "transformers_version"):
        config.pop(key, None)
    (folder / "tokenizer.json").write_text("{}")
    whole = {
        "config": config,
        "tensors": {
            name: hashlib.sha256(
                f"float32|{','.join(map(str, tensor.shape))}|".encode() + tensor.numpy().tobytes()
            ).hexdigest()
            for name, tensor in load_file(weights(llama)).items()
        },
        "tokenizer": digest_of({"tokenizer.json": hashlib.sha256(b"{}").hexdigest()}),
        "dtype": "float32",
        "eos_token_id": json.loads((folder / "generation_config.json").read_text())["eos_token_id"],
    }
    assert identify_base(llama.path).digest == digest_of(whole)


def digest_of(value: object) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def test_neither_torch_nor_transformers_is_imported_for_it(llama: BaseConfig) -> None:
    found = subprocess.run(
        [sys.executable, "-c", HASHED_ALONE, llama.path],
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout.strip() == identify_base(llama.path).digest


@pytest.mark.parametrize("keep", [0, 7, 100, -1])
def test_a_file_that_is_not_whole_is_refused_by_name(keep: int, llama: BaseConfig) -> None:
    weights(llama).write_bytes(weights(llama).read_bytes()[:keep])
    with pytest.raises(BadInput, match=r"model\.safetensors: not a readable safetensors file"):
        identify_base(llama.path)


def test_a_type_of_one_byte_that_safetensors_cannot_save_is_hashed_as_it_lies(
    llama: BaseConfig,
) -> None:
    tensor = torch.arange(4, dtype=torch.uint8)
    save_file({"w": tensor.view(torch.float8_e5m2)}, weights(llama))
    rewrite_header(llama, b'"F8_E5M2"', b'"F8_E8M0"')
    expected = sha256_tensor(tensor.view(torch.float8_e8m0fnu))
    assert identify_base(llama.path).tensors == {"w": expected}


def test_a_type_of_less_than_a_byte_is_refused_by_name(llama: BaseConfig) -> None:
    save_file({"w": torch.zeros(4, dtype=torch.uint8)}, weights(llama))
    rewrite_header(llama, b'"dtype":"U8","shape":[4]', b'"dtype":"F4","shape":[8]')
    with pytest.raises(BadInput, match="stores weights as F4: expected an element type among F64"):
        identify_base(llama.path)


def weights(base: BaseConfig) -> Path:
    return Path(base.path) / "model.safetensors"


def rewrite_header(base: BaseConfig, old: bytes, new: bytes) -> None:
    data = weights(base).read_bytes()
    assert data.count(old) == 1
    assert len(old) == len(new)
    weights(base).write_bytes(data.replace(old, new))


@pytest.mark.parametrize(
    "name",
    ["spm.model", "vocab.txt", "chat_template.jinja", "additional_chat_templates/tool.jinja"],
)
def test_every_file_a_tokenizer_may_be_read_from_is_part_of_the_identity(
    name: str, llama: BaseConfig
) -> None:
    before = identify_base(llama.path)
    path = Path(llama.path) / name
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    assert identify_base(llama.path).tokenizer != before.tokenizer


def test_the_tokens_that_end_an_answer_are_part_of_the_identity(llama: BaseConfig) -> None:
    path = Path(llama.path) / "generation_config.json"
    stored = json.loads(path.read_text())
    before = identify_base(llama.path)
    path.write_text(json.dumps({**stored, "eos_token_id": [2, 3]}))
    assert identify_base(llama.path).digest != before.digest
    path.write_text(json.dumps({**stored, "transformers_version": "9.9.9"}))
    assert identify_base(llama.path) == before


def test_identity_is_content_and_not_place(llama: BaseConfig, tmp_path: Path) -> None:
    shutil.copytree(llama.path, tmp_path / "copy")
    edit_config(BaseConfig(path=str(tmp_path / "copy")), transformers_version="9.9.9")
    one, two = identify_base(llama.path), identify_base(tmp_path / "copy")
    assert one == two
    assert one.tensors.keys() == load_file(Path(llama.path) / "model.safetensors").keys()


def test_one_bit_of_a_weight_changes_the_identity_and_names_the_tensor(llama: BaseConfig) -> None:
    before = identify_base(llama.path)
    flip_bit(Path(llama.path) / "model.safetensors", -3)
    after = identify_base(llama.path)
    assert before.digest != after.digest
    assert [n for n in before.tensors if before.tensors[n] != after.tensors[n]] == [
        "model.norm.weight"
    ]


def test_config_tokenizer_and_dtype_are_part_of_the_identity(llama: BaseConfig) -> None:
    digests = {identify_base(llama.path).digest, identify_base(llama.path, dtype="bfloat16").digest}
    tokenizer_folder(Path(llama.path), 10)
    digests.add(identify_base(llama.path).digest)
    edit_config(llama, rms_norm_eps=1e-3)
    digests.add(identify_base(llama.path).digest)
    assert len(digests) == 4


def test_sharded_weights_are_all_hashed_and_a_missing_shard_is_named(
    llama: BaseConfig, tmp_path: Path
) -> None:
    whole = identify_base(llama.path)
    load_causal(llama).save_pretrained(tmp_path / "shards", max_shard_size="5KB")
    shards = sorted((tmp_path / "shards").glob("*.safetensors"))
    assert len(shards) > 1
    assert identify_base(tmp_path / "shards").tensors == whole.tensors
    shards[0].unlink()
    with pytest.raises(BadInput, match=shards[0].name):
        identify_base(tmp_path / "shards")
